import type { Store } from '../../core/processor/define.ts';
import { isTraded, type Traded } from './rules/measure.ts';
import type { KeptCandle } from './state.ts';

/** Kept candles of one venue, symbol and interval, oldest first. */
export interface CandleHistory {
  readonly venue: string;
  readonly symbol: string;
  readonly interval: string;
  readonly candles: KeptCandle[];
}

export type SeriesKey = Pick<CandleHistory, 'venue' | 'symbol' | 'interval'>;

/** Histories by venue, symbol and interval. Each candle is one store entry, so a new candle writes only itself. */
export class Histories {
  readonly #store: Store<KeptCandle>;
  readonly #histories = new Map<string, CandleHistory>();

  constructor(store: Store<KeptCandle>) {
    this.#store = store;
  }

  get size(): number {
    return this.#histories.size;
  }

  restored(): void {
    for (const [key, candle] of this.#store.entries()) {
      const [venue, symbol, interval] = JSON.parse(key) as [string, string, string];
      this.of({ venue, symbol, interval }).candles.push(candle);
    }
    for (const { candles } of this.#histories.values()) {
      candles.sort((a, b) => (a.window_start < b.window_start ? -1 : 1));
    }
  }

  of({ venue, symbol, interval }: SeriesKey): CandleHistory {
    const key = JSON.stringify([venue, symbol, interval]);
    let history = this.#histories.get(key);
    if (history === undefined) {
      history = { venue, symbol, interval, candles: [] };
      this.#histories.set(key, history);
    }
    return history;
  }

  /** Inserts the candle, or replaces its earlier revision. Returns its position. */
  put(history: CandleHistory, candle: KeptCandle): number {
    const { candles } = history;
    const at = position(candles, candle.window_start);
    candles.splice(at, candles[at]?.window_start === candle.window_start ? 1 : 0, candle);
    this.#store.set(storeKey(history, candle), candle);
    return at;
  }

  /** Removes the oldest candle. */
  shift(history: CandleHistory): KeptCandle | undefined {
    const oldest = history.candles.shift();
    if (oldest !== undefined) this.#store.delete(storeKey(history, oldest));
    return oldest;
  }

  /** Least and greatest offset of the first revisions of all kept candles. */
  range(): { readonly oldest: bigint; readonly newest: bigint } | undefined {
    let range: { oldest: bigint; newest: bigint } | undefined;
    for (const [, { closed_at }] of this.#store.entries()) {
      if (range === undefined) range = { oldest: closed_at, newest: closed_at };
      else if (closed_at < range.oldest) range.oldest = closed_at;
      else if (closed_at > range.newest) range.newest = closed_at;
    }
    return range;
  }
}

/** Position of the window, or the position for its insertion. */
export function position(candles: readonly KeptCandle[], windowStart: bigint): number {
  let low = 0;
  let high = candles.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((candles[middle] as KeptCandle).window_start < windowStart) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * The `count` candles with trades before position `at`, oldest first; fewer if there never were more. Undefined when earlier candles
 * existed and are not kept any more.
 */
export function baselineOf({ candles }: CandleHistory, at: number, count: number): readonly Traded[] | undefined {
  const found: Traded[] = [];
  for (let before = at - 1; before >= 0 && found.length < count; before--) {
    const candle = candles[before] as KeptCandle;
    if (isTraded(candle)) found.push(candle);
  }
  if (found.length < count && candles[0]?.first !== true) return undefined;
  return found.reverse();
}

function storeKey({ venue, symbol, interval }: SeriesKey, { window_start }: KeptCandle): string {
  return JSON.stringify([venue, symbol, interval, window_start.toString()]);
}
