import { compareTrades, type Trade } from '../trade.ts';
import { addVolume, type Bucket, bucketOf } from './profile.ts';

/** The trades of one step of one symbol, summed up. Volumes unscaled at scale 8, times microseconds. Mutable: it is state. */
export interface Bar {
  /** Price of the last trade; which one that is. */
  close: bigint;
  close_time: number;
  close_sequence: bigint | null;
  close_id: string;
  /** Volume by the taker's side. */
  buy: bigint;
  sell: bigint;
  unknown: bigint;
  trade_count: number;
  readonly profile: Bucket[];
  /** Where a second reading of its trades has to begin. */
  readonly from_offset: bigint;
  /** Greatest offset and LSN of a change that it was made of. */
  to_offset: bigint;
  to_lsn: bigint;
  /** Log time of its first trade. */
  readonly from_log: number;
}

/** Where a change is in the log. */
export interface Origin {
  readonly offset: bigint;
  readonly lsn: bigint | null;
  readonly logTime: bigint;
}

export function barOf(trade: Trade, origin: Origin, digits: number): Bar {
  const bar: Bar = {
    close: trade.price,
    close_time: trade.time,
    close_sequence: trade.sequence,
    close_id: trade.id,
    buy: 0n,
    sell: 0n,
    unknown: 0n,
    trade_count: 0,
    profile: [],
    from_offset: origin.offset,
    to_offset: origin.offset,
    to_lsn: origin.lsn ?? 0n,
    from_log: Number(origin.logTime),
  };
  sum(bar, trade, 1, digits);
  return bar;
}

export function addTrade(bar: Bar, trade: Trade, origin: Origin, digits: number): void {
  const { time, sequence, id } = trade;
  if (compareTrades(time, sequence, id, bar.close_time, bar.close_sequence, bar.close_id) >= 0) {
    bar.close = trade.price;
    bar.close_time = time;
    bar.close_sequence = sequence;
    bar.close_id = id;
  }
  sum(bar, trade, 1, digits);
  touch(bar, origin);
}

/**
 * Takes a trade out by exact subtraction. False, and nothing is done, for the last trade: which one was before it, sums do not tell.
 */
export function subtractTrade(bar: Bar, trade: Trade, origin: Origin, digits: number): boolean {
  if (bar.close_id === trade.id) return false;
  sum(bar, trade, -1, digits);
  touch(bar, origin);
  return true;
}

/** The bar of these trades, in place of one that they were part of. */
export function rebuilt(old: Bar, trades: Iterable<Trade>, origin: Origin, digits: number): Bar | undefined {
  let bar: Bar | undefined;
  const first = { offset: old.from_offset, lsn: old.to_lsn, logTime: BigInt(old.from_log) };
  for (const trade of trades) {
    if (bar === undefined) bar = barOf(trade, first, digits);
    else addTrade(bar, trade, first, digits);
  }
  if (bar !== undefined) {
    touch(bar, { ...first, offset: old.to_offset });
    touch(bar, origin);
  }
  return bar;
}

function touch(bar: Bar, { offset, lsn }: Origin): void {
  if (offset > bar.to_offset) bar.to_offset = offset;
  if (lsn !== null && lsn > bar.to_lsn) bar.to_lsn = lsn;
}

function sum(bar: Bar, { side, size, price }: Trade, sign: 1 | -1, digits: number): void {
  const volume = sign === 1 ? size : -size;
  if (side === 'buy') bar.buy += volume;
  else if (side === 'sell') bar.sell += volume;
  else bar.unknown += volume;
  bar.trade_count += sign;
  addVolume(bar.profile, bucketOf(price, digits), volume);
}
