/** What the log says of each row, put beside the table in Postgres, where the two are compared. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from 'pg';
import { AvroDecoder } from '../../../core/avro/decoder.ts';
import type { Schemas } from '../../../core/avro/schemas.ts';
import { dispositionOf } from '../../../core/base/errors.ts';
import { endsOf, type Log, readRange } from '../../../core/log/log.ts';
import { quoted } from '../../../core/values/sql.ts';
import type { RowColumn, Text } from '../columns/row.ts';
import type { CapturedTable } from './tables.ts';

interface Change {
  readonly before: Readonly<Record<string, unknown>> | null;
  readonly after: Readonly<Record<string, unknown>> | null;
  readonly op: string;
  readonly source: { readonly ts_us?: bigint | null; readonly lsn?: bigint | null };
}

export interface KnownOptions {
  readonly db: Client;
  readonly log: Log;
  readonly schemas: Schemas;
  readonly table: CapturedTable;
  readonly topic: string;
  /** The newest value schema of the topic: all its records are read by it. */
  readonly schema: object;
  readonly columns: readonly RowColumn[];
  readonly signal: AbortSignal | undefined;
  /** First offset of a partition that is read; undefined: nothing of it is. Default: where the log begins. */
  readonly from?: (partition: number) => bigint | undefined;
  /** Records read so far, of so many offsets. */
  readonly onProgress: (done: number, total: number) => void;
}

/** How far the records of a topic go; 0 without any. */
export interface Newest {
  /** Commit time, microseconds. */
  readonly time: bigint;
  readonly lsn: bigint;
}

const fetch = { maxWaitMs: 500, maxBytesPerPartition: 1_048_576 };

/** Of the temporary tables. */
export function temporary(prefix: string, { name }: CapturedTable): string {
  return `${prefix}_${name.replace('.', '_')}`;
}

/**
 * Fills the temporary table `known_<table>`: per key the row as its newest record has it, where that record is (`_partition`, `_offset`), and
 * whether it was deleted (`_gone`). A record that readers of the log put aside says nothing here either.
 *
 * @returns how far all records go.
 */
export async function loadKnown(options: KnownOptions): Promise<Newest> {
  const { db, table, columns } = options;
  await makeRead(db, table, columns);
  const newest = await loadRecords(options);
  await makeKnown(db, table);
  return newest;
}

/** Makes the temporary table `read_<table>`: rows of the log, older and newer ones of a key. */
export async function makeRead(db: Client, table: CapturedTable, columns: readonly RowColumn[]): Promise<void> {
  const [known, read] = [temporary('known', table), temporary('read', table)];
  const cells = columns.map(({ name, sql }) => `${sql(quoted(name))} AS ${quoted(name)}`);
  await db.query(`DROP TABLE IF EXISTS ${known}, ${read}`);
  await db.query(
    `CREATE TEMP TABLE ${read} AS SELECT ${cells.join(', ')}, 0 AS _partition, 0::bigint AS _offset, false AS _gone FROM ${table.name} WITH NO DATA`,
  );
}

/** Makes `known_<table>` of it: the newest of each key. */
export async function makeKnown(db: Client, table: CapturedTable): Promise<void> {
  const [known, read] = [temporary('known', table), temporary('read', table)];
  const key = table.primaryKey.map(quoted).join(', ');
  await db.query(
    `CREATE TEMP TABLE ${known} AS SELECT DISTINCT ON (${key}) * FROM ${read} ORDER BY ${key}, _offset DESC`,
  );
  await db.query(`DROP TABLE ${read}; ANALYZE ${known}`);
}

/** Adds records to `read_<table>`. Returns how far they go. */
export async function loadRecords(options: KnownOptions): Promise<Newest> {
  const { db, log, topic, table, columns, from: first = () => 0n } = options;
  const read = temporary('read', table);
  const decoder = new AvroDecoder<Change>(options.schemas, options.schema);
  const [starts, ends] = await Promise.all([log.starts(topic), log.ends(topic)]);
  const ranges = ends.map((to, partition) => {
    const [start, from] = [starts[partition] ?? 0n, first(partition) ?? to];
    return { topic, partition, from: from > start ? from : start, to };
  });
  const total = ranges.reduce((sum, { from, to }) => sum + (to > from ? Number(to - from) : 0), 0);
  let [newest, lsn, done] = [0n, 0n, 0];
  for (const { partition, ...range } of ranges) {
    const signal = options.signal === undefined ? {} : { signal: options.signal };
    for await (const records of readRange(log, { partition, ...range }, { ...fetch, ...signal })) {
      await decoder.prepare(decoder.missing(records.map(({ value }) => value)));
      const rows: Text[][] = [];
      for (const record of records) {
        const change = record.unreadable === undefined ? decoder.decodeIfReadable(record.value) : undefined;
        const time = change?.source.ts_us ?? 0n;
        if (time > newest) newest = time;
        const place = change?.source.lsn ?? 0n;
        if (place > lsn) lsn = place;
        const row = change?.after ?? change?.before ?? null;
        if (change === undefined || row === null) continue;
        rows.push([...textsOf(row, columns), `${partition}`, `${record.offset}`, `${change.after === null}`]);
      }
      await insert(db, read, columns, rows);
      done += records.length;
      options.onProgress(done, total);
    }
  }
  return { time: newest, lsn };
}

function textsOf(row: Readonly<Record<string, unknown>>, columns: readonly RowColumn[]): Text[] {
  return columns.map(({ name, toText }) => {
    const value = row[name];
    return value === null || value === undefined ? null : toText(value);
  });
}

/** @param rows values of the columns, then partition, offset, and whether it was deleted */
export async function insert(
  db: Client,
  into: string,
  columns: readonly RowColumn[],
  rows: readonly (readonly Text[])[],
): Promise<void> {
  if (rows.length === 0) return;
  const types = [...columns.map(({ type }) => type), 'int', 'bigint', 'boolean'];
  const arrays = types.map((_, i) => rows.map((row) => row[i] ?? null));
  await db.query(
    `INSERT INTO ${into} SELECT ${types.map((type, i) => `c${i}::${type}`).join(', ')}
       FROM unnest(${types.map((_, i) => `$${i + 1}::text[]`).join(', ')}) AS rows (${types.map((_, i) => `c${i}`).join(', ')})`,
    arrays,
  );
}

/** A topic that was made a moment ago has no leader yet. */
const leaderMs = 30_000;

/** Records of transactions that were aborted count as well. False when there is no such topic. */
export async function hasRecords(log: Pick<Log, 'ends'>, topic: string): Promise<boolean> {
  const giveUpAt = performance.now() + leaderMs;
  for (;;) {
    try {
      return (await endsOf(log, topic)).some((end) => end > 0n);
    } catch (error) {
      if (dispositionOf(error) !== 'retry' || performance.now() > giveUpAt) throw error;
      await sleep(200);
    }
  }
}
