/** Tries a backfill's query before Debezium is signalled. Debezium only logs a warning about a table or condition that it cannot read. */
import { type Client, DatabaseError, type QueryConfig } from 'pg';
import { MillraceError } from '../../core/base/errors.ts';
import { type CapturedTable, capturedTables } from '../recapture/rows/tables.ts';

export interface BackfillPlan {
  readonly table: CapturedTable;
  /** SQL condition, as after WHERE; null for all rows. */
  readonly where: string | null;
  /** Number of rows that match now. */
  readonly rows: number;
}

export interface BackfillRequest {
  /** Table name, with or without schema. */
  readonly table: string;
  readonly where?: string;
}

/** @throws MillraceError CONFIG_INVALID: no such captured table, no primary key, no signal table, or a condition that Postgres refuses. */
export async function planBackfill(
  db: Pick<Client, 'query'>,
  { table: name, where }: BackfillRequest,
): Promise<BackfillPlan> {
  const table = capturedTable(name);
  await requireReady(db, table);
  const condition = where?.trim() ?? '';
  if (where !== undefined) refuseUnreadable(condition);
  await db.query('BEGIN READ ONLY');
  try {
    return { table, where: where === undefined ? null : condition, rows: await count(db, table, condition) };
  } finally {
    await db.query('ROLLBACK');
  }
}

function capturedTable(name: string): CapturedTable {
  const found = capturedTables.find((table) => table.name === name || table.name === `public.${name}`);
  if (found !== undefined) return found;
  throw new MillraceError('CONFIG_INVALID', `table ${name} is not captured`, {
    remedy: `Name one of ${capturedTables.map((table) => table.name).join(', ')}.`,
  });
}

/** Debezium needs the primary key to read the table in portions and to tell rows apart. */
async function requireReady(db: Pick<Client, 'query'>, { name, primaryKey }: CapturedTable): Promise<void> {
  const { rows } = await db.query<{ signals: boolean; key: string[] | null }>(
    `SELECT to_regclass('public.capture_signals') IS NOT NULL AS signals,
            (SELECT array_agg(attname::text) FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY(indkey)
              WHERE indrelid = to_regclass($1) AND indisprimary) AS key`,
    [name],
  );
  if (rows[0]?.signals !== true) {
    throw new MillraceError('CONFIG_INVALID', 'the database has no table public.capture_signals', {
      remedy: 'Run `millrace db migrate`, then `millrace connectors apply`.',
    });
  }
  const key = new Set(rows[0].key ?? []);
  if (key.size === primaryKey.length && primaryKey.every((column) => key.has(column))) return;
  const has = key.size === 0 ? 'no primary key' : `the primary key (${[...key].join(', ')})`;
  throw new MillraceError('CONFIG_INVALID', `${name} has ${has}: its rows cannot be told apart`, {
    remedy: `Give it the one that is captured: ALTER TABLE ${name} ADD PRIMARY KEY (${primaryKey.join(', ')});`,
  });
}

/** Debezium puts the condition into a JDBC statement, in which a question mark is a parameter. */
function refuseUnreadable(where: string): void {
  if (where === '') throw badCondition('it is empty');
  if (where.replace(/'(?:[^']|'')*'|"(?:[^"]|"")*"/g, '').includes('?'))
    throw badCondition('it has a ? outside of quotes');
}

/**
 * The text must be one condition both with and without brackets, so that it cannot end the surrounding statement. The connector may read no
 * other tables.
 */
async function count(db: Pick<Client, 'query'>, { name }: CapturedTable, where: string): Promise<number> {
  if (where === '') return rowsOf(await db.query<{ n: string }>(`SELECT count(*) AS n FROM ${name}`));
  try {
    await db.query(single(`EXPLAIN SELECT FROM ${name} WHERE ${where}`));
    const bracketed = `FROM ${name} WHERE (${where})`;
    const { rows } = await db.query<object>(single(`EXPLAIN (FORMAT JSON) SELECT ${bracketed} AND true`));
    const read = [...JSON.stringify(rows).matchAll(/"Relation Name":"([^"]+)"/g)].map(([, relation = '']) => relation);
    const other = read.find((relation) => `public.${relation}` !== name);
    if (other !== undefined) throw badCondition(`it reads ${other}`);
    return rowsOf(await db.query<{ n: string }>(single(`SELECT count(*) AS n ${bracketed}`)));
  } catch (error) {
    if (error instanceof DatabaseError) throw badCondition(error.message, error);
    throw error;
  }
}

/** An extended query: Postgres then accepts one statement only. */
function single(text: string): QueryConfig {
  return { text, queryMode: 'extended' } as QueryConfig;
}

function rowsOf({ rows }: { readonly rows: readonly { readonly n: string }[] }): number {
  return Number(rows[0]?.n ?? 0);
}

function badCondition(reason: string, cause?: unknown): MillraceError {
  return new MillraceError('CONFIG_INVALID', `--where cannot be used: ${reason}`, {
    remedy: "Give one condition over the table's columns, as after WHERE: executed_at >= '2026-01-01'.",
    ...(cause === undefined ? {} : { cause }),
  });
}
