/**
 * Fills the gap that a lost replication slot leaves. Not by reading every row again as if it were new, which would count everything twice: the
 * log is compared with the table at exactly the place where a new slot begins, and what differs is written as changes.
 *
 * The order is what makes it safe against a crash at any point:
 *   1. stop the connector: the log is at rest
 *   2. read what the log knows into temporary tables
 *   3. move the write-ahead log on, should it end before what was captured; replace the slot, and compare with the snapshot that it begins at
 *   4. write the differences, each in one transaction with others
 *   5. let the connector go on from where the new slot begins
 * Until 5 is done the slot counts as lost, and whoever says it again compares with a log that has what was written already.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from 'pg';
import { AvroDecoder } from '../../core/avro/decoder.ts';
import { AvroEncoder } from '../../core/avro/encoder.ts';
import type { Version } from '../../core/avro/registry.ts';
import type { Schemas } from '../../core/avro/schemas.ts';
import { isError, MillraceError } from '../../core/errors.ts';
import type { Masks } from '../../core/masks.ts';
import { connectPostgres } from '../../core/postgres.ts';
import { type Log, type OutRecord, readRange } from '../../core/runtime/log.ts';
import type { HeartbeatChange } from '../../schemas/gen/heartbeat_change.ts';
import { schemas as contracts } from '../../schemas/gen/index.ts';
import { keySubject, valueSubject } from '../../schemas/topics.ts';
import type { ConnectClient } from '../client.ts';
import type { Definition } from '../definition.ts';
import { type RowColumn, rowColumns, type Text } from './columns.ts';
import { type Counts, compare, type Found, readDifferences } from './differences.ts';
import { envelopeOf } from './envelope.ts';
import { hasRecords, loadKnown, type Newest } from './known.ts';
import { lockSlot, replaceSlot } from './slot.ts';
import { type CapturedTable, capturedTables, topicOf } from './tables.ts';
import { advanceWal } from './wal.ts';

export interface RecaptureOptions {
  readonly client: ConnectClient;
  readonly definition: Definition;
  readonly log: Log;
  /** With the newest version of a subject. */
  readonly schemas: Schemas & { latest(subject: string): Promise<Version | undefined> };
  /** Of the captured database; the role needs REPLICATION. */
  readonly postgresUrl: string;
  readonly slot: string;
  readonly prefix: string;
  readonly masks: Masks;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
}

export interface Progress {
  readonly doing: 'reading' | 'moving' | 'comparing' | 'writing';
  /** Or the write-ahead log, whose bytes are then counted. */
  readonly topic: string;
  readonly done: number;
  readonly total: number;
}

export interface Recaptured {
  /** Where the new slot begins. */
  readonly lsn: bigint;
  /** LSN of the records that were written. */
  readonly place: bigint;
  /** Commit times between which the gap is, microseconds. */
  readonly from: bigint;
  readonly to: bigint;
  /** Bytes by which Postgres' write-ahead log was moved on, because it ended before what was captured. */
  readonly moved: bigint;
  readonly tables: readonly (Counts & { readonly table: string })[];
  /** Tables whose rows come with their next change, because nothing of them was captured before. */
  readonly untold: readonly Untold[];
}

export interface Untold {
  readonly table: string;
  readonly rows: number;
}

const stopMs = 60_000;

/**
 * The connector stays stopped; apply.ts lets it go on.
 *
 * @throws MillraceError POSTGRES_REFUSED: another recapture is under way, or Postgres says no. SCHEMA_INCOMPATIBLE: a column cannot be written as Debezium would.
 *   POSITION_LOST: nothing was captured yet. Errors of Kafka, Kafka Connect and the registry.
 */
export async function recapture(options: RecaptureOptions): Promise<Recaptured> {
  const { client, definition, prefix, postgresUrl, slot, signal } = options;
  const db = await connectPostgres({ url: postgresUrl, name: 'millrace recapture', ...(signal && { signal }) });
  try {
    await db.query("SET TIME ZONE 'UTC'; SET DateStyle TO ISO; SET bytea_output TO hex");
    await alone(db, slot);
    await stop(options);
    const untold: Untold[] = [];
    const tables = await open(options, db, untold);
    const newest = [await newestHeartbeat(options), ...tables.map((table) => table.newest)];
    const from = greatest(newest.map(({ time }) => time));
    const position = (await client.position(definition.name, signal))?.lsn ?? 0n;
    const moved = await advanceWal(db, greatest([position, ...newest.map(({ lsn }) => lsn)]), {
      signal,
      onProgress: (done, total) => options.onProgress?.({ doing: 'moving', topic: 'the write-ahead log', done, total }),
    });
    let made: { lsn: bigint; place: bigint; tx: bigint; to: bigint; counts: Counts[] };
    {
      await using fresh = await replaceSlot(db, postgresUrl, slot, signal);
      await db.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
      await db.query(`SET TRANSACTION SNAPSHOT '${fresh.snapshot}'`);
      const counts: Counts[] = [];
      for (const { table, topic, columns } of tables) {
        signal?.throwIfAborted();
        options.onProgress?.({ doing: 'comparing', topic, done: counts.length, total: tables.length });
        counts.push(await compare(db, table, columns, options.masks));
      }
      const { rows } = await db.query<{ now: string; tx: string }>(
        `SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint::text AS now,
                ((pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1) & 4294967295)::text AS tx`,
      );
      await db.query('COMMIT');
      const { lsn, reads } = fresh;
      made = { lsn, place: reads - 1n, tx: BigInt(rows[0]?.tx ?? 0), to: BigInt(rows[0]?.now ?? 0), counts };
    }
    for (const [i, opened] of tables.entries()) {
      await write(options, db, opened, made.counts[i] as Counts, { ...made, from });
    }
    await client.setPosition(definition.name, prefix, { lsn: made.lsn, time: made.to }, signal);
    return {
      lsn: made.lsn,
      place: made.place,
      from,
      to: made.to,
      moved,
      untold,
      tables: tables.map(({ table }, i) => ({ table: table.name, ...(made.counts[i] as Counts) })),
    };
  } finally {
    await db.end().catch(() => undefined);
  }
}

async function alone(db: Client, slot: string): Promise<void> {
  if (await lockSlot(db, slot)) return;
  throw new MillraceError('POSTGRES_REFUSED', `slot ${slot} is being recaptured already`, {
    remedy: 'Wait for it; if its process is gone, Postgres lets the lock go with its connection.',
  });
}

/** Until no task can write any more. A connector that is not there is created, at rest. */
async function stop({ client, definition: { name, config }, signal }: RecaptureOptions): Promise<void> {
  if ((await client.status(name, signal)) === undefined) await client.createStopped(name, config, signal);
  const giveUpAt = performance.now() + stopMs;
  for (;;) {
    // Again each time: an order to go on that was given before may be carried out only now, and its state is told late.
    await client.stop(name, signal);
    try {
      return await client.fence(name, signal);
    } catch (error) {
      if (!isError(error, 'CONNECTOR_INVALID')) throw error;
      if (performance.now() > giveUpAt) {
        throw new MillraceError('CONNECTOR_FAILED', `connector ${name} does not come to rest`, {
          cause: error,
          remedy: 'Look at `millrace logs connect`, restart Kafka Connect, and say it again.',
        });
      }
    }
    await sleep(500, undefined, signal === undefined ? {} : { signal });
  }
}

interface Opened {
  readonly table: CapturedTable;
  readonly topic: string;
  readonly columns: ReturnType<typeof rowColumns>['columns'];
  readonly defaults: ReturnType<typeof rowColumns>['defaults'];
  readonly values: AvroEncoder<object>;
  readonly keys: AvroEncoder<object>;
  readonly newest: Newest;
}

async function open(options: RecaptureOptions, db: Client, untold: Untold[]): Promise<readonly Opened[]> {
  const { log, schemas, prefix, signal } = options;
  const opened: Opened[] = [];
  for (const table of capturedTables) {
    const topic = topicOf(prefix, table);
    const [value, key] = [await schemas.latest(valueSubject(topic)), await schemas.latest(keySubject(topic))];
    if (value === undefined || key === undefined) {
      const rows = await unwritten(db, table, topic);
      if (rows > 0) untold.push({ table: table.name, rows });
      continue;
    }
    const { columns, defaults } = rowColumns(value.schema, await columnTypes(db, table));
    const newest = await loadKnown({
      ...{ db, log, schemas, table, topic, columns, signal, schema: value.schema },
      onProgress: (done, total) => options.onProgress?.({ doing: 'reading', topic, done, total }),
    });
    opened.push({
      ...{ table, topic, columns, defaults, newest },
      values: await AvroEncoder.open<object>(schemas, valueSubject(topic), value.schema),
      keys: await AvroEncoder.open<object>(schemas, keySubject(topic), key.schema),
    });
  }
  return opened;
}

/**
 * Only Debezium can tell how it writes a table of which it has written nothing. Of rows that are folded, none was: a first snapshot counts
 * nothing twice. Other rows are told.
 */
async function unwritten(db: Client, { name, eventTime }: CapturedTable, topic: string): Promise<number> {
  const { rows } = await db.query<{ n: string }>(`SELECT count(*) AS n FROM ${name}`);
  const count = Number(rows[0]?.n ?? 0);
  if (count === 0 || eventTime === null) return count;
  throw new MillraceError('POSITION_LOST', `${name} has rows, and nothing of it was ever captured to ${topic}`, {
    remedy:
      'Nothing can be counted twice yet: run `millrace connectors delete --reset`, then `millrace connectors apply`.',
  });
}

/** Log time went on with the heartbeats, also when no row changed. A first snapshot may have ended before it came to them. */
async function newestHeartbeat({ log, schemas, prefix }: RecaptureOptions): Promise<Newest> {
  const topic = `${prefix}.public.heartbeat`;
  if (!(await hasRecords(log, topic))) return { time: 0n, lsn: 0n };
  const [start = 0n, end = 0n] = [(await log.starts(topic))[0], (await log.ends(topic))[0]];
  const range = { topic, partition: 0, from: end - 10n > start ? end - 10n : start, to: end };
  const decoder = new AvroDecoder<HeartbeatChange>(schemas, contracts.heartbeat_change);
  let [time, lsn] = [0n, 0n];
  for await (const records of readRange(log, range, { maxWaitMs: 500, maxBytesPerPartition: 65_536 })) {
    await decoder.prepare(decoder.missing(records.map(({ value }) => value)));
    for (const { value } of records) {
      if (value === null) continue;
      const { source } = decoder.decode(value);
      time = greatest([time, source.ts_us ?? 0n]);
      lsn = greatest([lsn, source.lsn ?? 0n]);
    }
  }
  return { time, lsn };
}

function greatest(values: readonly bigint[]): bigint {
  return [...values].sort((a, b) => Number(b - a))[0] ?? 0n;
}

async function write(
  options: RecaptureOptions,
  db: Client,
  { table, topic, columns, defaults, values, keys }: Opened,
  counts: Counts,
  at: { readonly lsn: bigint; readonly place: bigint; readonly tx: bigint; readonly from: bigint; readonly to: bigint },
): Promise<void> {
  const total = counts.missing + counts.changed + counts.deleted;
  if (total === 0) return;
  const { log, definition, prefix, signal } = options;
  const partitions = (await log.ends(topic)).length;
  const [schema = '', name = ''] = table.name.split('.');
  const source = { name: prefix, db: new URL(options.postgresUrl).pathname.slice(1), schema, table: name };
  const envelope = { columns, defaults, source, lsn: at.lsn, place: at.place, tx: at.tx, at: at.to };
  const recordOf = (found: Found): OutRecord => {
    const row = found.after ?? found.before ?? {};
    const key = keys.encode(keyOf(row, table, columns));
    return {
      topic,
      partition: found.partition ?? table.partition(row, key, partitions),
      key,
      value: values.encode(envelopeOf(found, envelope)),
      timestamp: at.to / 1000n,
    };
  };
  await using writer = await log.writer(`millrace.recapture.${definition.name}`);
  let done = 0;
  for await (const found of readDifferences(db, table, columns, at)) {
    signal?.throwIfAborted();
    await writer.transact({ records: found.map(recordOf) });
    done += found.length;
    options.onProgress?.({ doing: 'writing', topic, done, total });
  }
}

function keyOf(row: Readonly<Record<string, Text>>, { key }: CapturedTable, columns: readonly RowColumn[]): object {
  return Object.fromEntries(
    columns.filter(({ name }) => key.includes(name)).map(({ name, toAvro }) => [name, toAvro(row[name] ?? '')]),
  );
}

async function columnTypes(db: Client, { name }: CapturedTable): Promise<ReadonlyMap<string, string>> {
  const { rows } = await db.query<{ name: string; type: string }>(
    `SELECT attname AS name, format_type(atttypid, -1) AS type FROM pg_attribute
      WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped`,
    [name],
  );
  return new Map(rows.map((row) => [row.name, row.type]));
}
