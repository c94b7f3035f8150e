/** Obstacles that would keep a recapture from writing a row, reported before the connector stops. */
import { MillraceError } from '../../core/base/errors.ts';
import { connectPostgres } from '../../core/base/postgres.ts';
import { findUnwritable, type UnwritableRows } from './columns/unwritable.ts';
import { type CaptureSchemas, openTables } from './rows/opened.ts';
import type { CapturedTable } from './rows/tables.ts';

/**
 * @param tables tables to recapture
 * @throws MillraceError SCHEMA_INCOMPATIBLE: names every column that cannot be written as Debezium would. Or names every column with
 *   unwritable values, and some of their rows.
 */
export async function requireWritable(
  postgresUrl: string,
  schemas: CaptureSchemas,
  prefix: string,
  tables: readonly CapturedTable[],
): Promise<void> {
  await using db = await connectPostgres({ url: postgresUrl, name: 'millrace recapture' });
  const found: UnwritableRows[] = [];
  for (const { table } of await openTables(db, schemas, prefix, tables))
    found.push(...(await findUnwritable(db, table)));
  if (found.length === 0) return;
  const lines = found.map(({ table, column, what, rows }) => `  ${table}.${column} has ${what}: ${rows.join('; ')}`);
  throw new MillraceError('SCHEMA_INCOMPATIBLE', `values cannot be written as Debezium would:\n${lines.join('\n')}`, {
    remedy: 'Correct the values in Postgres, or drop the column; nothing was stopped.',
  });
}
