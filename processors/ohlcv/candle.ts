import { divideRounded } from '../../core/decimal.ts';
import type { Candle, CandleReason, CandleStatus } from '../../schemas/gen/candle.ts';
import type { Trade } from './trade.ts';

/**
 * One window while it is open, and all of it: what is not in here does not survive a restart. Venue, symbol, interval and start are in
 * the store's key. Prices and sizes are unscaled bigints; times are microseconds as numbers, exact to ±2^53.
 */
export interface Accumulator {
  open: bigint;
  open_time: number;
  open_sequence: bigint | null;
  open_id: string;
  high: bigint;
  high_time: number;
  low: bigint;
  low_time: number;
  close: bigint;
  close_time: number;
  close_sequence: bigint | null;
  close_id: string;
  /** Scale 8. */
  volume: bigint;
  /** Scale 16. */
  notional: bigint;
  trade_count: number;
  from_offset: bigint;
  to_offset: bigint;
  /** 0 while no trade had an LSN. */
  from_lsn: bigint;
  to_lsn: bigint;
  /** Of the last emission; 0 before the first. */
  revision: number;
  /** Log time at which its next PARTIAL is due; 0 when nothing changed since the last emission. */
  partial_due: number;
}

/** Where a trade came from in the log. */
export interface Source {
  readonly offset: bigint;
  readonly lsn: bigint | null;
}

/** A window with its first trade. */
export function openWith(trade: Trade, source: Source): Accumulator {
  return {
    open: trade.price,
    open_time: trade.time,
    open_sequence: trade.sequence,
    open_id: trade.id,
    high: trade.price,
    high_time: trade.time,
    low: trade.price,
    low_time: trade.time,
    close: trade.price,
    close_time: trade.time,
    close_sequence: trade.sequence,
    close_id: trade.id,
    volume: trade.size,
    notional: trade.notional,
    trade_count: 1,
    from_offset: source.offset,
    to_offset: source.offset,
    from_lsn: source.lsn ?? 0n,
    to_lsn: source.lsn ?? 0n,
    revision: 0,
    partial_due: 0,
  };
}

/** Adds a trade. The order of calls does not matter, except to offsets: they only rise. */
export function add(into: Accumulator, trade: Trade, source: Source): void {
  const { price, time } = trade;
  if (order(trade, into.open_time, into.open_sequence, into.open_id) < 0) {
    into.open = price;
    into.open_time = time;
    into.open_sequence = trade.sequence;
    into.open_id = trade.id;
  }
  if (order(trade, into.close_time, into.close_sequence, into.close_id) >= 0) {
    into.close = price;
    into.close_time = time;
    into.close_sequence = trade.sequence;
    into.close_id = trade.id;
  }
  if (price > into.high) {
    into.high = price;
    into.high_time = time;
  } else if (price === into.high && time < into.high_time) {
    into.high_time = time;
  }
  if (price < into.low) {
    into.low = price;
    into.low_time = time;
  } else if (price === into.low && time < into.low_time) {
    into.low_time = time;
  }
  into.volume += trade.size;
  into.notional += trade.notional;
  into.trade_count += 1;
  into.to_offset = source.offset;
  const lsn = source.lsn;
  if (lsn !== null) {
    if (lsn > into.to_lsn) into.to_lsn = lsn;
    if (lsn < into.from_lsn || into.from_lsn === 0n) into.from_lsn = lsn;
  }
}

/** The greatest DECIMAL(38), unscaled. */
const MAX_38 = 10n ** 38n - 1n;
/** Two numbers up to this cannot exceed MAX_38 together. */
const HALF_38 = MAX_38 / 2n;

/** Whether the window's notional, with this trade, still fits DECIMAL(38,16). */
export function fits(into: Accumulator | undefined, trade: Trade): boolean {
  const { notional } = trade;
  const sum = into?.notional ?? 0n;
  if (notional <= HALF_38 && notional >= -HALF_38 && sum <= HALF_38 && sum >= -HALF_38) return true;
  const both = sum + notional;
  return both <= MAX_38 && both >= -MAX_38;
}

/**
 * The order of trades inside a window: event time, venue sequence (none first), trade id by its UTF-8 bytes. Never arrival. Negative
 * when the trade is before the given place, 0 when it is the same.
 */
function order(trade: Trade, time: number, sequence: bigint | null, id: string): number {
  if (trade.time !== time) return trade.time < time ? -1 : 1;
  if (trade.sequence !== sequence) {
    if (trade.sequence === null) return -1;
    if (sequence === null) return 1;
    return trade.sequence < sequence ? -1 : 1;
  }
  return compareUtf8(trade.id, id);
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

export interface Place {
  readonly venue: string;
  readonly symbol: string;
  readonly interval: string;
  /** Microseconds. */
  readonly start: number;
  readonly end: number;
}

/** The candle as the window stands, as the window's next revision. */
export function candle(
  place: Place,
  from: Accumulator,
  status: CandleStatus,
  reason: CandleReason,
  version: string,
): Candle {
  return {
    venue: place.venue,
    symbol: place.symbol,
    interval: place.interval,
    window_start: BigInt(place.start),
    window_end: BigInt(place.end),
    open: from.open,
    high: from.high,
    low: from.low,
    close: from.close,
    vwap: from.volume === 0n ? null : divideRounded(from.notional, from.volume),
    volume: from.volume,
    notional: from.notional,
    trade_count: BigInt(from.trade_count),
    first_trade_id: from.open_id,
    last_trade_id: from.close_id,
    open_time: BigInt(from.open_time),
    high_time: BigInt(from.high_time),
    low_time: BigInt(from.low_time),
    close_time: BigInt(from.close_time),
    status,
    revision: from.revision,
    reason,
    provenance: {
      processor_version: version,
      from_offset: from.from_offset,
      to_offset: from.to_offset,
      from_lsn: from.from_lsn,
      to_lsn: from.to_lsn,
    },
  };
}
