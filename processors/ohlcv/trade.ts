import { MillraceError } from '../../core/errors.ts';
import { parseTimestamp } from '../../core/time.ts';
import type { TradeRow } from '../../schemas/gen/trade_change.ts';

/** A trade as the fold takes it. Price and size unscaled at scale 8, notional at scale 16. */
export interface Trade {
  readonly venue: string;
  readonly symbol: string;
  readonly id: string;
  readonly sequence: bigint | null;
  readonly price: bigint;
  readonly size: bigint;
  readonly notional: bigint;
  readonly side: string;
  /** Event time, microseconds, exact to ±2^53. */
  readonly time: number;
}

/**
 * Reads a captured row. Prices of zero and below are trades, too (spreads, power, oil in April 2020); sizes below zero are not.
 *
 * @throws MillraceError BAD_RECORD naming the field.
 */
export function readTrade(row: TradeRow): Trade {
  if (row.venue === '' || row.symbol === '' || row.trade_id === '')
    throw bad('a trade needs a venue, a symbol and an id');
  if (row.size < 0n) throw bad(`trade ${row.trade_id}: the size is negative`);
  return {
    venue: row.venue,
    symbol: row.symbol,
    id: row.trade_id,
    sequence: row.venue_sequence,
    price: row.price,
    size: row.size,
    notional: row.price * row.size,
    side: row.side,
    time: eventTime(row),
  };
}

/** Whether a candle cannot tell them apart. */
export function sameTrade(a: Trade, b: Trade): boolean {
  return a.price === b.price && a.size === b.size && a.time === b.time && a.sequence === b.sequence;
}

function eventTime(row: TradeRow): number {
  const time = Number(parseTimestamp(row.executed_at));
  if (!Number.isSafeInteger(time)) throw bad(`trade ${row.trade_id}: ${row.executed_at} is beyond the year 2255`);
  return time;
}

function bad(message: string): MillraceError {
  return new MillraceError('BAD_RECORD', message, { remedy: 'Correct the row in Postgres.' });
}
