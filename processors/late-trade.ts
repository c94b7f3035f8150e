import type { InputRecord } from '../core/processor/define.ts';
import type { LateEffect, LateReason, LateTrade, Operation } from '../schemas/gen/late_trade.ts';
import type { TradeChange } from '../schemas/gen/trade_change.ts';
import type { Trade } from './trade.ts';

const OPERATIONS: Readonly<Record<string, Operation>> = { c: 'CREATE', r: 'READ', u: 'UPDATE', d: 'DELETE' };

/** Outcome of a change that did not simply join its processor's output. Times in microseconds. */
export interface LateOutcome {
  readonly reason: LateReason;
  readonly effect: LateEffect;
  /** Window or step concerned; `start` is null outside all sessions. Null when no window is concerned. */
  readonly window: { readonly name: string; readonly start: number | null } | null;
  /** Watermark minus event time, microseconds; null when the change was not behind. */
  readonly lateness: number | null;
}

/** Makes the record for a processor's late topic. */
export function lateTrade(
  record: InputRecord<TradeChange>,
  trade: Omit<Trade, 'notional' | 'time'> & { readonly time: number | bigint },
  { reason, effect, window, lateness }: LateOutcome,
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
    interval: window?.name ?? null,
    window_start: bigintOf(window?.start ?? null),
    lateness_us: bigintOf(lateness),
    log_time: record.logTime,
    lsn: record.lsn,
    origin: { topic: record.topic, partition: record.partition, offset: record.offset },
  };
}

function bigintOf(number: number | null): bigint | null {
  return number === null ? null : BigInt(number);
}
