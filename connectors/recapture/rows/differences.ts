/** Compares the table at the new slot's snapshot with the rows of the log, and reads the differences. */
import type { Client } from 'pg';
import { type Masks, maskedTable } from '../../../core/capture/masks.ts';
import { quoted } from '../../../core/values/sql.ts';
import { parseTimestamp } from '../../../core/values/time.ts';
import type { RowColumn, Text } from '../columns/row.ts';
import type { Difference } from './envelope.ts';
import { temporary } from './known.ts';
import type { CapturedTable } from './tables.ts';

export interface Counts {
  /** Rows of the table that are not in the log. */
  readonly missing: number;
  /** Rows with other values in the log. */
  readonly changed: number;
  /** Rows of the log that are not in the table. */
  readonly deleted: number;
}

/** A difference with the partition of the row's newest record; null without a record. */
export interface LocatedDifference extends Difference {
  readonly partition: number | null;
}

/** Part of the table to compare. Default: everything. */
export interface CompareScope {
  /** Columns that must be equal. */
  readonly columns: readonly RowColumn[];
  /** Limits rows of the table to event times on these days, `YYYY-MM-DD`. */
  readonly days: readonly string[];
}

/** Fills the temporary table `differences_<table>`. The caller runs it within the transaction of the snapshot. */
export async function compare(
  db: Client,
  table: CapturedTable,
  columns: readonly RowColumn[],
  masks: Masks,
  scope?: CompareScope,
): Promise<Counts> {
  const [known, differences] = [temporary('known', table), temporary('differences', table)];
  const [first] = table.primaryKey;
  const names = columns.map(({ name }) => name);
  const from = maskedTable(masks, table.name, names);
  const compared = scope?.columns ?? columns;
  const now = ({ name, sql }: RowColumn): string => sql(`t.${quoted(name)}`);
  const before = ({ name }: RowColumn): string => `k.${quoted(name)}`;
  const cells = columns.flatMap((column, i) => [
    `${text(now(column), column)} AS now_${i}`,
    `${text(before(column), column)} AS known_${i}`,
  ]);
  await db.query(`DROP TABLE IF EXISTS ${differences}`);
  await db.query(
    `CREATE TEMP TABLE ${differences} AS
       SELECT CASE WHEN k.${quoted(first)} IS NULL THEN 'r' WHEN t.${quoted(first)} IS NULL THEN 'd' ELSE 'u' END AS _op, k._partition,
              ${table.eventTime === null ? 'NULL::timestamptz' : `t.${quoted(table.eventTime)}`} AS _time, ${cells.join(', ')}
         FROM ${from} t FULL JOIN (SELECT * FROM ${known} WHERE NOT _gone) k
           ON ${table.primaryKey.map((name) => `t.${quoted(name)} = k.${quoted(name)}`).join(' AND ')}
        WHERE ROW(${compared.map(now).join(', ')}) IS DISTINCT FROM ROW(${compared.map(before).join(', ')})${scope === undefined ? '' : ` AND (t.${quoted(first)} IS NULL OR ${onDays(table, scope.days)})`}`,
  );
  const { rows } = await db.query<{ _op: string; n: string }>(
    `SELECT _op, count(*) AS n FROM ${differences} GROUP BY 1`,
  );
  const of = (op: string): number => Number(rows.find((row) => row._op === op)?.n ?? 0);
  return { missing: of('r'), changed: of('u'), deleted: of('d') };
}

function onDays({ eventTime }: CapturedTable, days: readonly string[]): string {
  // A row without event time may be a lost one on any day.
  if (eventTime === null) return 'true';
  const time = `t.${quoted(eventTime)}`;
  const conditions = days.map(
    (day) => `(${time} >= '${day} 00:00:00+00' AND ${time} < '${day} 00:00:00+00'::timestamptz + interval '1 day')`,
  );
  return `(${['false', ...conditions].join(' OR ')})`;
}

/**
 * Types whose cast to text differs from Postgres' output: the cast removes trailing blanks of `character(n)` and adds a mask to each
 * address.
 */
const printed = new Set(['bpchar', 'inet']);

/** Postgres' output text, which Debezium uses too. */
function text(value: string, { type }: RowColumn): string {
  return printed.has(type) ? `CASE WHEN ${value} IS NOT NULL THEN concat(${value}) END` : `(${value})::text`;
}

/**
 * Differences in the order of writing. The commit time of a missing row is unknown: it lies between the last captured change and the new
 * slot. Its event time is used, limited to those bounds, so its lateness is as it would have been. Changed and deleted rows use the lower
 * bound, which advances no watermark.
 *
 * @param bounds lower and upper bound, microseconds
 */
export async function* readDifferences(
  db: Client,
  table: CapturedTable,
  columns: readonly RowColumn[],
  bounds: { readonly from: bigint; readonly to: bigint },
): AsyncGenerator<readonly LocatedDifference[]> {
  const cursor = `${temporary('differences', table)}_cursor`;
  const portion = await portionOf(db, table);
  await db.query('BEGIN');
  try {
    await db.query(
      `DECLARE ${cursor} NO SCROLL CURSOR FOR SELECT *, _time::text AS _at FROM ${temporary('differences', table)} ORDER BY _op = 'r', _time`,
    );
    for (;;) {
      const { rows } = await db.query<Record<string, Text> & { _partition: number | null }>(
        `FETCH ${portion} FROM ${cursor}`,
      );
      if (rows.length === 0) break;
      yield rows.map((row) => {
        const op = row['_op'] as Difference['op'];
        const sideOf = (side: string): Record<string, Text> =>
          Object.fromEntries(columns.map(({ name }, i) => [name, row[`${side}_${i}`] ?? null]));
        return {
          op,
          before: op === 'r' ? null : sideOf('known'),
          after: op === 'd' ? null : sideOf('now'),
          logTime: op === 'r' ? within(row['_at'] ?? null, bounds) : bounds.from,
          partition: row._partition,
        };
      });
    }
    await db.query('COMMIT');
  } catch (error) {
    await db.query('ROLLBACK').catch(() => undefined);
    throw error;
  }
}

const mostRows = 2_000;
const mostBytes = 32 * 1024 * 1024;

/** Number of rows per read: the memory limit divided by the size of the longest row. */
async function portionOf(db: Client, table: CapturedTable): Promise<number> {
  const { rows } = await db.query<{ bytes: number | null }>(
    `SELECT max(octet_length(each::text)) AS bytes FROM ${temporary('differences', table)} each`,
  );
  return Math.min(mostRows, Math.max(1, Math.floor(mostBytes / (rows[0]?.bytes ?? 1))));
}

function within(time: Text, { from, to }: { readonly from: bigint; readonly to: bigint }): bigint {
  if (time === null) return from;
  const at = parseTimestamp(time);
  return at < from ? from : at > to ? to : at;
}
