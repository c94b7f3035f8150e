import { Heap, type HeapEntry } from '../../core/processor/heap.ts';
import type { Progress } from '../../core/processor/watermark.ts';
import type { Interval } from '../../core/processor/window.ts';
import type { Accumulator, Place } from './candle.ts';

/** An open window. It is due at the event time at which it ends; windows that end together close shortest first. */
export interface OpenWindow extends HeapEntry, Place {
  /** In the store of windows. */
  readonly key: string;
  readonly state: Accumulator;
}

/** The open windows of one interval, by start. Trades mostly go on in the window of the one before: that one is at hand. */
export class Lane {
  readonly interval: Interval;
  readonly #windows = new Map<number, OpenWindow>();
  #latest: OpenWindow | undefined;

  constructor(interval: Interval) {
    this.interval = interval;
  }

  get(start: number): OpenWindow | undefined {
    if (this.#latest?.start === start) return this.#latest;
    const found = this.#windows.get(start);
    if (found !== undefined) this.#latest = found;
    return found;
  }

  add(window: OpenWindow): void {
    this.#windows.set(window.start, window);
    this.#latest = window;
  }

  delete(window: OpenWindow): void {
    this.#windows.delete(window.start);
    if (this.#latest === window) this.#latest = undefined;
  }
}

/** One venue's symbol: how far its event time has come, and its open windows. It is due at the log time at which the first of them closes. */
export class SymbolState implements HeapEntry {
  readonly venue: string;
  readonly symbol: string;
  /** In the store of symbols; decides between symbols that are due together. */
  readonly tie: string;
  readonly progress: Progress;
  readonly open = new Heap<OpenWindow>();
  /** In the order of the intervals. */
  readonly lanes: readonly Lane[];
  due = 0;
  slot = -1;

  constructor(venue: string, symbol: string, key: string, progress: Progress, intervals: readonly Interval[]) {
    this.venue = venue;
    this.symbol = symbol;
    this.tie = key;
    this.progress = progress;
    this.lanes = intervals.map((interval) => new Lane(interval));
  }

  add(window: OpenWindow): void {
    this.open.set(window, window.end);
    this.#lane(window)?.add(window);
  }

  delete(window: OpenWindow): void {
    this.open.delete(window);
    this.#lane(window)?.delete(window);
  }

  /** None for a window whose interval is no longer configured: it takes no more trades, and closes when it is due. */
  #lane(window: OpenWindow): Lane | undefined {
    return this.lanes.find((lane) => lane.interval.name === window.interval);
  }
}

/** Symbols by venue and name, without joining the two into one string for each trade. */
export class Symbols {
  readonly #venues = new Map<string, Map<string, SymbolState>>();
  #latest: SymbolState | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(venue: string, symbol: string): SymbolState | undefined {
    const latest = this.#latest;
    if (latest !== undefined && latest.symbol === symbol && latest.venue === venue) return latest;
    const found = this.#venues.get(venue)?.get(symbol);
    if (found !== undefined) this.#latest = found;
    return found;
  }

  add(state: SymbolState): void {
    let symbols = this.#venues.get(state.venue);
    if (symbols === undefined) {
      symbols = new Map();
      this.#venues.set(state.venue, symbols);
    }
    symbols.set(state.symbol, state);
    this.#latest = state;
    this.#size += 1;
  }

  *values(): IterableIterator<SymbolState> {
    for (const symbols of this.#venues.values()) yield* symbols.values();
  }
}
