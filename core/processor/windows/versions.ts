import type { InputRecord } from '../define.ts';
import type { Pane } from './pane.ts';

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
 * The newest version of each record that some windows of a key have to do with, from a range of the log that may hold changes twice. The changes of
 * one row have rising LSNs, whatever order those of other rows have.
 */
export class Versions<R> {
  readonly #key: string;
  readonly #panes: readonly Pane<unknown>[];
  readonly #known = new Map<string, Known<R>>();

  constructor(key: string, panes: readonly Pane<unknown>[]) {
    this.#key = key;
    this.#panes = panes;
  }

  take(version: Version<R> | undefined, at: InputRecord<unknown>): void {
    if (version === undefined || version.key !== this.#key) return;
    const { id, record } = version;
    const known = this.#known.get(id);
    const lsn = at.lsn ?? 0n;
    const next = isRead(at.value) ? 0n : lsn;
    if (known === undefined) {
      if (record !== null && this.#holds(version.time)) this.#known.set(id, { lsn: next, record });
    } else if (lsn >= known.lsn) {
      known.lsn = next;
      known.record = record;
    }
  }

  *values(): IterableIterator<R> {
    for (const { record } of this.#known.values()) if (record !== null) yield record;
  }

  #holds(time: number): boolean {
    return this.#panes.some((pane) => pane.start <= time && time < pane.end);
  }
}
