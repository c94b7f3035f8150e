import type { InputRecord } from '../../core/processor/define.ts';
import type { LateEffect, LateReason, LateTrade, Operation } from '../../schemas/gen/late_trade.ts';
import type { TradeChange } from '../../schemas/gen/trade_change.ts';
import type { Trade } from './trade.ts';

const OPERATIONS: Readonly<Record<string, Operation>> = { c: 'CREATE', r: 'READ', u: 'UPDATE', d: 'DELETE' };

/** What a change did that came after rows could have used it. */
export interface Outcome {
  readonly reason: LateReason;
  /** APPLIED: rows from now on count it. No row that is out ever changes. */
  readonly effect: LateEffect;
  /** The step it belongs to; null when the change is not about one. */
  readonly step: { readonly name: string; readonly start: number } | null;
  /** Watermark minus event time, microseconds; null when the change was not behind it. */
  readonly lateness: number | null;
}

export function lateTrade(record: InputRecord<TradeChange>, trade: Trade, outcome: Outcome): LateTrade {
  const { reason, effect, step, lateness } = outcome;
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
    interval: step?.name ?? null,
    window_start: step === null ? null : BigInt(step.start),
    lateness_us: lateness === null ? null : BigInt(lateness),
    log_time: record.logTime,
    lsn: record.lsn,
    origin: { topic: record.topic, partition: record.partition, offset: record.offset },
  };
}
