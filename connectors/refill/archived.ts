/** Loads the newest row of each key from the listed files of the archive into Postgres, for the comparison with the table. */
import type { Client } from 'pg';
import type { Copy } from '../../core/archive/reading/copies.ts';
import { ArchiveQuery } from '../../core/archive/reading/query.ts';
import { namings } from '../../core/archive/reading/views.ts';
import { tables } from '../../core/archive/rows/tables.ts';
import { quoted } from '../../core/values/sql.ts';
import type { ArchivedTopic } from '../../schemas/topics.ts';
import type { RowColumn } from '../recapture/columns/row.ts';
import { insert, temporary } from '../recapture/rows/known.ts';
import type { CapturedTable } from '../recapture/rows/tables.ts';

/** Captured columns that every file has; rows are compared in them. */
export function archivedColumns(topic: ArchivedTopic, columns: readonly RowColumn[]): readonly RowColumn[] {
  const names = new Set(tables[topic].columns.map(({ name }) => name));
  return columns.filter(({ name }) => names.has(name));
}

export interface LoadArchivedOptions {
  readonly db: Client;
  readonly topic: ArchivedTopic;
  readonly table: CapturedTable;
  readonly columns: readonly RowColumn[];
  /** All listed files of the partitions concerned. */
  readonly copies: readonly Copy[];
  readonly scratchDir: string;
  readonly signal: AbortSignal;
}

/**
 * Adds the newest row of each key to `read_<table>`, unless it was deleted. Columns that some file lacks are null.
 *
 * @throws MillraceError QUERY_FAILED
 */
export async function loadArchived(options: LoadArchivedOptions): Promise<void> {
  const { db, topic, table, columns, copies, scratchDir, signal } = options;
  if (copies.length === 0) return;
  const files = new Map([[topic, copies.map(({ path }) => path)]]);
  await using query = await ArchiveQuery.open({ files, scratchDir });
  const held = new Set(archivedColumns(topic, columns));
  const cells = columns.map((column) => (held.has(column) ? quoted(column.name) : 'NULL'));
  const result = await query.run(
    `SELECT ${cells.join(', ')}, _partition, _offset, false FROM ${namings[topic].newest}`,
    signal,
  );
  for await (const rows of result.cells()) await insert(db, temporary('read', table), columns, rows);
}
