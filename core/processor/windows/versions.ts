import type { InputRecord } from '../define.ts';

/** What is said of one record of an aggregate: what it is from now on. */
export interface Version<R> {
  readonly key: string;
  /** Names the record within its key, through all its changes. */
  readonly id: string;
  /** Null: it is gone. */
  readonly record: R | null;
  /** The record's event time, microseconds; any when it is gone. */
  readonly time: number;
}

interface Known<R> {
  readonly id: string;
  lsn: bigint;
  /** Of its newest delivery. */
  offset: bigint;
  record: R | null;
  time: number;
}

/** Microseconds. Records are found by the minute of their event time. */
const minute = 60_000_000;

/**
 * Whether a snapshot has read the row. It has the LSN where the snapshot's slot begins, and changes of transactions that were open there have lower
 * ones: whatever comes after it in the log is newer.
 */
function isRead(value: unknown): boolean {
  return (value as { readonly op?: unknown } | null)?.op === 'r';
}

/**
 * The newest version of each record of a key, from a range of the log that may hold changes twice. The changes of one row have rising LSNs, whatever
 * order those of other rows have.
 */
export class Versions<R> {
  readonly #known = new Map<string, Known<R>>();
  /** Of those that are there. */
  readonly #minutes = new Map<number, Set<Known<R>>>();

  /** Records that were there at some time in the range. */
  get size(): number {
    return this.#known.size;
  }

  take({ id, record, time }: Version<R>, at: InputRecord<unknown>): void {
    const known = this.#known.get(id);
    const lsn = at.lsn ?? 0n;
    const next = { id, lsn: isRead(at.value) ? 0n : lsn, offset: at.offset, record, time };
    if (known === undefined) {
      if (record === null) return;
      this.#known.set(id, next);
      this.#place(next);
    } else if (lsn >= known.lsn) {
      this.#displace(known);
      Object.assign(known, next);
      this.#place(known);
    }
  }

  has(id: string): boolean {
    return this.#known.has(id);
  }

  /**
   * Those of an event time in `[start, end)`, microseconds, that changed at or after the offset `from`, where their window began; in no order. What
   * had been before is not in the window, and whether it is known depends on what else was asked for.
   *
   * @param held by id, what their fold holds of records instead of what was said last.
   */
  *within(start: number, end: number, from: bigint, held: ReadonlyMap<string, Version<R>>): IterableIterator<R> {
    for (const found of this.#overlapping(start, end)) {
      for (const { id, record, time, offset } of found) {
        if (record !== null && start <= time && time < end && offset >= from && !held.has(id)) yield record;
      }
    }
    for (const { record, time } of held.values()) if (record !== null && start <= time && time < end) yield record;
  }

  *#overlapping(start: number, end: number): IterableIterator<ReadonlySet<Known<R>>> {
    const [first, last] = [minuteOf(start), minuteOf(end)];
    if (last - first >= this.#minutes.size) {
      yield* this.#minutes.values();
      return;
    }
    for (let at = first; at <= last; at++) {
      const found = this.#minutes.get(at);
      if (found !== undefined) yield found;
    }
  }

  #place(known: Known<R>): void {
    if (known.record === null) return;
    const at = minuteOf(known.time);
    const found = this.#minutes.get(at);
    if (found === undefined) this.#minutes.set(at, new Set([known]));
    else found.add(known);
  }

  #displace(known: Known<R>): void {
    this.#minutes.get(minuteOf(known.time))?.delete(known);
  }
}

function minuteOf(time: number): number {
  return Math.floor(time / minute);
}
