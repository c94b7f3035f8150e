/**
 * Refills the rows of lost files from Postgres. A comparison finds what the archive lacks, so present rows are not written twice. Rows
 * whose delete was in a lost file are deleted again.
 *
 * The order makes it safe against a crash at any point, and beside writers:
 *   1. stop the connector: the log does not change, and later commits in Postgres follow the records of step 4
 *   2. read the rows of the partitions concerned from the listed files and from the log after them
 *   3. compare with one snapshot of the table
 *   4. write the differences as rows of an incremental snapshot, each portion in one transaction; tables and archive take them, folds
 *      ignore them
 *   5. the caller starts the connector at its old position, whatever the result here
 * A row committed between 1 and 3 is written in 4, and its own change follows it. If interrupted, run the command again: the log then has
 * the rows already written.
 */
import type { Client } from 'pg';
import { type ListedObject, readListing } from '../../core/archive/listing/objects.ts';
import type { Copies } from '../../core/archive/reading/copies.ts';
import { endOfReplacements, type ReplacementHead, readReplacements } from '../../core/archive/replacements.ts';
import { tables } from '../../core/archive/rows/tables.ts';
import type { Schemas } from '../../core/avro/schemas.ts';
import { MillraceError } from '../../core/base/errors.ts';
import { connectPostgres } from '../../core/base/postgres.ts';
import type { Masks } from '../../core/capture/masks.ts';
import type { Log } from '../../core/log/log.ts';
import { groupOf } from '../../core/runtime/runner.ts';
import { addRowHashes, formatRowHash, RowHash } from '../../core/values/rowhash/rowhash.ts';
import { formatDay, parseTimestamp } from '../../core/values/time.ts';
import { type ArchivedTopic, archivedTopics } from '../../schemas/topics.ts';
import type { ConnectClient } from '../client.ts';
import type { Definition } from '../definition/definition.ts';
import { requireWritable } from '../recapture/preflight.ts';
import { bringToRest } from '../recapture/rest.ts';
import { compare, type LocatedDifference, readDifferences } from '../recapture/rows/differences.ts';
import { loadRecords, makeKnown, makeRead } from '../recapture/rows/known.ts';
import { type CaptureSchemas, type OpenedTable, openTables } from '../recapture/rows/opened.ts';
import { capturedTables, topicOf } from '../recapture/rows/tables.ts';
import { writeChanges } from '../recapture/rows/writing.ts';
import { lockSlot } from '../recapture/slot.ts';
import { archivedColumns, loadArchived } from './archived.ts';
import { valuesOf } from './values.ts';

export interface RefillOptions {
  readonly client: ConnectClient;
  readonly definition: Definition;
  readonly log: Log;
  readonly schemas: CaptureSchemas;
  /** Fetches listed files. */
  readonly copies: Pick<Copies, 'fetch'>;
  /** Folder on a disk, for data that exceeds DuckDB's memory. */
  readonly scratchDir: string;
  readonly postgresUrl: string;
  readonly slot: string;
  readonly prefix: string;
  readonly masks: Masks;
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: RefillProgress) => void;
}

export interface RefillProgress {
  readonly doing: 'stopping' | 'fetching' | 'reading' | 'comparing' | 'writing';
  readonly done: number;
  readonly total: number;
}

/** Lost rows of one day and partition, and the rows written again. */
export interface RefilledDay {
  readonly topic: ArchivedTopic;
  readonly partition: number;
  readonly day: string;
  /** All rows ever lost. */
  readonly lost: { readonly rows: bigint; readonly rowHash: string };
  /** Rows of Postgres written in this run. */
  readonly again: { readonly rows: bigint; readonly rowHash: string };
  /** The rows written equal the rows lost: each was inserted once and never changed since. */
  readonly same: boolean;
}

export interface Refilled {
  readonly days: readonly RefilledDay[];
  /** Rows of the archive that are not in Postgres: their delete was lost and is written again. */
  readonly deleted: number;
}

/** Lost rows of captured tables, by topic, without days given up as a whole. @throws as `listObjects` */
export async function lostOfTables({
  log,
  schemas,
  prefix,
  signal,
}: Pick<RefillOptions, 'log' | 'prefix' | 'signal'> & { readonly schemas: Schemas }): Promise<
  ReadonlyMap<ArchivedTopic, readonly ListedObject[]>
> {
  const found = new Map<ArchivedTopic, readonly ListedObject[]>();
  for (const table of capturedTables) {
    const topic = archivedTopics.find((each) => each === topicOf(prefix, table));
    if (topic === undefined) continue;
    const days = await lostDays(log, schemas, topic, signal);
    if (days.size === 0) continue;
    const { lost, expired } = await readListing(log, schemas, topic, { days: (day) => days.has(day) }, signal);
    const given = new Set(expired.map(({ day }) => day));
    const wanted = lost.filter(({ day }) => !given.has(day));
    if (wanted.length > 0) found.set(topic, wanted);
  }
  return found;
}

/** Days with lost rows. Usually there are none, and the list is not read. */
async function lostDays(
  log: Log,
  schemas: Schemas,
  topic: ArchivedTopic,
  signal: AbortSignal,
): Promise<ReadonlySet<string>> {
  const days = new Set<string>();
  const range = { from: 0n, to: await endOfReplacements(log) };
  const lost = (head: ReplacementHead): boolean => head.topic === topic && head.kind === 'LOST';
  for await (const { replacement } of readReplacements(log, schemas, range, signal, lost)) days.add(replacement.day);
  return days;
}

/**
 * Leaves the connector stopped; apply.ts starts it again.
 *
 * @throws MillraceError POSTGRES_REFUSED: a recapture is under way, or Postgres refuses.
 * @throws MillraceError POSITION_LOST: the connector has no position, or its first snapshot is not finished.
 * @throws MillraceError SCHEMA_INCOMPATIBLE: a column or value cannot be written as Debezium would.
 * @throws MillraceError ARCHIVE_DAMAGED: a listed file cannot be read.
 * @throws errors of Kafka, Kafka Connect, the registry and the bucket
 */
export async function refill(options: RefillOptions): Promise<Refilled> {
  const { client, definition, prefix, postgresUrl, slot, signal } = options;
  const db = await connectPostgres({ url: postgresUrl, name: 'millrace repair', signal });
  try {
    await db.query("SET TIME ZONE 'UTC'; SET DateStyle TO ISO; SET bytea_output TO hex");
    if (!(await lockSlot(db, slot))) {
      throw new MillraceError(
        'POSTGRES_REFUSED',
        `slot ${slot} is being recaptured, or rows are being read again already`,
        {
          remedy: 'Wait for it; if its process is gone, Postgres lets the lock go with its connection.',
        },
      );
    }
    const lostTopics = await lostOfTables(options);
    const concerned = capturedTables.filter((table) =>
      [...lostTopics.keys()].some((each) => each === topicOf(prefix, table)),
    );
    await requireWritable(postgresUrl, options.schemas, prefix, concerned);
    options.onProgress?.({ doing: 'stopping', done: 0, total: 1 });
    await bringToRest(options);
    const position = await client.position(definition.name, signal);
    if (position === undefined || position.unfinished) {
      throw new MillraceError(
        'POSITION_LOST',
        `connector ${definition.name} has no position, or its first snapshot is not finished`,
        {
          remedy: 'Run `millrace connectors recapture` first: it compares everything that the log has.',
        },
      );
    }
    const days: RefilledDay[] = [];
    let deleted = 0;
    for (const [topic, lost] of lostTopics) {
      const table = capturedTables.find((each) => topicOf(prefix, each) === topic);
      const [opened] = table === undefined ? [] : await openTables(db, options.schemas, prefix, [table]);
      if (opened === undefined) continue;
      const done = await new Refill(options, db, opened, topic, lost).run(position.lsn);
      days.push(...done.days);
      deleted += done.deleted;
    }
    return { days, deleted };
  } finally {
    await db.end().catch(() => undefined);
  }
}

/** Refill of one table. */
class Refill {
  readonly #options: RefillOptions;
  readonly #db: Client;
  readonly #opened: OpenedTable;
  readonly #topic: ArchivedTopic;
  /** Lost rows by partition and day. */
  readonly #lost = new Map<string, { readonly sum: { rows: bigint; hash: bigint }; readonly again: RowHash }>();
  readonly #partitions: ReadonlySet<number>;
  #deleted = 0;

  constructor(
    options: RefillOptions,
    db: Client,
    opened: OpenedTable,
    topic: ArchivedTopic,
    lost: readonly ListedObject[],
  ) {
    this.#options = options;
    this.#db = db;
    this.#opened = opened;
    this.#topic = topic;
    this.#partitions = new Set(lost.map(({ partition }) => partition));
    for (const { partition, day, rows, row_hash } of lost) {
      const id = `${partition}/${day}`;
      const { sum, again } = this.#lost.get(id) ?? { sum: { rows: 0n, hash: 0n }, again: new RowHash() };
      sum.rows += rows;
      sum.hash = addRowHashes(sum.hash, BigInt(`0x${row_hash}`));
      this.#lost.set(id, { sum, again });
    }
  }

  /** @param position position of the connector: after every captured change */
  async run(position: bigint): Promise<Refilled> {
    const { log, definition, prefix, postgresUrl, masks, signal, onProgress } = this.#options;
    const db = this.#db;
    const { table, columns } = this.#opened;
    const compared = archivedColumns(this.#topic, columns);
    await this.#load();
    onProgress?.({ doing: 'comparing', done: 0, total: 1 });
    const days = [...new Set([...this.#lost.keys()].map((id) => id.slice(id.indexOf('/') + 1)))];
    await db.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
    const counts = await compare(db, table, columns, masks, { columns: compared, days });
    const { rows } = await db.query<{ now: string; tx: string }>(
      `SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint::text AS now,
              ((pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1) & 4294967295)::text AS tx`,
    );
    await db.query('COMMIT');
    const total = counts.missing + counts.changed + counts.deleted;
    if (total > 0) {
      if (counts.deleted > 0) this.#requireTellable(compared);
      const at = BigInt(rows[0]?.now ?? 0);
      const lsn = position + 1n;
      await writeChanges(
        {
          ...{ log, name: definition.name, prefix, postgresUrl, signal },
          wanted: (found, partition) => this.#take(found, partition),
          onProgress: (done) => onProgress?.({ doing: 'writing', done, total }),
        },
        this.#opened,
        asReads(readDifferences(db, table, columns, { from: at, to: at })),
        { lsn, place: lsn, tx: BigInt(rows[0]?.tx ?? 0), at, snapshot: 'incremental' },
      );
    }
    return { days: this.#days(), deleted: this.#deleted };
  }

  async #load(): Promise<void> {
    const { log, schemas, copies, scratchDir, signal, onProgress } = this.#options;
    const { table, topic, schema, columns } = this.#opened;
    // The order matters: what is committed here is listed, and the log has the rest.
    const committed = new Map(
      (await log.committed(groupOf('parquet'), topic)).map(({ partition, offset }) => [partition, offset]),
    );
    const { objects } = await readListing(log, schemas, this.#topic, {}, signal);
    const fetched = await copies.fetch(
      objects.filter(({ partition }) => this.#partitions.has(partition)),
      {
        signal,
        onProgress: ({ objects: done, totalObjects: total }) => onProgress?.({ doing: 'fetching', done, total }),
      },
    );
    await makeRead(this.#db, table, columns);
    await loadArchived({ db: this.#db, topic: this.#topic, table, columns, copies: fetched, scratchDir, signal });
    await loadRecords({
      ...{ db: this.#db, log, schemas, table, topic, schema, columns, signal },
      from: (partition) => (this.#partitions.has(partition) ? (committed.get(partition) ?? 0n) : undefined),
      onProgress: (done, total) => onProgress?.({ doing: 'reading', done, total }),
    });
    await makeKnown(this.#db, table);
  }

  /** The archive has the captured columns of `schemas/`; a deleted row has no other columns left. */
  #requireTellable(compared: readonly { readonly name: string }[]): void {
    const { schema, columns, table } = this.#opened;
    const known = new Set(compared.map(({ name }) => name));
    const unknown = columns.find(({ name }) => !known.has(name) && !isNullable(schema, name));
    if (unknown === undefined) return;
    throw new MillraceError(
      'SCHEMA_INCOMPATIBLE',
      `${table.name}.${unknown.name} may not be null, and of rows that were deleted the archive does not compare it`,
      { remedy: 'Make the column nullable, then run the command again.' },
    );
  }

  /** Counts a difference that was lost: a row of a lost day and partition, or a delete in a lost partition. Returns false for others. */
  #take({ op, after }: LocatedDifference, partition: number): boolean {
    if (op === 'd') {
      this.#deleted++;
      return true;
    }
    const lost = this.#lostOf(after, partition);
    if (lost === undefined || after === null) return false;
    const { columns } = tables[this.#topic];
    lost.again.add(columns, valuesOf(columns, after));
    return true;
  }

  /** The lost day of a row. A row without event time counts for the newest lost day of its partition. */
  #lostOf(row: LocatedDifference['after'], partition: number) {
    const { eventTime } = tables[this.#topic];
    if (eventTime === null) {
      const own = [...this.#lost.keys()].filter((id) => id.startsWith(`${partition}/`)).sort();
      return this.#lost.get(own.at(-1) ?? '');
    }
    const time = row?.[eventTime] ?? null;
    return time === null ? undefined : this.#lost.get(`${partition}/${formatDay(parseTimestamp(time))}`);
  }

  #days(): readonly RefilledDay[] {
    return [...this.#lost].map(([id, { sum, again }]) => ({
      topic: this.#topic,
      partition: Number(id.slice(0, id.indexOf('/'))),
      day: id.slice(id.indexOf('/') + 1),
      lost: { rows: sum.rows, rowHash: formatRowHash(sum.hash) },
      again: { rows: BigInt(again.rows), rowHash: `${again}` },
      same: sum.rows === BigInt(again.rows) && sum.hash === again.value,
    }));
  }
}

/** Writes a changed row in its present state, as for a missing one; earlier states are unknown. */
async function* asReads(
  portions: AsyncIterable<readonly LocatedDifference[]>,
): AsyncGenerator<readonly LocatedDifference[]> {
  for await (const portion of portions) {
    yield portion.map((found) => (found.op === 'u' ? { ...found, op: 'r', before: null } : found));
  }
}

function isNullable(envelope: object, name: string): boolean {
  const { fields } = envelope as { fields: readonly { readonly name: string; readonly type: unknown }[] };
  const before = fields.find((field) => field.name === 'before')?.type;
  const row = (Array.isArray(before) ? before.find((each) => each !== 'null') : before) as typeof envelope & {
    readonly fields: typeof fields;
  };
  const type = row.fields.find((field) => field.name === name)?.type;
  return Array.isArray(type) && type.includes('null');
}
