import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { type Client, DatabaseError } from 'pg';
import { to as copyTo } from 'pg-copy-streams';
import type { Schemas } from '../../core/avro/schemas.ts';
import { type HotTable, hotSchema, hotTables } from '../../core/hot-store/tables.ts';
import type { Log } from '../../core/log/log.ts';
import { groupOf } from '../../core/runtime/runner.ts';
import { canonicalText, postgresHash, type TypedColumn } from '../../core/values/rowhash/rowhash.ts';
import { formatTimestamp } from '../../core/values/time.ts';
import type { HotTopic } from '../../schemas/topics.ts';
import { Scratch } from '../reading/scratch.ts';
import { type Check, Differences, maxExamples } from '../report/report.ts';
import { duckdbTally, TallyBook } from '../report/tally.ts';
import { loadLogged, readRow } from './logged.ts';

export interface HotSources {
  readonly log: Log;
  readonly schemas: Schemas;
  /** A connection to the hot store. */
  readonly hot: Client;
}

export interface HotScope {
  /** First event time to compare, microseconds. `to` is exclusive. Default: all. */
  readonly from?: bigint;
  readonly to?: bigint;
}

const sink = 'hot-store';

/**
 * Compares a table of the hot store with the newest revision of each key in the topic. Every key has a row, with a revision that the sink
 * may have written, and all values equal the log's, exactly, by row hash. A difference names its key and columns.
 *
 * The sink may run meanwhile. A record below the offset committed before the table was read is in the table. A record appended later is
 * not. A record between the two may be.
 */
export async function checkHot(
  { log, schemas, hot }: HotSources,
  topic: HotTopic,
  { from = least, to = greatest }: HotScope = {},
): Promise<Check> {
  const startedMs = performance.now();
  const table = hotTables[topic];
  const name = `${hotSchema}.${table.name}: each row is the newest revision of its key in ${topic}, with equal values`;
  const committed = await log.committed(groupOf(sink), topic);
  if (committed.length === 0) return skippedCheck(name, 'the hot store is not in use');
  const differences = new Differences();
  await using scratch = await Scratch.open();
  await loadTable(hot, table, scratch);
  const { waiting, cut } = await loadLogged({ log, schemas, topic, scratch, committed });
  const inScope = `t >= ${from} AND t < ${to}`;
  await scratch.db.run(`
    CREATE TABLE newest AS SELECT k, any_value(t) AS t, any_value(p) AS p, max(r) FILTER (below) AS must, arg_max(h, r) FILTER (below) AS h
      FROM logged WHERE ${inScope} GROUP BY k;
    CREATE VIEW held AS SELECT * FROM loaded WHERE ${inScope};
    CREATE TABLE compared AS
      WITH revisions AS (SELECT k, r, arg_min(h, o) AS h, min(o) AS o FROM logged GROUP BY k, r)
      SELECT CASE WHEN s.k IS NULL THEN 'missing' WHEN n.k IS NULL THEN 'extra' WHEN s.r < n.must THEN 'older'
                  WHEN v.k IS NULL THEN 'unknown' WHEN v.h <> s.h THEN 'changed' END AS what,
             CASE WHEN what IS NOT NULL THEN coalesce(n.k, s.k) END AS k, s.r AS r, n.must AS must, n.p AS p, v.o AS o,
             coalesce(n.t, s.t) AS t, s.h AS held, CASE WHEN what IS NULL OR what = 'changed' THEN v.h ELSE n.h END AS logged
        FROM held s FULL JOIN newest n ON n.k = s.k LEFT JOIN revisions v ON v.k = s.k AND v.r = s.r
       WHERE (s.k IS NOT NULL OR n.must IS NOT NULL) ${cut ? 'AND n.k IS NOT NULL' : ''}`);
  const wrong = await scratch.query(`
    SELECT *, count(*) OVER () AS total FROM compared WHERE what IS NOT NULL ORDER BY k LIMIT ${maxExamples}`);
  for (const { k, r, must, what, p, o } of wrong) {
    const at = readableKey(table, String(k));
    if (what === 'missing') differences.add(`${at}: in the log with revision ${must}, not in the hot store`);
    else if (what === 'extra') differences.add(`${at}: in the hot store, not in the log`);
    else if (what === 'older') differences.add(`${at}: revision ${r} in the hot store, ${must} in the log`);
    else if (what === 'unknown') differences.add(`${at}: revision ${r} in the hot store is not in the log`);
    else differences.add(`${at}: ${await describe({ log, schemas, hot }, table, Number(p), o as bigint)}`);
  }
  differences.count += Number(wrong[0]?.['total'] ?? 0) - wrong.length;
  const [counts] = await scratch.query(
    `SELECT (SELECT count(*) FROM held) AS held, (SELECT count(*) FROM newest WHERE must IS NOT NULL) AS must,
            (SELECT count(*) FROM held ANTI JOIN newest USING (k)) AS extra`,
  );
  const book = new TallyBook('kafka', 'hotStore');
  book.addAll(
    'kafka',
    await scratch.query(duckdbTally('(SELECT t, p, logged AS h FROM compared WHERE logged IS NOT NULL)')),
  );
  book.addAll(
    'hotStore',
    await scratch.query(duckdbTally('(SELECT t, p, held AS h FROM compared WHERE held IS NOT NULL)')),
  );
  const older = cut && counts?.['extra'] !== 0n ? `, ${counts?.['extra']} are older than the log` : '';
  const newer = waiting === 0 ? '' : `, ${waiting} newer records not written yet`;
  const subject = `${counts?.['held']} rows for ${counts?.['must']} keys${older}${newer}`;
  return differences.check(name, subject, startedMs, book.tallies(`${hotSchema}.${table.name}`, 'data'));
}

const least = -(1n << 62n);
const greatest = 1n << 62n;

function skippedCheck(name: string, why: string): Check {
  return { name, subject: why, differences: 0, examples: [], seconds: 0, skipped: true };
}

function keyColumns({ columns, key }: HotTable): readonly TypedColumn[] {
  return columns.filter(({ name }) => key.includes(name));
}

/**
 * Creates `loaded` (key, event time, revision, row hash) from the table, read in one statement. It is empty if the table does not exist.
 */
async function loadTable(hot: Client, table: HotTable, scratch: Scratch): Promise<void> {
  const path = join(scratch.dir, 'hot.csv');
  const time = `trunc(extract(epoch FROM "${table.eventTime}") * 1000000)::bigint`;
  const hash = `substr(md5(convert_to(${postgresHash.text(table.columns)}, 'UTF8')), 1, 16)`;
  const rows = `SELECT ${postgresHash.text(keyColumns(table))}, ${time}, revision, ${hash} FROM ${hotSchema}.${table.name}`;
  await scratch.db.run('CREATE TABLE loaded (k VARCHAR, t BIGINT, r INTEGER, h UBIGINT)');
  try {
    const copied = hot.query(copyTo(`COPY (${rows}) TO STDOUT (FORMAT csv, FORCE_QUOTE *)`));
    await pipeline(copied, createWriteStream(path));
  } catch (error) {
    // The table or the schema does not exist.
    if (error instanceof DatabaseError && (error.code === '42P01' || error.code === '3F000')) return;
    throw error;
  }
  await scratch.db.run(`
    INSERT INTO loaded SELECT k, t, r, ('0x' || h)::UBIGINT FROM read_csv('${path}', header = false, delim = ',', quote = '"', escape = '"',
      auto_detect = false, allow_quoted_nulls = false, parallel = false, max_line_size = 16000000,
      columns = {'k': 'VARCHAR', 't': 'BIGINT', 'r': 'INTEGER', 'h': 'VARCHAR'})`);
}

/** Names the columns that differ, with both values. */
async function describe(
  { log, schemas, hot }: HotSources,
  table: HotTable,
  partition: number,
  offset: bigint,
): Promise<string> {
  const record = await readRow(log, schemas, table, partition, offset);
  if (record === undefined) return 'the record is no longer in the log';
  const { columns, key } = table;
  const keys = columns.filter(({ name }) => key.includes(name));
  const where = keys.map(({ name, sqlType }, i) => `"${name}" = $${i + 1}::${sqlType}`).join(' AND ');
  const texts = columns.map((column, i) => `${postgresHash.text([column])} AS c${i}`).join(', ');
  const { rows } = await hot.query<Record<string, string>>(
    `SELECT ${texts} FROM ${hotSchema}.${table.name} WHERE ${where}`,
    keys.map((column) => column.text(record)),
  );
  const [row] = rows;
  if (row === undefined) return 'it was another row, and is gone now';
  const found = columns.flatMap((column, i) => {
    const should = canonicalText([column], [column.value(record)]);
    const is = row[`c${i}`] ?? '';
    return is === should ? [] : [`${column.name} is ${shown(column, is)}, in the log ${shown(column, should)}`];
  });
  return found.length > 0 ? found.join(', ') : 'it was another row, and has been replaced since';
}

function readableKey(table: HotTable, key: string): string {
  const parts = key.split('\u001f');
  const columns = keyColumns(table);
  return columns
    .map((column, i) => shown(column, parts[i] ?? ''))
    .filter((text) => text !== '')
    .join(' ');
}

function shown({ type }: TypedColumn, text: string): string {
  if (text === '\u001e') return 'null';
  return type.kind === 'timestamp' ? formatTimestamp(BigInt(text)) : text;
}
