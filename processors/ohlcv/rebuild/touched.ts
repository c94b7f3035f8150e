import type { Plan } from '../../../core/processor/windows/plan.ts';
import { endOf } from '../../../core/processor/windows/windows.ts';
import type { Candle } from '../../../schemas/gen/candle.ts';
import { schemas as contracts } from '../../../schemas/gen/index.ts';
import type { LateTrade } from '../../../schemas/gen/late_trade.ts';
import { symbolKey } from '../../trade-key.ts';
import { read, type Sources } from './reading.ts';

/** Candles of a plan. Default of each field: all. */
export interface Scope {
  readonly venue?: string | undefined;
  readonly symbols?: readonly string[] | undefined;
  /** Windows that overlap `[from, to)`, event time in microseconds. */
  readonly from?: bigint | undefined;
  readonly to?: bigint | undefined;
}

/** A candle with unapplied changes. */
export interface Touched {
  readonly interval: string;
  readonly start: number;
  readonly end: number;
  /** Number of unapplied changes, and their first and last offset. */
  notApplied: number;
  firstOffset: bigint;
  lastOffset: bigint;
  /** Newest published revision; 0 without one. */
  revision: number;
  /** Trade count of the published candle. */
  published: number;
  /** First input offset of the published candle; undefined without one. */
  publishedFrom: bigint | undefined;
  /** Set for a rebuilt candle: it contains all changes up to this offset. */
  rebuiltTo: bigint | undefined;
  /** Trades of the candle in the log. */
  found: number;
  /** First and last offset of the changes that concern it. */
  from: bigint;
  to: bigint;
}

/** Candles of one symbol with unapplied changes. */
export interface TouchedSymbol {
  readonly key: string;
  readonly venue: string;
  readonly symbol: string;
  readonly partition: number;
  readonly plan: Plan;
  /** Candles by `windowKey`. */
  readonly windows: Map<string, Touched>;
}

export interface TouchedCandles {
  /** Symbols by the state's key. */
  readonly symbols: ReadonlyMap<string, TouchedSymbol>;
  /** Duplicate changes, as `partition/offset`. */
  readonly repeated: ReadonlySet<string>;
}

export function windowKey(interval: string, start: number): string {
  return `${interval} ${start}`;
}

/**
 * Reads the candles with unapplied changes from the late topic. Memory grows with the candles, not with the trades.
 *
 * @param positions end of the input by partition: later changes are left out.
 */
export async function readTouched(
  sources: Sources,
  scope: Scope,
  planOf: (venue: string) => Plan,
  positions: ReadonlyMap<number, bigint>,
): Promise<TouchedCandles> {
  const symbols = new Map<string, TouchedSymbol>();
  const repeated = new Set<string>();
  for await (const portion of read<LateTrade>(sources, 'ohlcv.late', contracts.late_trade)) {
    for (const { value } of portion) {
      const { venue, symbol, interval, window_start, effect, reason, origin } = value;
      if (!isIn(scope, venue, symbol) || origin.offset >= (positions.get(origin.partition) ?? 0n)) continue;
      if (reason === 'DUPLICATE') repeated.add(`${origin.partition}/${origin.offset}`);
      if (effect !== 'NOT_APPLIED' || interval === null || window_start === null) continue;
      const key = symbolKey(venue, symbol);
      const plan = symbols.get(key)?.plan ?? planOf(venue);
      const windows = plan.level(interval)?.windows;
      const start = Number(window_start);
      const end = windows === undefined ? undefined : endOf(windows, start);
      if (end === undefined || !overlaps(scope, start, end)) continue;
      const { partition, offset } = origin;
      const of = symbols.get(key) ?? { key, venue, symbol, partition, plan, windows: new Map() };
      symbols.set(key, of);
      take(of, interval, start, end, offset);
    }
  }
  return { symbols, repeated };
}

function isIn({ venue, symbols }: Scope, ofVenue: string, symbol: string): boolean {
  return (venue === undefined || venue === ofVenue) && (symbols === undefined || symbols.includes(symbol));
}

function overlaps({ from, to }: Scope, start: number, end: number): boolean {
  return (from === undefined || end > Number(from)) && (to === undefined || start < Number(to));
}

function take({ windows }: TouchedSymbol, interval: string, start: number, end: number, offset: bigint): void {
  const key = windowKey(interval, start);
  const found = windows.get(key);
  if (found === undefined) {
    const none = { revision: 0, published: 0, publishedFrom: undefined, rebuiltTo: undefined, found: 0 };
    const offsets = { firstOffset: offset, lastOffset: offset, from: offset, to: offset };
    windows.set(key, { interval, start, end, notApplied: 1, ...none, ...offsets });
    return;
  }
  found.notApplied++;
  found.firstOffset = least(found.firstOffset, offset);
  found.lastOffset = greatest(found.lastOffset, offset);
  concern(found, offset);
}

/** Extends the candle's input range by a change that must be read again. */
export function concern(window: Touched, offset: bigint): void {
  window.from = least(window.from, offset);
  window.to = greatest(window.to, offset);
}

/** Reads the published candles. Removes those whose rebuild included all unapplied changes. */
export async function readPublished(sources: Sources, { symbols }: TouchedCandles): Promise<void> {
  for await (const portion of read<Candle>(sources, 'market.candles', contracts.candle)) {
    for (const { value } of portion) {
      const { venue, symbol, interval, window_start, revision, reason, provenance, trade_count } = value;
      const window = symbols.get(symbolKey(venue, symbol))?.windows.get(windowKey(interval, Number(window_start)));
      if (window === undefined) continue;
      window.revision = Math.max(window.revision, revision);
      window.published = Number(trade_count);
      window.publishedFrom = provenance?.from_offset;
      window.rebuiltTo = reason === 'REBUILT' ? provenance?.to_offset : undefined;
    }
  }
  for (const { windows } of symbols.values()) {
    for (const [key, { lastOffset, rebuiltTo }] of windows) {
      if (rebuiltTo !== undefined && rebuiltTo >= lastOffset) windows.delete(key);
    }
  }
}

function least(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}

function greatest(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
