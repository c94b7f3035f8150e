import { lineageValues, type Table, tables } from '../../core/archive/rows/tables.ts';
import { AvroDecoder } from '../../core/avro/decoder.ts';
import type { Schemas } from '../../core/avro/schemas.ts';
import { undefinedIfDeadLetter } from '../../core/base/errors.ts';
import type { Committed, Log, LogRecord } from '../../core/log/log.ts';
import {
  type ColumnValue,
  canonicalText,
  duckdbHash,
  hashRow,
  type TypedColumn,
} from '../../core/values/rowhash/rowhash.ts';
import type { DeadLetter } from '../../schemas/gen/dead_letter.ts';
import { schemas as contracts } from '../../schemas/gen/index.ts';
import { type ArchivedTopic, topic as topicEntry } from '../../schemas/topics.ts';
import { dayRange } from '../reading/day.ts';
import { readRaw, readTopic } from '../reading/topic.ts';
import { type Check, Differences, maxExamples } from '../report/report.ts';
import { duckdbTally, TallyBook } from '../report/tally.ts';
import type { GivenUp } from './expired.ts';
import type { Files } from './files.ts';
import type { LostObjects } from './lost-objects.ts';

const sink = 'parquet';

/** The part of the log that must be in the archive. */
export interface Expected {
  /** Positions that the sink has committed. */
  readonly positions: readonly Committed[];
  readonly given: GivenUp;
  readonly lost: LostObjects;
  readonly scope: LoggedScope | undefined;
}

/** One day: its files, and the log's rows of that day. A record that is not a row has no day. */
export interface LoggedScope {
  readonly day: string;
  readonly files: readonly number[];
}

/**
 * Compares the log with the archive, record by record. Each offset below the sink's committed positions is one row of a listed object with
 * the log's values, lineage included, or one dead letter, or expired. Differences name partition, offset and column. A record that the
 * log's compaction removed may still be archived, if it is older than the topic's compaction lag.
 */
export class LoggedProof implements AsyncDisposable {
  /** Columns that the table `hashed` must contain. */
  static columns(topic: ArchivedTopic): readonly string[] {
    return compactionLag(topic) === undefined ? [] : ['_timestamp'];
  }

  readonly #log: Log;
  readonly #schemas: Schemas;
  readonly #topic: ArchivedTopic;
  readonly #files: Files;
  readonly #expected: Expected;
  readonly #reader: RowReader;
  readonly #startedMs = performance.now();
  readonly #ended = new AbortController();
  readonly #loaded: Promise<Counts>;

  private constructor(log: Log, schemas: Schemas, topic: ArchivedTopic, files: Files, expected: Expected) {
    this.#log = log;
    this.#schemas = schemas;
    this.#topic = topic;
    this.#files = files;
    this.#expected = expected;
    this.#reader = new RowReader(schemas, topic, files.columns);
    this.#loaded = load(log, topic, files, this.#reader, expected, this.#ended.signal);
    // If the check is never reached, another error ends it first; this one must not stay unhandled.
    this.#loaded.catch(() => undefined);
  }

  /** Begins to read the log, concurrently with the queries over the files. */
  static async begin(
    log: Log,
    schemas: Schemas,
    topic: ArchivedTopic,
    files: Files,
    expected: Expected,
  ): Promise<LoggedProof> {
    await files.db.run(
      'CREATE TABLE logged (p INTEGER, o BIGINT, h UBIGINT, t BIGINT); CREATE TABLE starts (p INTEGER, o BIGINT)',
    );
    for (const [partition, start] of (await log.starts(topic)).entries()) {
      await files.db.run(`INSERT INTO starts VALUES (${partition}, ${start})`);
    }
    return new LoggedProof(log, schemas, topic, files, expected);
  }

  async check(): Promise<Check> {
    const differences = new Differences();
    const [files, topic, reader, { scope }] = [this.#files, this.#topic, this.#reader, this.#expected];
    // File -1 matches no row, for an empty list.
    const inScope = scope === undefined ? 'true' : `file IN (${[-1, ...scope.files].join(', ')})`;
    const removable = removableRow(topic);
    await files.db.run(
      `CREATE VIEW archived_rows AS SELECT p, o, t, whole AS h, ${removable} AS removable FROM hashed WHERE ${inScope}`,
    );
    const counts = await this.#loaded;
    await loadDead(this.#log, this.#schemas, topic, files, this.#expected);
    if (scope !== undefined) await files.db.run('DELETE FROM dead');
    const lost = await this.#expected.lost.excuse(files);
    const wrong = await files.query(`
      WITH found AS (
        SELECT p, o, count(*) AS n, any_value(h) AS h, bool_or(dead) AS dead, bool_and(removable) AS removable
          FROM (SELECT p, o, h, false AS dead, removable FROM archived_rows
                UNION ALL SELECT p, o, NULL::UBIGINT, true, ${compactionLag(topic) !== undefined} FROM dead) GROUP BY 1, 2),
      compared AS (
        SELECT coalesce(l.p, f.p) AS p, coalesce(l.o, f.o) AS o, coalesce(f.n, 0) AS n, l.o IS NOT NULL AS logged,
               f.n = 1 AND NOT f.dead AND f.h IS DISTINCT FROM l.h AS other_values
          FROM logged l FULL JOIN found f ON l.p = f.p AND l.o = f.o LEFT JOIN starts s ON s.p = f.p
         WHERE f.n IS DISTINCT FROM 1 OR (l.o IS NULL AND f.o >= s.o AND NOT f.removable) OR (l.o IS NOT NULL AND NOT f.dead AND f.h IS DISTINCT FROM l.h))
      SELECT *, count(*) OVER () AS total FROM compared ORDER BY p, o LIMIT ${maxExamples}`);
    for (const { p, o, n, logged, other_values } of wrong) {
      const at = `${topic}/${p} offset ${o}`;
      if (logged !== true) differences.add(`${at}: archived, but not a committed record of the log`);
      else if (other_values !== true) differences.add(`${at}: archived ${n} times`);
      else differences.add(`${at}: ${await describe(this.#log, reader, files, topic, Number(p), o as bigint)}`);
    }
    differences.count += Number(wrong[0]?.['total'] ?? 0) - wrong.length;
    const book = new TallyBook('kafka', 'archive');
    book.addAll('kafka', await files.query(duckdbTally('(FROM logged WHERE h IS NOT NULL)')));
    // Records that the log no longer has cannot be compared.
    const removed = await this.#removed();
    const kept = `(SELECT a.* FROM archived_rows a LEFT JOIN starts s ON s.p = a.p WHERE a.o >= coalesce(s.o, 0)
      ${removed === 0n ? '' : `AND NOT ${isRemoved}`})`;
    book.addAll('archive', await files.query(duckdbTally(kept)));
    const waiting = counts.waiting === 0 ? '' : `, ${counts.waiting} newer ones not archived yet`;
    const expired = counts.expired === 0 ? '' : `, ${counts.expired} given up with their days`;
    const gone = lost === 0 ? '' : `, ${lost} lost that the log has still`;
    const compacted = removed === 0n ? '' : `, ${removed} archived ones that compaction removed from the log`;
    const subject = `${counts.committed - lost} records${waiting}${expired}${gone}${compacted}`;
    const name = `${topic}: each record is archived once, with equal values`;
    return differences.check(name, subject, this.#startedMs, book.tallies(topic, 'data and lineage'));
  }

  /** Archived records that the log's compaction removed. */
  async #removed(): Promise<bigint> {
    if (compactionLag(this.#topic) === undefined) return 0n;
    const [found] = await this.#files.query(
      `SELECT count(*) AS n FROM archived_rows a LEFT JOIN starts s ON s.p = a.p WHERE a.o >= coalesce(s.o, 0) AND ${isRemoved}`,
    );
    return found?.['n'] as bigint;
  }

  /** Stops the reading. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended.abort();
    await this.#loaded.catch(() => undefined);
  }
}

/** Decodes a record into the row that the archive must hold, without the writer's code. */
export class RowReader {
  readonly table: Table;
  readonly columns: readonly TypedColumn[];
  readonly #decoder: AvroDecoder<object>;
  readonly #eventTime: number;
  readonly #sourceTime: number;

  constructor(schemas: Schemas, topic: ArchivedTopic, columns: readonly TypedColumn[]) {
    this.table = tables[topic];
    this.columns = columns;
    this.#eventTime = columns.findIndex(({ name }) => name === this.table.eventTime);
    this.#sourceTime = columns.findIndex(({ name }) => name === '_source_time');
    this.#decoder = new AvroDecoder<object>(schemas, this.table.schema);
  }

  async prepare(records: readonly LogRecord[]): Promise<void> {
    const missing = this.#decoder.missing(records.map(({ value }) => value));
    if (missing.length > 0) await this.#decoder.prepare(missing);
  }

  /** The time that decides a row's day, microseconds: its event time, or without one its commit time. */
  timeOf(row: readonly ColumnValue[]): bigint {
    return (row[this.#eventTime] ?? row[this.#sourceTime]) as bigint;
  }

  /** Undefined for an unreadable record, which has to be a dead letter. */
  row(partition: number, record: LogRecord): ColumnValue[] | undefined {
    const { value, unreadable } = record;
    if (value === null || unreadable !== undefined) return undefined;
    return undefinedIfDeadLetter(() => {
      const { table } = this;
      const decoded = this.#decoder.decode(value);
      const data = table.row(decoded);
      const values = table.columns.map((column) => (data === undefined ? null : column.read(data)));
      return [...values, ...lineageValues(table, { topic: table.topic, partition }, record, decoded)];
    });
  }
}

/** Shortest time that compaction leaves a record in the log, milliseconds. Undefined: the topic is not compacted. */
function compactionLag(topic: ArchivedTopic): number | undefined {
  const { cleanup, compactionLagMs = 0 } = topicEntry(topic);
  return cleanup === 'compact' ? compactionLagMs : undefined;
}

/** A DuckDB expression over `hashed`: compaction may have removed the record. */
function removableRow(topic: ArchivedTopic): string {
  const lagMs = compactionLag(topic);
  return lagMs === undefined ? 'false' : `epoch_ms(_timestamp) < ${Date.now() - lagMs}`;
}

/** A DuckDB condition on a row `a` of `archived_rows`: compaction has removed its record. */
const isRemoved = '(a.removable AND NOT EXISTS (SELECT 1 FROM logged l WHERE l.p = a.p AND l.o = a.o))';

interface Counts {
  readonly committed: number;
  readonly waiting: number;
  readonly expired: number;
}

function endsBy(positions: readonly Committed[]): ReadonlyMap<number, bigint> {
  return new Map(positions.map(({ partition, offset }) => [partition, offset]));
}

/**
 * Fills `logged` from the log below the committed positions: partition, offset, and for a row its hash and the time that decides its day.
 */
async function load(
  log: Log,
  topic: ArchivedTopic,
  files: Files,
  reader: RowReader,
  { positions, given, scope }: Expected,
  signal: AbortSignal,
): Promise<Counts> {
  const committed = endsBy(positions);
  const range = scope === undefined ? undefined : dayRange(scope.day);
  const counts = { committed: 0, waiting: 0, expired: 0 };
  const rows = await files.appendTo('logged');
  for await (const { partition, records } of readRaw(log, topic, signal)) {
    await reader.prepare(records);
    const end = committed.get(partition) ?? 0n;
    for (const record of records) {
      if (record.offset >= end) {
        counts.waiting++;
        continue;
      }
      const row = reader.row(partition, record);
      if (row !== undefined && given.has(partition, record.offset, reader.columns, row)) {
        counts.expired++;
        continue;
      }
      const time = row === undefined ? undefined : reader.timeOf(row);
      if (range !== undefined && (time === undefined || time < range.from || time >= range.to)) continue;
      counts.committed++;
      rows.add(partition, record.offset, row === undefined ? null : hashRow(reader.columns, row), time ?? null);
    }
  }
  rows.close();
  return counts;
}

async function loadDead(
  log: Log,
  schemas: Schemas,
  topic: ArchivedTopic,
  files: Files,
  { positions }: Expected,
): Promise<void> {
  const committed = endsBy(positions);
  await files.db.run('CREATE TABLE dead (p INTEGER, o BIGINT)');
  const rows = await files.appendTo('dead');
  for await (const portion of readTopic<DeadLetter>(log, schemas, `${sink}.dead`, contracts.dead_letter)) {
    for (const { value } of portion) {
      const { partition, offset } = value.origin;
      if (value.origin.topic !== topic || offset >= (committed.get(partition) ?? 0n)) continue;
      rows.add(partition, offset);
    }
  }
  rows.close();
}

/** Names the columns that differ, with both values. */
async function describe(
  log: Log,
  reader: RowReader,
  files: Files,
  topic: ArchivedTopic,
  partition: number,
  offset: bigint,
): Promise<string> {
  const range = { from: offset, to: offset + 1n, partition };
  let expected: ColumnValue[] | undefined;
  for await (const { records } of readRaw(log, topic, undefined, range)) {
    const [record] = records;
    if (record !== undefined) expected = reader.row(partition, record);
  }
  if (expected === undefined) return 'archived, but the record cannot be read';
  const texts = reader.columns.map((column, i) => `${duckdbHash.text([column])} AS c${i}`);
  const [actual] = await files.query(
    `SELECT ${texts.join(', ')} FROM archived WHERE _partition = ${partition} AND _offset = ${offset}`,
  );
  const different = reader.columns.flatMap((column, i) => {
    const should = canonicalText([column], [expected[i] ?? null]);
    const is = String(actual?.[`c${i}`]);
    return is === should ? [] : [`${column.name} is ${readable(is)}, in the log ${readable(should)}`];
  });
  return different.join(', ');
}

export function readable(text: string): string {
  return text.replaceAll('\u001f', ' | ').replaceAll('\u001e', 'null');
}
