import { compareTrades, type Trade } from '../trade.ts';
import { addVolume, type Bucket, bucketOf } from './profile.ts';

/** Aggregate of one step's trades of one symbol. Volumes are unscaled at scale 8, times are microseconds. Mutable: it is state. */
export interface Bar {
  /** Price of the last trade, and that trade's place in the order of trades. */
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
  /** First input offset for a second read of its trades. */
  readonly from_offset: bigint;
  /** Greatest offset and LSN of the changes in it. */
  to_offset: bigint;
  to_lsn: bigint;
  /** Log time of its first trade. */
  readonly from_log: number;
}

/** Place of a change in the log. */
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

/** Subtracts a trade exactly. Returns false and changes nothing for the last trade: sums do not tell which trade was before it. */
export function subtractTrade(bar: Bar, trade: Trade, origin: Origin, digits: number): boolean {
  if (bar.close_id === trade.id) return false;
  sum(bar, trade, -1, digits);
  touch(bar, origin);
  return true;
}

/** A bar of these trades that replaces an earlier one; undefined without trades. */
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
