import type { InputRecord } from '../define.ts';
import { type Cell, Cells, type Sums } from './revisions/cells.ts';

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
  lsn: bigint;
  /** Of its newest delivery. */
  offset: bigint;
  record: R | null;
  time: number;
  readonly id: string;
  /** Where it is while it is there. */
  cell: Cell<R, Known<R>> | undefined;
}

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
  readonly #cells = new Cells<R, Known<R>>();

  /** Records that were there at some time in the range. */
  get size(): number {
    return this.#known.size;
  }

  take({ id, record, time }: Version<R>, at: InputRecord<unknown>): void {
    const known = this.#known.get(id);
    const lsn = at.lsn ?? 0n;
    const next = { lsn: isRead(at.value) ? 0n : lsn, offset: at.offset, record, time };
    if (known === undefined) {
      if (record === null) return;
      const fresh: Known<R> = { ...next, id, cell: undefined };
      this.#known.set(id, fresh);
      fresh.cell = this.#cells.add(fresh);
    } else if (lsn >= known.lsn) {
      if (known.cell !== undefined) this.#cells.delete(known, known.cell);
      Object.assign(known, next);
      known.cell = record === null ? undefined : this.#cells.add(known);
    }
  }

  has(id: string): boolean {
    return this.#known.has(id);
  }

  /** Records that exist at the end of the range, each with its event time. */
  *records(): IterableIterator<readonly [record: R, time: number]> {
    for (const { record, time } of this.#known.values()) if (record !== null) yield [record, time];
  }

  /** @param held by id, what their fold holds of records instead of what was said last. */
  found(held: ReadonlyMap<string, Version<R>>): Found<R> {
    const cells = new Set([...held.keys()].map((id) => this.#known.get(id)?.cell));
    return new Found(this.#cells, held, cells);
  }
}

/**
 * The records of a window: of an event time in `[start, end)`, microseconds, that changed at or after the offset `from`, where it began. What had been
 * before is not in the window, and whether it is known depends on what else was asked for.
 */
export class Found<R> {
  readonly #cells: Cells<R, Known<R>>;
  readonly #held: ReadonlyMap<string, Version<R>>;
  /** Those with records of which something else is held. */
  readonly #others: ReadonlySet<Cell<R, Known<R>> | undefined>;

  constructor(
    cells: Cells<R, Known<R>>,
    held: ReadonlyMap<string, Version<R>>,
    others: ReadonlySet<Cell<R, Known<R>> | undefined>,
  ) {
    this.#cells = cells;
    this.#held = held;
    this.#others = others;
  }

  /** In no order. */
  *within(start: number, end: number, from: bigint): IterableIterator<R> {
    for (const cell of this.#cells.overlapping(start, end)) yield* this.#of(cell, start, end, from);
    yield* this.#heldWithin(start, end);
  }

  /** What they come to, null without any: of all that did not change since it was asked last, as it was summed up then. */
  total<A>(start: number, end: number, from: bigint, sums: Sums<R, A>): A | null {
    let total: A | null = null;
    const add = (record: R): void => {
      if (total === null) total = sums.create(record);
      else sums.add(total, record);
    };
    for (const cell of this.#cells.overlapping(start, end)) {
      const sum = cell.isInside(start, end) && !this.#others.has(cell) ? cell.sum(sums) : undefined;
      if (sum === undefined || sum.least < from) for (const record of this.#of(cell, start, end, from)) add(record);
      else if (sum.value !== null && total === null) total = sums.copy(sum.value);
      else if (sum.value !== null) sums.merge(total as A, sum.value);
    }
    for (const record of this.#heldWithin(start, end)) add(record);
    return total;
  }

  *#of({ records }: Cell<R, Known<R>>, start: number, end: number, from: bigint): IterableIterator<R> {
    for (const { id, record, time, offset } of records) {
      if (record !== null && start <= time && time < end && offset >= from && !this.#held.has(id)) yield record;
    }
  }

  *#heldWithin(start: number, end: number): IterableIterator<R> {
    for (const { record, time } of this.#held.values()) {
      if (record !== null && start <= time && time < end) yield record;
    }
  }
}
