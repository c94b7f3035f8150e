import type { AvroDecoder } from '../../core/avro/decoder.ts';
import { MillraceError } from '../../core/base/errors.ts';
import type { HotTable } from '../../core/hot-store/tables.ts';
import type { LogRecord } from '../../core/log/log.ts';

/** A record as a row of its table. */
export interface HotRow {
  /** Equal for equal primary keys. */
  readonly key: string;
  readonly revision: number;
  /** UTC day of its event time, YYYY-MM-DD, which is its partition. */
  readonly day: string;
  /** One value for each column of the table, in order. */
  readonly values: readonly (string | null)[];
  /** The record that the row was made from. */
  readonly record: LogRecord;
}

/** Needs a decoder that has the record's schema. @throws MillraceError of a dead letter: the record is no row */
export function rowOf(table: HotTable, record: LogRecord, decoder: AvroDecoder<object>): HotRow {
  if (record.unreadable !== undefined) throw record.unreadable;
  if (record.value === null) throw new MillraceError('BAD_RECORD', 'the record has no value');
  const value = decoder.decode(record.value);
  const values = table.columns.map((column) => column.text(value));
  let key = '';
  let day = '';
  for (const [i, { name }] of table.columns.entries()) {
    const text = values[i] ?? '';
    // Separator: no Postgres text contains U+0000.
    if (table.key.includes(name)) key += `${text}\0`;
    if (name === table.eventTime) day = text.slice(0, 10);
  }
  return { key, day, revision: table.revision(value), values, record };
}

/** The newest row of each key. For equal revisions the first stays, as in the table. */
export class Newest {
  readonly #rows = new Map<string, HotRow>();

  get size(): number {
    return this.#rows.size;
  }

  add(row: HotRow): void {
    const known = this.#rows.get(row.key);
    if (known === undefined || row.revision > known.revision) this.#rows.set(row.key, row);
  }

  /** In key order: two writers of the same rows take the locks in the same order. */
  rows(): readonly HotRow[] {
    return [...this.#rows.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  clear(): void {
    this.#rows.clear();
  }
}
