import type { MillraceError } from '../../core/base/errors.ts';
import type { HotTable } from '../../core/hot-store/tables.ts';
import type { HotRow } from './row.ts';

/** A row that the store will never take. */
export interface RefusedRow {
  readonly row: HotRow;
  readonly error: MillraceError;
}

export interface Upserted {
  /** Rows that were inserted, or that replaced an older revision. */
  readonly changed: number;
  readonly refused: readonly RefusedRow[];
}

/** Keeps the newest revision of each key. Not its job: waiting while the database is down, and remembering earlier writes. */
export interface HotStore {
  /**
   * Writes each row unless the table has its key with the same or a greater revision. So repeated or reordered calls end in the same table.
   * On return the rows are durable. After an error, any of them may be written.
   *
   * @param rows one per key
   * @throws MillraceError HOT_STORE_UNAVAILABLE: try again later. Errors about single rows are in the result instead.
   */
  upsert(table: HotTable, rows: readonly HotRow[]): Promise<Upserted>;
}
