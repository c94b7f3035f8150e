import type { Aggregation } from '../aggregation.ts';

/** What is needed of an aggregation to sum up records, and sums of them. */
export type Sums<R, A> = Pick<Aggregation<R, A>, 'create' | 'add' | 'merge' | 'copy'>;

/** One record, and where in the log it changed last. */
export interface Placed<R> {
  readonly record: R | null;
  /** Event time, microseconds. */
  readonly time: number;
  readonly offset: bigint;
}

/** Microseconds. Records are found by the minute of their event time. */
const minute = 60_000_000;
/** Records that are summed up again when one of them has changed: near the root of what a busy minute has. */
const cellSize = 128;

/** Some records of one minute, and what they come to. Whoever changes one of them says so with `changed`. */
export class Cell<R, P extends Placed<R>> {
  /** Start of the minute, microseconds. */
  readonly start: number;
  readonly records = new Set<P>();
  #sum: { readonly value: unknown; readonly least: bigint } | undefined;

  constructor(start: number) {
    this.start = start;
  }

  changed(): void {
    this.#sum = undefined;
  }

  /** Whether all of its records are of an event time in `[start, end)`, wherever in the minute they are. */
  isInside(start: number, end: number): boolean {
    return start <= this.start && this.start + minute <= end;
  }

  /**
   * What they come to, and the least offset of any of them. Kept until they change: always asked for with the same sums, and nobody changes it.
   */
  sum<A>(sums: Sums<R, A>): { readonly value: A | null; readonly least: bigint } {
    this.#sum ??= this.#sumUp(sums);
    return this.#sum as { value: A | null; least: bigint };
  }

  #sumUp<A>(sums: Sums<R, A>): { value: A | null; least: bigint } {
    let value: A | null = null;
    let least = 0n;
    for (const { record, offset } of this.records) {
      if (record === null) continue;
      if (value === null || offset < least) least = offset;
      if (value === null) value = sums.create(record);
      else sums.add(value, record);
    }
    return { value, least };
  }
}

/** Records by the minute of their event time, a number of them to a cell. */
export class Cells<R, P extends Placed<R>> {
  readonly #minutes = new Map<number, Cell<R, P>[]>();

  /** Minutes that have any. */
  get size(): number {
    return this.#minutes.size;
  }

  add(placed: P): Cell<R, P> {
    const at = minuteOf(placed.time);
    let cells = this.#minutes.get(at);
    if (cells === undefined) {
      cells = [];
      this.#minutes.set(at, cells);
    }
    let cell = cells.at(-1);
    if (cell === undefined || cell.records.size >= cellSize) {
      cell = new Cell(at * minute);
      cells.push(cell);
    }
    cell.records.add(placed);
    cell.changed();
    return cell;
  }

  delete(placed: P, cell: Cell<R, P>): void {
    cell.records.delete(placed);
    cell.changed();
    if (cell.records.size > 0) return;
    const at = minuteOf(cell.start);
    const cells = this.#minutes.get(at)?.filter((each) => each !== cell) ?? [];
    if (cells.length > 0) this.#minutes.set(at, cells);
    else this.#minutes.delete(at);
  }

  /** Those that may have records of an event time in `[start, end)`. */
  *overlapping(start: number, end: number): IterableIterator<Cell<R, P>> {
    const [first, last] = [minuteOf(start), minuteOf(end)];
    if (last - first >= this.#minutes.size) {
      for (const cells of this.#minutes.values()) yield* cells;
      return;
    }
    for (let at = first; at <= last; at++) yield* this.#minutes.get(at) ?? [];
  }
}

function minuteOf(time: number): number {
  return Math.floor(time / minute);
}
