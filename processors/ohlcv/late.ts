import type { InputRecord } from '../../core/processor/define.ts';
import type { LateReason, LateTrade, Operation } from '../../schemas/gen/late_trade.ts';
import type { TradeChange } from '../../schemas/gen/trade_change.ts';
import type { Trade } from './trade.ts';

const OPERATIONS: Readonly<Record<string, Operation>> = { c: 'CREATE', r: 'READ', u: 'UPDATE', d: 'DELETE' };

/** The window that a trade came too late for. Microseconds. */
export interface Missed {
  readonly interval: string;
  readonly start: number;
  /** Watermark minus event time. */
  readonly lateness: number;
}

/** The record that says why a change did not join a candle. `missed` is null when the reason is not about one window. */
export function lateTrade(
  record: InputRecord<TradeChange>,
  trade: Trade,
  reason: LateReason,
  missed: Missed | null,
): LateTrade {
  return {
    venue: trade.venue,
    symbol: trade.symbol,
    trade_id: trade.id,
    venue_sequence: trade.sequence,
    price: trade.price,
    size: trade.size,
    side: trade.side,
    executed_at: BigInt(trade.time),
    operation: OPERATIONS[record.value.op] ?? 'CREATE',
    reason,
    effect: 'NOT_APPLIED',
    interval: missed?.interval ?? null,
    window_start: missed === null ? null : BigInt(missed.start),
    lateness_us: missed === null ? null : BigInt(missed.lateness),
    log_time: record.logTime,
    lsn: record.lsn,
    origin: { topic: record.topic, partition: record.partition, offset: record.offset },
  };
}
