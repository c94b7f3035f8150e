/** Explains a failed task's trace: the column, the rows, and the remedy. */
import type { Client } from 'pg';
import { captureRecordBytes } from '../../schemas/topics.ts';
import { findUnwritable, keyText } from '../recapture/columns/unwritable.ts';
import { capturedTables } from '../recapture/rows/tables.ts';

/** Time limit of the search for rows, milliseconds. */
const searchMs = 10_000;

const wayOut = 'Then run `millrace connectors delete --reset` and `millrace connectors recapture --yes`.';

/** Explanation, by line; empty for an unknown failure. Does not throw when the search times out. */
export async function explainFailure(db: Pick<Client, 'query'>, trace: string): Promise<readonly string[]> {
  const [, tableName, column, type] =
    /Failed to properly convert data value for '(\w+\.\w+)\.([^']+)' of type (\S+)/.exec(trace) ?? [];
  if (tableName !== undefined && column !== undefined) {
    return await limited(db, () => unwritable(db, tableName, column, type ?? ''));
  }
  return trace.includes('RecordTooLargeException') ? await limited(db, () => tooLarge(db)) : [];
}

async function unwritable(
  db: Pick<Client, 'query'>,
  tableName: string,
  column: string,
  type: string,
): Promise<readonly string[]> {
  const table = capturedTables.find(({ name }) => name === tableName);
  const [found] = table === undefined ? [] : await findUnwritable(db, table, column);
  if (found === undefined) {
    return [
      `${tableName}.${column} has a value that does not fit the type ${type}: its type was changed while capture was behind. ${wayOut}`,
    ];
  }
  const where = found.rows.length === 0 ? 'no row has one any more' : `in rows ${found.rows.join('; ')}`;
  return [
    `${tableName}.${column}: Debezium cannot write ${found.what}; ${where}.`,
    `Correct the values, or drop the column. ${wayOut}`,
  ];
}

async function tooLarge(db: Pick<Client, 'query'>): Promise<readonly string[]> {
  const lines: string[] = [];
  for (const table of capturedTables) {
    // An update has the row twice.
    const { rows } = await db.query<{ key: string; columns: string }>(
      `SELECT ${keyText(table)} AS key,
              (SELECT string_agg(column_name || ' ' || bytes, ', ') FROM
                (SELECT key AS column_name, octet_length(value) AS bytes FROM jsonb_each_text(to_jsonb(t)) ORDER BY 2 DESC NULLS LAST LIMIT 2) largest) AS columns
         FROM ${table.name} t WHERE octet_length(t::text) > ${captureRecordBytes / 2 - 65_536} LIMIT 5`,
    );
    lines.push(...rows.map(({ key, columns }) => `${table.name}: row ${key} (bytes: ${columns})`));
  }
  return [
    `a change is larger than ${captureRecordBytes} bytes, and has its row twice where it is an update`,
    ...(lines.length === 0 ? ['no row is that large any more'] : lines),
    `Make the values smaller, or drop the column. ${wayOut}`,
  ];
}

async function limited(
  db: Pick<Client, 'query'>,
  search: () => Promise<readonly string[]>,
): Promise<readonly string[]> {
  await db.query(`SET statement_timeout = ${searchMs}`);
  try {
    return await search();
  } catch (error) {
    return [`the rows could not be searched for: ${(error as Error).message}`];
  } finally {
    await db.query('RESET statement_timeout').catch(() => undefined);
  }
}
