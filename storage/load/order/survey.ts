/** Result of one pass over a file: rows, symbols, times, and backward steps in a symbol's times. */
import type { ParsedRow } from '../rows/row.ts';

export interface SymbolName {
  readonly venue: string;
  readonly symbol: string;
}

/** Map key of a symbol: names have no control characters. */
export function symbolId({ venue, symbol }: SymbolName): string {
  return `${venue}\u001f${symbol}`;
}

export interface SymbolTimes extends SymbolName {
  rows: number;
  /** Milliseconds since 1970. */
  earliest: number;
  latest: number;
  last: number;
  /** Rows earlier than a previous row. */
  back: number;
  /** Rows later than the row directly before them. */
  forward: number;
  /** Rows earlier than a previous row by more than the watermark delay, and their times. */
  late: number;
  lateFrom: number;
  lateTo: number;
}

/** Limit of symbols of one file in memory. */
export const mostSymbols = 100_000;

export class Survey {
  readonly symbols = new Map<string, SymbolTimes>();
  readonly #watermarkDelayMs: number;
  /** Greatest backward step, milliseconds. */
  worstBackMs = 0;
  rows = 0;

  constructor(watermarkDelayMs: number) {
    this.#watermarkDelayMs = watermarkDelayMs;
  }

  /** @returns false when the file has more symbols than `mostSymbols`. */
  add(row: ParsedRow): boolean {
    const { venue, symbol, millis: at } = row;
    const key = symbolId(row);
    this.rows++;
    const times = this.symbols.get(key);
    if (times === undefined) {
      if (this.symbols.size === mostSymbols) return false;
      this.symbols.set(key, {
        venue,
        symbol,
        rows: 1,
        earliest: at,
        latest: at,
        last: at,
        back: 0,
        forward: 0,
        late: 0,
        lateFrom: Number.POSITIVE_INFINITY,
        lateTo: Number.NEGATIVE_INFINITY,
      });
    } else {
      times.rows++;
      if (at > times.last) times.forward++;
      this.#stepBack(times, at);
      times.earliest = Math.min(times.earliest, at);
      times.latest = Math.max(times.latest, at);
      times.last = at;
    }
    return true;
  }

  #stepBack(times: SymbolTimes, at: number): void {
    const behind = times.latest - at;
    if (behind <= 0) return;
    times.back++;
    this.worstBackMs = Math.max(this.worstBackMs, behind);
    if (behind <= this.#watermarkDelayMs) return;
    times.late++;
    times.lateFrom = Math.min(times.lateFrom, at);
    times.lateTo = Math.max(times.lateTo, at);
  }

  /** Rows with a backward step. */
  get back(): number {
    return this.#sum((times) => times.back);
  }

  /** Rows with a backward step of more than the watermark delay. */
  get late(): number {
    return this.#sum((times) => times.late);
  }

  /** Each symbol's newest rows come first, so lines of one time are in reverse order too. */
  get newestFirst(): boolean {
    return this.back > 0 && this.#sum((times) => times.forward) === 0;
  }

  #sum(of: (times: SymbolTimes) => number): number {
    let sum = 0;
    for (const times of this.symbols.values()) sum += of(times);
    return sum;
  }
}
