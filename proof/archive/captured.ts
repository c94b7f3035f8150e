import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { Client } from 'pg';
import { to as copyTo } from 'pg-copy-streams';
import { namings } from '../../core/archive/reading/views.ts';
import { type Table, tables } from '../../core/archive/rows/tables.ts';
import { type Masks, maskedTable, noMasks } from '../../core/capture/masks.ts';
import { partitionOf } from '../../core/capture/routing.ts';
import { duckdbHash, postgresHash } from '../../core/values/rowhash/rowhash.ts';
import { type ArchivedTopic, topic as topicEntry } from '../../schemas/topics.ts';
import type { Snapshot } from '../live/snapshot.ts';
import { dayRange, onDay } from '../reading/day.ts';
import { type Check, Differences, maxExamples } from '../report/report.ts';
import { duckdbTally, TallyBook } from '../report/tally.ts';
import type { GivenUp } from './expired.ts';
import type { Files } from './files.ts';
import { readable } from './logged.ts';
import { nothingLostBefore } from './lost-objects.ts';

export type CapturedTopic = Extract<ArchivedTopic, `cdc.${string}`>;

/** The compared topic and table, with the columns, key and event time of both. */
interface Shape {
  readonly topic: CapturedTopic;
  /** The table in Postgres, with its schema. */
  readonly name: string;
  readonly columns: Table['columns'];
  readonly key: readonly string[];
  readonly eventTime: string | null;
}

function shapeOf(topic: CapturedTopic): Shape {
  const { columns, eventTime } = tables[topic];
  return { topic, name: topic.slice(topic.indexOf('.') + 1), columns, key: namings[topic].key, eventTime };
}

export interface CapturedScope {
  /** Rows of these days are not expected. A table without event times must have none, because its rows have no day. */
  readonly given: GivenUp;
  /** Changes that `db` sees; other changes do not count. Undefined: all archived changes count. */
  readonly snapshot: Snapshot | undefined;
  /** Columns of the table that leave Postgres masked. */
  readonly masks: Masks | undefined;
  /** Only rows whose newest version is on this day, `YYYY-MM-DD`. Undefined: all rows, as for a table without event times. */
  readonly day: string | undefined;
  /** Number of partitions of the topic, which decides the partition of a Postgres row. */
  readonly partitions: number;
}

/** Rows of one day, venue and symbol. */
interface PostgresSum {
  /** Empty for a table without event times. */
  readonly day: string;
  readonly venue: string;
  readonly symbol: string;
  readonly rows: string;
  readonly hash: string;
}

/**
 * Compares a captured table in Postgres with its folded archived changes: the last change of each key, unless it is a delete. The
 * comparison is exact, in both directions, over all columns, by row hash. If the hashes differ, the keys are named. No row is created
 * twice: a change captured twice (same LSN, operation and key) counts once, and the subject reports it.
 */
export class CapturedProof {
  /** Columns that the table `hashed` must contain. */
  static columns(topic: CapturedTopic): readonly string[] {
    return [...shapeOf(topic).key, '_op', '_lsn', '_tx_id'];
  }

  readonly #shape: Shape;
  readonly #db: Client;
  readonly #scope: CapturedScope;
  readonly #table: string;
  readonly #expected: Promise<readonly PostgresSum[]>;

  /** Postgres begins to sum its rows at once. */
  constructor(db: Client, topic: CapturedTopic, scope: CapturedScope) {
    this.#shape = shapeOf(topic);
    this.#db = db;
    this.#scope = scope;
    const { given, masks = noMasks, day } = scope;
    const { name, columns, eventTime } = this.#shape;
    const masked = maskedTable(
      masks,
      name,
      columns.map((column) => column.name),
    );
    const wanted = eventTime === null ? 'true' : `${given.keeps(eventTime)} AND ${onDay(eventTime, day)}`;
    this.#table = `${masked} AS captured WHERE ${wanted}`;
    this.#expected = this.#sum();
    // If the check is never reached, another error ends it first; this one must not stay unhandled.
    this.#expected.catch(() => undefined);
  }

  async #sum(): Promise<readonly PostgresSum[]> {
    const { columns, eventTime } = this.#shape;
    const day = eventTime === null ? "''" : `to_char((${eventTime} AT TIME ZONE 'UTC')::date, 'YYYY-MM-DD')`;
    const { rows } = await this.#db.query<PostgresSum>(
      `SELECT ${day} AS day, venue, symbol, count(*) AS rows, ${postgresHash.sum(columns)} AS hash
         FROM ${this.#table} GROUP BY 1, venue, symbol`,
    );
    return rows;
  }

  async check(files: Files): Promise<Check> {
    const startedMs = performance.now();
    const differences = new Differences();
    const { given, snapshot, day } = this.#scope;
    const shape = this.#shape;
    const { topic, name, eventTime } = shape;
    const { redelivered, newer } = await fold(files, shape, given, snapshot?.duckdb ?? 'true', day);
    const book = new TallyBook('postgres', 'archive');
    book.addAll('archive', await files.query(duckdbTally(`(FROM folded WHERE last_op <> 'd')`)));
    for (const { venue, symbol, ...sum } of await this.#expected) {
      book.addAll('postgres', [{ ...sum, partition: partitionOf([venue, symbol], this.#scope.partitions) }]);
    }
    const [expected, actual] = [book.total('postgres'), book.total('archive')];
    if (actual.rows !== expected.rows || actual.hash !== expected.hash) {
      await locate(this.#db, files, shape, differences, this.#table);
    }
    await doubled(files, shape, given, differences);
    await files.db.run('DROP TABLE folded');
    const also =
      (redelivered === 0n ? '' : `, ${redelivered} changes captured twice`) +
      (newer === 0n ? '' : `, ${newer} changes are newer`);
    return differences.check(
      `${topic}: the archive holds each row of Postgres once, with equal values`,
      `${actual.rows} of ${expected.rows} ${name.slice(name.indexOf('.') + 1)}${also}`,
      startedMs,
      // Rows of Postgres without an event time have no day.
      eventTime === null ? undefined : book.tallies(topic, 'data'),
    );
  }
}

/** Keys are folded in this many shares, one after the other. Grouping then needs the memory of one share. */
const shares = 4;

/**
 * Creates `folded`: for each key the newest row's hash, event time and operation, its partition, and the number of its creations. With a
 * day, only keys whose newest row is on it. Counts repeated changes and invisible ones.
 */
async function fold(
  files: Files,
  { key }: Shape,
  given: GivenUp,
  visible: string,
  day: string | undefined,
): Promise<{ redelivered: bigint; newer: bigint }> {
  const { from, to } = day === undefined ? { from: 0n, to: 0n } : dayRange(day);
  let redelivered = 0n;
  for (let share = 0; share < shares; share++) {
    await files.db.run(`
      CREATE TABLE changes AS
        SELECT ${key.join(', ')}, _op, _lsn, min(o) AS first_offset, count(*) AS deliveries,
               arg_min(data, o) AS h, arg_min(t, o) AS t, any_value(p) AS p
          FROM hashed WHERE _op IN ('c', 'r', 'u', 'd') AND (${visible}) AND ${given.keeps('make_timestamptz(t)')}
           AND hash(${key.join(', ')}) % ${shares} = ${share} GROUP BY ALL`);
    const [counted] = await files.query(`SELECT coalesce(sum(deliveries - 1), 0)::BIGINT AS redelivered FROM changes`);
    redelivered += counted?.['redelivered'] as bigint;
    await files.db.run(`
      ${share === 0 ? 'CREATE TABLE folded AS' : 'INSERT INTO folded'}
        SELECT ${key.join(', ')}, arg_max(h, first_offset) AS h, arg_max(t, first_offset) AS t, any_value(p) AS p, arg_min(_op, first_offset) AS first_op, arg_max(_op, first_offset) AS last_op, max(first_offset) AS row_offset,
               count(*) FILTER (WHERE _op = 'c') + (arg_min(_op, first_offset) = 'r')::INT - count(*) FILTER (WHERE _op = 'd') AS lives,
               count(*) FILTER (WHERE _op = 'r') - (arg_min(_op, first_offset) = 'r')::INT AS reads
          FROM changes GROUP BY ALL
        HAVING ${day === undefined} OR (arg_max(changes.t, first_offset) >= ${from} AND arg_max(changes.t, first_offset) < ${to});
      DROP TABLE changes`);
  }
  const [row] = await files.query(`SELECT count(*) AS newer FROM hashed WHERE NOT (${visible})`);
  return { redelivered, newer: row?.['newer'] as bigint };
}

/** Checks creations: a snapshot read that is not the first change of its key means that the row existed already, or again. */
async function doubled(files: Files, { topic, key }: Shape, given: GivenUp, differences: Differences): Promise<void> {
  // The change that created a row may have expired with its former day, be lost, or have been compacted away before the archive began.
  const whole = given.nothing && topicEntry(topic).cleanup !== 'compact';
  const known = `${nothingLostBefore} AND ${whole ? 'true' : "first_op IN ('c', 'r')"}`;
  const wrong = await files.query(
    `SELECT ${key.join(', ')}, lives::INT AS lives, count(*) OVER () AS total FROM folded
      WHERE (lives > (last_op <> 'd')::INT OR lives + reads < (last_op <> 'd')::INT) AND ${known} ORDER BY ALL LIMIT ${maxExamples}`,
  );
  for (const row of wrong) {
    differences.add(`${nameOf(key, row)}: created ${row['lives']} times more than deleted`);
  }
  differences.count += Number(wrong[0]?.['total'] ?? 0) - wrong.length;
}

/** Names the keys that differ. It copies every row of Postgres to local disk, so it runs only after a difference. */
async function locate(
  db: Client,
  files: Files,
  { columns, key }: Shape,
  differences: Differences,
  table: string,
): Promise<void> {
  const path = join(files.dir, 'postgres.csv');
  const source = `SELECT ${key.join(', ')}, ${postgresHash.text(columns)} FROM ${table}`;
  await pipeline(db.query(copyTo(`COPY (${source}) TO STDOUT (FORMAT csv, FORCE_QUOTE *)`)), createWriteStream(path));
  await files.db.run(`
    CREATE TABLE expected AS SELECT * FROM read_csv('${path}', header = false, delim = ',', quote = '"', escape = '"',
      auto_detect = false, allow_quoted_nulls = false, parallel = false, max_line_size = 16000000,
      columns = {${[...key, 'line'].map((name) => `'${name}': 'VARCHAR'`).join(', ')}})`);
  const sameKey = key.map((name) => `e.${name} = a.${name}`).join(' AND ');
  const wrong = await files.query(`
    WITH actual AS (
      SELECT DISTINCT ${key.join(', ')}, ${duckdbHash.text(columns)} AS line
        FROM archived SEMI JOIN (SELECT ${key.join(', ')}, row_offset AS _offset FROM folded WHERE last_op <> 'd')
       USING (${key.join(', ')}, _offset))
    SELECT ${key.map((name) => `coalesce(e.${name}, a.${name}) AS ${name}`).join(', ')}, e.line AS expected, a.line AS actual, count(*) OVER () AS total
      FROM expected e FULL JOIN actual a ON ${sameKey}
     WHERE e.line IS DISTINCT FROM a.line ORDER BY ALL LIMIT ${maxExamples}`);
  for (const row of wrong) {
    const difference = compare(columns, row['expected'] as string | null, row['actual'] as string | null);
    differences.add(`${nameOf(key, row)}: ${difference}`);
  }
  differences.count += Number(wrong[0]?.['total'] ?? 0) - wrong.length;
}

function nameOf(key: readonly string[], row: Readonly<Record<string, unknown>>): string {
  return key.map((name) => row[name]).join(' ');
}

function compare(columns: Table['columns'], expected: string | null, actual: string | null): string {
  if (expected === null) return 'archived, but not in Postgres';
  if (actual === null) return 'in Postgres, not in the archive';
  const should = expected.split('\u001f');
  const is = actual.split('\u001f');
  if (should.length !== columns.length || is.length !== columns.length)
    return `is ${readable(actual)}, in Postgres ${readable(expected)}`;
  return columns
    .flatMap(({ name }, i) =>
      should[i] === is[i] ? [] : [`${name} is ${readable(is[i] ?? '')}, in Postgres ${readable(should[i] ?? '')}`],
    )
    .join(', ');
}
