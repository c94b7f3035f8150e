/** Compares the table as the new slot's snapshot shows it with what the log knows, and reads what differs. */
import type { Client } from 'pg';
import { type Masks, maskedTable } from '../../../core/capture/masks.ts';
import { quoted } from '../../../core/values/sql.ts';
import { parseTimestamp } from '../../../core/values/time.ts';
import type { RowColumn, Text } from '../columns/row.ts';
import type { Difference } from './envelope.ts';
import { temporary } from './known.ts';
import type { CapturedTable } from './tables.ts';

export interface Counts {
  /** Rows of the table that the log does not have. */
  readonly missing: number;
  /** Rows that it has otherwise. */
  readonly changed: number;
  /** Rows that it has, and the table has not. */
  readonly deleted: number;
}

/** A difference, and the partition of the row's newest record; null when there is none. */
export interface Found extends Difference {
  readonly partition: number | null;
}

/** What is compared. Default: everything. */
export interface CompareScope {
  /** Columns in which rows have to be equal. */
  readonly columns: readonly RowColumn[];
  /** Of rows that the table has, only those with an event time on one of these days, `YYYY-MM-DD`. */
  readonly days: readonly string[];
}

/** Fills the temporary table `differences_<table>`. Within the transaction whose snapshot counts. */
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
  // A row without event time may be a lost one, whatever its day.
  if (eventTime === null) return 'true';
  const time = `t.${quoted(eventTime)}`;
  const conditions = days.map(
    (day) => `(${time} >= '${day} 00:00:00+00' AND ${time} < '${day} 00:00:00+00'::timestamptz + interval '1 day')`,
  );
  return `(${['false', ...conditions].join(' OR ')})`;
}

/** Types whose cast to text is not what Postgres prints: it cuts the blanks off that a `character(n)` ends with, and gives each address a mask. */
const printed = new Set(['bpchar', 'inet']);

/** As Postgres prints it, and Debezium with it. */
function text(value: string, { type }: RowColumn): string {
  return printed.has(type) ? `CASE WHEN ${value} IS NOT NULL THEN concat(${value}) END` : `(${value})::text`;
}

/**
 * The differences in the order in which they are to be written. When a missing row was committed nobody knows: somewhere between the
 * last change that was captured and the new slot. Its event time is taken, within those bounds, so that it is as late as it would have been. What
 * was changed or deleted takes the lower bound, which moves no watermark.
 *
 * @param bounds microseconds
 */
export async function* readDifferences(
  db: Client,
  table: CapturedTable,
  columns: readonly RowColumn[],
  bounds: { readonly from: bigint; readonly to: bigint },
): AsyncGenerator<readonly Found[]> {
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

/** How many rows are read at once: as many as fit into the memory that is meant for them, were all as long as the longest. */
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
