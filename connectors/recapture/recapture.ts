/**
 * Fills the gap of a lost replication slot. To capture every row again would count all rows twice. Instead, the log is compared with the
 * table at the exact start of a new slot, and the differences are written as changes.
 *
 * The order makes it safe against a crash at any point:
 *   1. stop the connector, so that the log does not change
 *   2. load the newest version of each row in the log into temporary tables
 *   3. advance the write-ahead log if it ends before the captured position; replace the slot; compare with the snapshot at its start
 *   4. write the differences, each portion in one transaction
 *   5. start the connector at the new slot's start
 * Until step 5 is done, the slot counts as lost. If interrupted, run the command again: the log then has the differences already written.
 */
import type { Client } from 'pg';
import { AvroDecoder } from '../../core/avro/decoder.ts';
import { MillraceError } from '../../core/base/errors.ts';
import { connectPostgres } from '../../core/base/postgres.ts';
import type { Masks } from '../../core/capture/masks.ts';
import { type Log, readRange } from '../../core/log/log.ts';
import type { HeartbeatChange } from '../../schemas/gen/heartbeat_change.ts';
import { schemas as contracts } from '../../schemas/gen/index.ts';
import type { ConnectClient } from '../client.ts';
import type { Definition } from '../definition/definition.ts';
import { requireWritable } from './preflight.ts';
import { bringToRest } from './rest.ts';
import { type Counts, compare, readDifferences } from './rows/differences.ts';
import { hasRecords, loadKnown, type Newest } from './rows/known.ts';
import { type CaptureSchemas, type OpenedTable, openTables } from './rows/opened.ts';
import { type CapturedTable, tablesWithout, topicOf } from './rows/tables.ts';
import { writeChanges } from './rows/writing.ts';
import { lockSlot, replaceSlot } from './slot.ts';
import { advanceWal } from './wal.ts';

export interface RecaptureOptions {
  readonly client: ConnectClient;
  readonly definition: Definition;
  readonly log: Log;
  readonly schemas: CaptureSchemas;
  /** Captured database; the role needs REPLICATION. */
  readonly postgresUrl: string;
  readonly slot: string;
  readonly prefix: string;
  readonly masks: Masks;
  /** Tables that are left out, by full name. Default: none. */
  readonly parked?: readonly string[];
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: RecaptureProgress) => void;
}

export interface RecaptureProgress {
  readonly doing: 'reading' | 'moving' | 'comparing' | 'writing';
  /** Topic, or the write-ahead log; for the latter progress is in bytes. */
  readonly topic: string;
  readonly done: number;
  readonly total: number;
}

export interface Recaptured {
  /** Start of the new slot. */
  readonly lsn: bigint;
  /** LSN of the written records. */
  readonly place: bigint;
  /** Commit times of the gap's start and end, microseconds. */
  readonly from: bigint;
  readonly to: bigint;
  /** Bytes by which Postgres' write-ahead log was advanced, because it ended before the captured position. */
  readonly moved: bigint;
  readonly tables: readonly (Counts & { readonly table: string })[];
  /** Tables of which nothing was captured before. Each of their rows arrives with its next change. */
  readonly untold: readonly UncapturedTable[];
}

export interface UncapturedTable {
  readonly table: string;
  readonly rows: number;
}

/**
 * Leaves the connector stopped; apply.ts starts it again.
 *
 * @throws MillraceError POSTGRES_REFUSED: another recapture is under way, or Postgres refuses.
 * @throws MillraceError SCHEMA_INCOMPATIBLE: a column or value cannot be written as Debezium would.
 * @throws MillraceError POSITION_LOST: nothing was captured yet.
 * @throws errors of Kafka, Kafka Connect and the registry
 */
export async function recapture(options: RecaptureOptions): Promise<Recaptured> {
  const { client, definition, prefix, postgresUrl, slot, signal } = options;
  const db = await connectPostgres({ url: postgresUrl, name: 'millrace recapture', ...(signal && { signal }) });
  try {
    await db.query("SET TIME ZONE 'UTC'; SET DateStyle TO ISO; SET bytea_output TO hex");
    await alone(db, slot);
    await requireWritable(postgresUrl, options.schemas, prefix, tablesWithout(options.parked));
    await bringToRest(options);
    const untold: UncapturedTable[] = [];
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
      const { missing, changed, deleted } = made.counts[i] as Counts;
      const total = missing + changed + deleted;
      if (total === 0) continue;
      const { table, topic, columns } = opened;
      const found = readDifferences(db, table, columns, { from, to: made.to });
      const { log, definition } = options;
      await writeChanges(
        {
          ...{ log, name: definition.name, prefix, postgresUrl, signal },
          onProgress: (done) => options.onProgress?.({ doing: 'writing', topic, done, total }),
        },
        opened,
        found,
        { ...made, at: made.to, snapshot: 'true' },
      );
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

interface Opened extends OpenedTable {
  readonly newest: Newest;
}

async function open(options: RecaptureOptions, db: Client, untold: UncapturedTable[]): Promise<readonly Opened[]> {
  const { log, schemas, prefix, signal, parked } = options;
  const wanted = tablesWithout(parked);
  const captured = await openTables(db, schemas, prefix, wanted);
  const opened: Opened[] = [];
  for (const table of wanted) {
    const topic = topicOf(prefix, table);
    const found = captured.find((each) => each.table === table);
    if (found === undefined) {
      const rows = await unwritten(db, table, topic);
      if (rows > 0) untold.push({ table: table.name, rows });
      continue;
    }
    const { columns, schema } = found;
    const newest = await loadKnown({
      ...{ db, log, schemas, table, topic, columns, signal, schema },
      onProgress: (done, total) => options.onProgress?.({ doing: 'reading', topic, done, total }),
    });
    opened.push({ ...found, newest });
  }
  return opened;
}

/**
 * Row count of a table of which nothing was captured: only Debezium knows how it writes such a table.
 *
 * @throws MillraceError POSITION_LOST: the table has event times and rows. None of them is folded yet, so a new first snapshot counts
 *   nothing twice.
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

/** Heartbeats advance log time also when no row changes. A first snapshot may have ended before it read the heartbeat table. */
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
