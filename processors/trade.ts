import { MillraceError } from '../core/base/errors.ts';
import { micros } from '../core/processor/watermark.ts';
import { parseTimestamp } from '../core/values/time.ts';
import { compareUtf8 } from '../core/values/utf8.ts';
import type { TradeRow } from '../schemas/gen/trade_change.ts';

/** A parsed trade. Price and size are unscaled at scale 8, notional at scale 16. */
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
 * Parses a captured row. Prices of zero and below are valid (spreads, power, oil in April 2020); sizes below zero are not.
 *
 * @throws MillraceError BAD_RECORD: names the field.
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
    time: micros(parseTimestamp(row.executed_at)),
  };
}

/**
 * Order of trades: event time, venue sequence (none first), trade id by its UTF-8 bytes. Never arrival. Negative when the first comes
 * before the other, 0 when they are equal. Takes plain values instead of objects, because it runs for every trade.
 */
export function compareTrades(
  time: number,
  sequence: bigint | null,
  id: string,
  otherTime: number,
  otherSequence: bigint | null,
  otherId: string,
): number {
  if (time !== otherTime) return time < otherTime ? -1 : 1;
  if (sequence !== otherSequence) {
    if (sequence === null) return -1;
    if (otherSequence === null) return 1;
    return sequence < otherSequence ? -1 : 1;
  }
  return compareUtf8(id, otherId);
}

function bad(message: string): MillraceError {
  return new MillraceError('BAD_RECORD', message, { remedy: 'Correct the row in Postgres.' });
}
