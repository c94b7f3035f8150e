/** The schema of the hot store: its tables, each with one partition per UTC day of event time. */
import type { Client } from 'pg';
import { MillraceError } from '../../core/base/errors.ts';
import { type HotColumn, type HotTable, hotSchema, hotTables } from '../../core/hot-store/tables.ts';

/** Advisory lock: processes that create or drop partitions wait for each other. */
const lock = `hashtextextended('millrace.hot-store', 0)`;

export interface Partition {
  readonly table: HotTable['name'];
  /** YYYY-MM-DD */
  readonly day: string;
  readonly name: string;
  readonly bytes: bigint;
  /** False if a retention was interrupted after the detach; 'pending' if it was interrupted during it. */
  readonly attached: boolean | 'pending';
}

/** Runs the work in a transaction, with the lock on schema changes. */
export async function changingSchema(client: Client, work: () => Promise<void>): Promise<void> {
  await client.query('BEGIN');
  try {
    await client.query(`SELECT pg_advisory_xact_lock(${lock})`);
    await work();
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined);
    throw error;
  }
}

/**
 * Creates what is missing: the schema, its tables, and columns that our schemas have gained. Repeatable. If nothing is missing, no
 * statement needs a right. No publication of ours names the tables, so none of them is captured.
 *
 * @throws MillraceError HOT_STORE_UNAVAILABLE: a column exists with another type.
 */
export async function prepareSchema(client: Client): Promise<void> {
  await changingSchema(client, async () => {
    const { rows } = await client.query<{ there: boolean }>('SELECT to_regnamespace($1) IS NOT NULL AS there', [
      hotSchema,
    ]);
    if (rows[0]?.there !== true) await client.query(`CREATE SCHEMA ${hotSchema}`);
    for (const table of Object.values(hotTables)) await prepareTable(client, table);
  });
}

async function prepareTable(client: Client, table: HotTable): Promise<void> {
  const { rows } = await client.query<{ name: string; type: string }>(
    `SELECT attname AS name, format_type(atttypid, atttypmod) AS type FROM pg_attribute
      WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped`,
    [`${hotSchema}.${table.name}`],
  );
  if (rows.length === 0) {
    const columns = table.columns.map((column) => definition(table, column));
    await client.query(
      `CREATE TABLE ${hotSchema}.${table.name} (${columns.join(', ')}, PRIMARY KEY (${table.key.map(quote).join(', ')}))
        PARTITION BY RANGE (${quote(table.eventTime)})`,
    );
    return;
  }
  const there = new Map(rows.map(({ name, type }) => [name, type]));
  for (const column of table.columns) {
    const type = there.get(column.name);
    if (type === undefined) {
      await client.query(`ALTER TABLE ${hotSchema}.${table.name} ADD COLUMN ${definition(table, column)}`);
    } else if (type !== column.sqlType) {
      const at = `${hotSchema}.${table.name}.${column.name}`;
      throw new MillraceError('HOT_STORE_UNAVAILABLE', `${at} is ${type} and has to be ${column.sqlType}`, {
        remedy: 'Alter the column; or drop the table, and rebuild it with `millrace hot-store rebuild`.',
      });
    }
  }
}

function definition({ key }: HotTable, { name, sqlType }: HotColumn): string {
  return `${quote(name)} ${sqlType}${key.includes(name) || name === 'revision' ? ' NOT NULL' : ''}`;
}

/**
 * Creates the missing partitions of the days. A new partition is created apart and then attached, which takes no lock that blocks the
 * table's readers or writers.
 */
export async function ensureDays(client: Client, table: HotTable, days: readonly string[]): Promise<void> {
  await changingSchema(client, async () => {
    const names = days.map((day) => partitionName(table.name, day));
    const known = new Map((await listPartitions(client, names)).map((partition) => [partition.day, partition]));
    for (const day of days) {
      const partition = known.get(day);
      if (partition?.attached === true) continue;
      const name = `${hotSchema}.${partitionName(table.name, day)}`;
      const parent = `${hotSchema}.${table.name}`;
      if (partition === undefined) await client.query(`CREATE TABLE ${name} (LIKE ${parent} INCLUDING ALL)`);
      if (partition?.attached === 'pending')
        await client.query(`ALTER TABLE ${parent} DETACH PARTITION ${name} FINALIZE`);
      await client.query(
        `ALTER TABLE ${parent} ATTACH PARTITION ${name} FOR VALUES FROM ('${day} 00:00:00+00') TO ('${dayAfter(day)} 00:00:00+00')`,
      );
    }
  });
}

/** All partitions, or those with these names, oldest first; detached ones included. */
export async function listPartitions(client: Client, names?: readonly string[]): Promise<readonly Partition[]> {
  const { rows } = await client.query<{ name: string; attached: boolean; pending: boolean; bytes: string }>(
    `SELECT c.relname AS name, c.relispartition AS attached, coalesce(i.inhdetachpending, false) AS pending,
            pg_total_relation_size(c.oid)::text AS bytes
       FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
      WHERE c.relnamespace = to_regnamespace($1) AND c.relkind = 'r' AND ($2::text[] IS NULL OR c.relname = ANY($2))`,
    [hotSchema, names ?? null],
  );
  const partitions = rows.flatMap(({ name, attached, pending, bytes }): Partition[] => {
    const [, table, year, month, day] = /^(candles|anomalies|features)_(\d{4})(\d\d)(\d\d)$/.exec(name) ?? [];
    if (table === undefined) return [];
    return [
      {
        table: table as HotTable['name'],
        day: `${year}-${month}-${day}`,
        name,
        bytes: BigInt(bytes),
        attached: pending ? 'pending' : attached,
      },
    ];
  });
  return partitions.sort((a, b) => (`${a.day} ${a.name}` < `${b.day} ${b.name}` ? -1 : 1));
}

/** Detaches a partition without blocking the table's readers or writers, and drops it. After an interruption, call it again. */
export async function dropPartition(client: Client, { table, name, attached }: Partition): Promise<void> {
  const [parent, partition] = [`${hotSchema}.${table}`, `${hotSchema}.${name}`];
  await client.query(`SELECT pg_advisory_lock(${lock})`);
  try {
    if (attached === 'pending') await client.query(`ALTER TABLE ${parent} DETACH PARTITION ${partition} FINALIZE`);
    else if (attached) await client.query(`ALTER TABLE ${parent} DETACH PARTITION ${partition} CONCURRENTLY`);
    await client.query(`DROP TABLE IF EXISTS ${partition}`);
  } finally {
    await client.query(`SELECT pg_advisory_unlock(${lock})`).catch(() => undefined);
  }
}

export function partitionName(table: HotTable['name'], day: string): string {
  return `${table}_${day.replaceAll('-', '')}`;
}

/** For 9999-12-31 it is 10000-01-01, as Postgres writes it. */
function dayAfter(day: string): string {
  const next = new Date(Date.parse(`${day}T00:00:00Z`) + 86_400_000).toISOString();
  return next.slice(0, next.indexOf('T')).replace(/^\+0*/, '');
}

export function quote(name: string): string {
  return `"${name}"`;
}
