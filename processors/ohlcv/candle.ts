import { MillraceError } from '../../core/base/errors.ts';
import type { Aggregation, Emission } from '../../core/processor/windows/aggregation.ts';
import { divideRounded } from '../../core/values/decimal.ts';
import type { Candle } from '../../schemas/gen/candle.ts';
import { compareTrades, type Trade } from '../trade.ts';
import { accumulatorSchema } from './state.ts';

/**
 * Content of a candle. Prices and sizes are unscaled bigints; times are microseconds as numbers, exact to ±2^53. A count of 0 means a
 * window without trades: it has the previous close for all prices, and the time of the last trade.
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
}

/** Whether two versions of a trade give equal candles. */
export function sameTrade(a: Trade, b: Trade): boolean {
  return a.price === b.price && a.size === b.size && a.time === b.time && a.sequence === b.sequence;
}

/** The aggregation of trades into candles, for any windows. The order of trades does not matter. */
export const candles: Aggregation<Trade, Accumulator> = {
  schema: accumulatorSchema,
  time: (trade) => trade.time,
  count: (of) => of.trade_count,
  copy: (of) => ({ ...of }),
  create,
  add,
  merge,
  subtract,
  carry,
  lastTime: (of) => of.close_time,
  sameCarry: (a, b) => a.close === b.close && a.close_time === b.close_time,
  check,
};

function create(trade: Trade): Accumulator {
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
  };
}

function add(into: Accumulator, trade: Trade): void {
  const { price, time, sequence, id } = trade;
  if (compareTrades(time, sequence, id, into.open_time, into.open_sequence, into.open_id) < 0) {
    into.open = price;
    into.open_time = time;
    into.open_sequence = sequence;
    into.open_id = id;
  }
  if (compareTrades(time, sequence, id, into.close_time, into.close_sequence, into.close_id) >= 0) {
    into.close = price;
    into.close_time = time;
    into.close_sequence = sequence;
    into.close_id = id;
  }
  widen(into, price, time, price, time);
  into.volume += trade.size;
  into.notional += trade.notional;
  into.trade_count += 1;
}

function merge(into: Accumulator, other: Accumulator): void {
  const { open_time, open_sequence, open_id, close_time, close_sequence, close_id } = other;
  if (compareTrades(open_time, open_sequence, open_id, into.open_time, into.open_sequence, into.open_id) < 0) {
    into.open = other.open;
    into.open_time = open_time;
    into.open_sequence = open_sequence;
    into.open_id = open_id;
  }
  if (compareTrades(close_time, close_sequence, close_id, into.close_time, into.close_sequence, into.close_id) >= 0) {
    into.close = other.close;
    into.close_time = close_time;
    into.close_sequence = close_sequence;
    into.close_id = close_id;
  }
  widen(into, other.high, other.high_time, other.low, other.low_time);
  into.volume += other.volume;
  into.notional += other.notional;
  into.trade_count += other.trade_count;
}

/** The time of an extreme is that of the first trade at its price. */
function widen(into: Accumulator, high: bigint, highTime: number, low: bigint, lowTime: number): void {
  if (high > into.high) {
    into.high = high;
    into.high_time = highTime;
  } else if (high === into.high && highTime < into.high_time) {
    into.high_time = highTime;
  }
  if (low < into.low) {
    into.low = low;
    into.low_time = lowTime;
  } else if (low === into.low && lowTime < into.low_time) {
    into.low_time = lowTime;
  }
}

/** Subtracts a trade exactly. Returns false if it may be the open, the close or an extreme: its successor is unknown. */
function subtract(from: Accumulator, trade: Trade): boolean {
  const { price, time, id } = trade;
  if (id === from.open_id || id === from.close_id) return false;
  if (price >= from.high && time <= from.high_time) return false;
  if (price <= from.low && time <= from.low_time) return false;
  from.volume -= trade.size;
  from.notional -= trade.notional;
  from.trade_count -= 1;
  return true;
}

function carry(from: Accumulator): Accumulator {
  const { close, close_time: time, close_sequence: sequence, close_id: id } = from;
  return {
    open: close,
    open_time: time,
    open_sequence: sequence,
    open_id: id,
    high: close,
    high_time: time,
    low: close,
    low_time: time,
    close,
    close_time: time,
    close_sequence: sequence,
    close_id: id,
    volume: 0n,
    notional: 0n,
    trade_count: 0,
  };
}

/** The greatest DECIMAL(38), unscaled. */
const MAX_38 = 10n ** 38n - 1n;
/** Two numbers up to this cannot together exceed the share of any plan: a year of seconds is 3 × 10^7. */
const SMALL = 10n ** 30n;

/**
 * The notional of the longest candle must fit DECIMAL(38,16), so a shorter candle may have only its share. For a plan up to a day, a
 * one-minute candle may have some 7 × 10^18.
 *
 * @throws MillraceError BAD_RECORD: the notional exceeds the share.
 */
function check(into: Accumulator | null, trade: Trade | null, share: number): void {
  const sum = into?.notional ?? 0n;
  const notional = trade?.notional ?? 0n;
  if (notional <= SMALL && notional >= -SMALL && sum <= SMALL && sum >= -SMALL) return;
  const both = sum + notional;
  const limit = MAX_38 / BigInt(share);
  if (both <= limit && both >= -limit) return;
  const who = trade === null ? 'without the trade' : `trade ${trade.id}: with it`;
  throw new MillraceError('BAD_RECORD', `${who}, the notional of a candle could exceed DECIMAL(38,16)`);
}

/**
 * The present candle of a window. Prices are null in a window without trades. A FILLED window has the last close for all prices, and no
 * trades.
 */
export function toCandle(venue: string, symbol: string, from: Emission<Accumulator>, version: string): Candle {
  const { value, span } = from;
  const traded = value !== null && value.trade_count > 0;
  return {
    venue,
    symbol,
    interval: from.level,
    window_start: BigInt(from.start),
    window_end: BigInt(from.end),
    open: value?.open ?? null,
    high: value?.high ?? null,
    low: value?.low ?? null,
    close: value?.close ?? null,
    vwap: value === null || value.volume === 0n ? null : divideRounded(value.notional, value.volume),
    volume: value?.volume ?? 0n,
    notional: value?.notional ?? 0n,
    trade_count: BigInt(value?.trade_count ?? 0),
    first_trade_id: traded ? value.open_id : null,
    last_trade_id: traded ? value.close_id : null,
    open_time: traded ? BigInt(value.open_time) : null,
    high_time: traded ? BigInt(value.high_time) : null,
    low_time: traded ? BigInt(value.low_time) : null,
    close_time: traded ? BigInt(value.close_time) : null,
    status: from.status,
    revision: from.revision,
    reason: from.reason,
    provenance:
      span === null
        ? null
        : {
            processor_version: version,
            from_offset: span.from_offset,
            to_offset: span.to_offset,
            from_lsn: span.from_lsn,
            to_lsn: span.to_lsn,
          },
  };
}
