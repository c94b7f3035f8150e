import { MillraceError } from '../../core/errors.ts';
import { micros } from '../../core/processor/watermark.ts';
import { parseTimestamp } from '../../core/time.ts';
import type { TradeRow } from '../../schemas/gen/trade_change.ts';

/** A trade as the fold takes it. Price and size unscaled at scale 8. */
export interface Trade {
  readonly venue: string;
  readonly symbol: string;
  readonly id: string;
  readonly sequence: bigint | null;
  readonly price: bigint;
  readonly size: bigint;
  readonly side: string;
  /** Event time, microseconds, exact to ±2^53. */
  readonly time: number;
}

/** @throws MillraceError BAD_RECORD naming the field. */
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
    side: row.side,
    time: micros(parseTimestamp(row.executed_at)),
  };
}

/** The order of trades: event time, venue sequence (none first), trade id by its UTF-8 bytes. Never arrival. */
export function compareTrades(a: Place, b: Place): number {
  if (a.time !== b.time) return a.time - b.time;
  if (a.sequence !== b.sequence) {
    if (a.sequence === null) return -1;
    if (b.sequence === null) return 1;
    return a.sequence < b.sequence ? -1 : 1;
  }
  return a.id === b.id ? 0 : Buffer.compare(Buffer.from(a.id), Buffer.from(b.id));
}

export type Place = Pick<Trade, 'time' | 'sequence' | 'id'>;

function bad(message: string): MillraceError {
  return new MillraceError('BAD_RECORD', message, { remedy: 'Correct the row in Postgres.' });
}
