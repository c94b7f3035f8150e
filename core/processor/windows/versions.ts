import type { InputRecord } from '../define.ts';

/** What an input record says about one record of an aggregate: what it is from now on. */
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
  record: R | null;
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

  /** Records that were there at some time in the range. */
  get size(): number {
    return this.#known.size;
  }

  take({ id, record }: Version<R>, at: InputRecord<unknown>): void {
    const known = this.#known.get(id);
    const lsn = at.lsn ?? 0n;
    const next = isRead(at.value) ? 0n : lsn;
    if (known === undefined) {
      if (record !== null) this.#known.set(id, { lsn: next, record });
    } else if (lsn >= known.lsn) {
      known.lsn = next;
      known.record = record;
    }
  }

  has(id: string): boolean {
    return this.#known.has(id);
  }

  *values(): IterableIterator<R> {
    for (const { record } of this.#known.values()) if (record !== null) yield record;
  }
}
