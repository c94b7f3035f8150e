/** Loads the rows of the log into Postgres, where they are compared with the table. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from 'pg';
import { AvroDecoder } from '../../../core/avro/decoder.ts';
import type { Schemas } from '../../../core/avro/schemas.ts';
import { dispositionOf } from '../../../core/base/errors.ts';
import { endsOf, type Log, readRange } from '../../../core/log/log.ts';
import { quoted } from '../../../core/values/sql.ts';
import type { RowColumn, Text } from '../columns/row.ts';
import type { CapturedTable } from './tables.ts';

interface CapturedChange {
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
  /** Newest value schema of the topic; all its records are read with it. */
  readonly schema: object;
  readonly columns: readonly RowColumn[];
  readonly signal: AbortSignal | undefined;
  /** First offset to read by partition; undefined skips the partition. Default: the start of the log. */
  readonly from?: (partition: number) => bigint | undefined;
  /** Records read so far, and the number of offsets to read. */
  readonly onProgress: (done: number, total: number) => void;
}

/** Greatest position of a topic's records; 0 without any. */
export interface Newest {
  /** Commit time, microseconds. */
  readonly time: bigint;
  readonly lsn: bigint;
}

const fetch = { maxWaitMs: 500, maxBytesPerPartition: 1_048_576 };

/** Name of a temporary table. */
export function temporary(prefix: string, { name }: CapturedTable): string {
  return `${prefix}_${name.replace('.', '_')}`;
}

/**
 * Fills the temporary table `known_<table>`. It has each key's row in its newest record, the place of that record (`_partition`,
 * `_offset`), and whether it was deleted (`_gone`). Records that readers of the log ignore are ignored here too.
 *
 * @returns greatest position of all records.
 */
export async function loadKnown(options: KnownOptions): Promise<Newest> {
  const { db, table, columns } = options;
  await makeRead(db, table, columns);
  const newest = await loadRecords(options);
  await makeKnown(db, table);
  return newest;
}

/** Creates the temporary table `read_<table>`: rows of the log, old and new versions of each key. */
export async function makeRead(db: Client, table: CapturedTable, columns: readonly RowColumn[]): Promise<void> {
  const [known, read] = [temporary('known', table), temporary('read', table)];
  const cells = columns.map(({ name, sql }) => `${sql(quoted(name))} AS ${quoted(name)}`);
  await db.query(`DROP TABLE IF EXISTS ${known}, ${read}`);
  await db.query(
    `CREATE TEMP TABLE ${read} AS SELECT ${cells.join(', ')}, 0 AS _partition, 0::bigint AS _offset, false AS _gone FROM ${table.name} WITH NO DATA`,
  );
}

/** Creates `known_<table>` from `read_<table>`: the newest version of each key. */
export async function makeKnown(db: Client, table: CapturedTable): Promise<void> {
  const [known, read] = [temporary('known', table), temporary('read', table)];
  const key = table.primaryKey.map(quoted).join(', ');
  await db.query(
    `CREATE TEMP TABLE ${known} AS SELECT DISTINCT ON (${key}) * FROM ${read} ORDER BY ${key}, _offset DESC`,
  );
  await db.query(`DROP TABLE ${read}; ANALYZE ${known}`);
}

/** Adds records to `read_<table>`. Returns their greatest position. */
export async function loadRecords(options: KnownOptions): Promise<Newest> {
  const { db, log, topic, table, columns, from: first = () => 0n } = options;
  const read = temporary('read', table);
  const decoder = new AvroDecoder<CapturedChange>(options.schemas, options.schema);
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

/** @param rows values of the columns, then partition, offset, and the delete flag */
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

/** A topic that was just created has no leader yet. */
const leaderMs = 30_000;

/** Counts records of aborted transactions too. False when the topic does not exist. */
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
