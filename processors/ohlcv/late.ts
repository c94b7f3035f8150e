import type { InputRecord } from '../../core/processor/define.ts';
import type { LateEffect, LateReason, LateTrade, Operation } from '../../schemas/gen/late_trade.ts';
import type { TradeChange } from '../../schemas/gen/trade_change.ts';
import type { Trade } from './trade.ts';

const OPERATIONS: Readonly<Record<string, Operation>> = { c: 'CREATE', r: 'READ', u: 'UPDATE', d: 'DELETE' };

/** The window that a change is about. Microseconds. */
export interface Missed {
  readonly interval: string;
  /** Null for a trade outside every session. */
  readonly start: number | null;
  /** Watermark minus event time; null when it was not behind. */
  readonly lateness: number | null;
}

/** The record that says what became of a change that did not simply join a candle. `missed` is null when it is not about one window. */
export function lateTrade(
  record: InputRecord<TradeChange>,
  trade: Trade,
  reason: LateReason,
  effect: LateEffect,
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
    effect,
    interval: missed?.interval ?? null,
    window_start: micros(missed?.start),
    lateness_us: micros(missed?.lateness),
    log_time: record.logTime,
    lsn: record.lsn,
    origin: { topic: record.topic, partition: record.partition, offset: record.offset },
  };
}

const micros = (time: number | null | undefined) => (time === null || time === undefined ? null : BigInt(time));
