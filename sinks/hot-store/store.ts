import type { MillraceError } from '../../core/base/errors.ts';
import type { HotTable } from '../../core/hot-store/tables.ts';
import type { HotRow } from './row.ts';

/** A row that the store will never take. */
export interface RefusedRow {
  readonly row: HotRow;
  readonly error: MillraceError;
}

export interface Upserted {
  /** Rows that are new, or newer than what was there. */
  readonly changed: number;
  readonly refused: readonly RefusedRow[];
}

/**
 * Where the newest revision of each key is kept. Not its job: waiting for better times, and knowing what was written before.
 */
export interface HotStore {
  /**
   * Keeps each row unless a row of its key with the same or a greater revision is there: so repeating a call, or calls in another order,
   * end in the same table. When it returns the rows are durable. After an error any of them may be there.
   *
   * @param rows one per key
   * @throws MillraceError HOT_STORE_UNAVAILABLE: try again later; anything about single rows is in the answer instead.
   */
  upsert(table: HotTable, rows: readonly HotRow[]): Promise<Upserted>;
}
