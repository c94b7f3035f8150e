import { MillraceError } from '../core/errors.ts';
import { micros } from '../core/processor/watermark.ts';
import { parseTimestamp } from '../core/time.ts';
import type { TradeRow } from '../schemas/gen/trade_change.ts';

/** A trade as processors take it. Price and size unscaled at scale 8, notional at scale 16. */
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
    time: micros(parseTimestamp(row.executed_at)),
  };
}

/**
 * The order of trades: event time, venue sequence (none first), trade id by its UTF-8 bytes. Never arrival. Negative when the first is
 * before the other, 0 when they are the same. Not of objects: it is asked with every trade.
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

/**
 * Compares by UTF-8 bytes, as Postgres' "C" collation does. UTF-16 code units, which `<` compares, order differently where one side has
 * a surrogate (U+10000 and above) and the other a character from U+E000 to U+FFFF.
 */
export function compareUtf8(a: string, b: string): number {
  if (a === b) return 0;
  const length = Math.min(a.length, b.length);
  for (let at = 0; at < length; at++) {
    const left = a.charCodeAt(at);
    const right = b.charCodeAt(at);
    if (left !== right) return rank(left) - rank(right);
  }
  return a.length - b.length;
}

/** Moves surrogates above the rest of the basic plane. */
function rank(unit: number): number {
  if (unit < 0xd800) return unit;
  return unit >= 0xe000 ? unit - 0x800 : unit + 0x2000;
}

function bad(message: string): MillraceError {
  return new MillraceError('BAD_RECORD', message, { remedy: 'Correct the row in Postgres.' });
}
