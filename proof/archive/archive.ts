import type { Client } from 'pg';
import { isSuccessKey, planOf } from '../../core/archive/keys.ts';
import { KeyMap } from '../../core/archive/listing/key-map.ts';
import { readListing } from '../../core/archive/listing/objects.ts';
import type { ObjectTable } from '../../core/archive/listing/table.ts';
import { endOfReplacements } from '../../core/archive/replacements.ts';
import { tables } from '../../core/archive/rows/tables.ts';
import type { ObjectStore } from '../../core/archive/s3/store.ts';
import type { Schemas } from '../../core/avro/schemas.ts';
import type { Masks } from '../../core/capture/masks.ts';
import type { Committed, Log } from '../../core/log/log.ts';
import { groupOf } from '../../core/runtime/runner.ts';
import { duckdbSum, formatRowHash } from '../../core/values/rowhash/rowhash.ts';
import type { ArchiveObject } from '../../schemas/gen/archive_object.ts';
import type { ArchivedTopic } from '../../schemas/topics.ts';
import type { Snapshot } from '../live/snapshot.ts';
import { type Check, Differences } from '../report/report.ts';
import { TallyBook } from '../report/tally.ts';
import { CapturedProof, type CapturedTopic } from './captured.ts';
import { GivenUp } from './expired.ts';
import { Files } from './files.ts';
import { LoggedProof } from './logged.ts';
import { LostObjects } from './lost-objects.ts';

export interface ArchiveSources {
  readonly log: Log;
  readonly schemas: Schemas;
  readonly store: ObjectStore;
  readonly db: Client;
  /** Changes that `db` sees, if rows are written meanwhile. Default: everything in the log. */
  readonly snapshot?: Snapshot;
  /** Columns that leave Postgres masked. Default: none. */
  readonly masks?: Masks;
}

/**
 * Proves one topic's archive from the listed files alone. DuckDB reads them, which shares no code with the writer:
 *
 *   - each object has the bytes that its record says (SHA-256), and the bucket has no unlisted objects
 *   - each record below the committed position is exactly once one row of a listed object with the log's values, or one dead letter
 *   - row counts, ranges and row hashes of each object equal its record, and cuts do not overlap
 *   - objects unlisted by a compaction or an expiry are not expected, in the bucket or not
 *   - lost objects are reported, and are no difference
 *   - captured tables: the archived changes, folded, equal the rows in Postgres. Rows without an event time have no day, so they are
 *     compared neither for one day nor after an expiry.
 *
 * @param onCheck called with each finished check
 * @param day only this day, `YYYY-MM-DD`. For trades all files are read even so, because an update may have moved a row there from another
 *   day
 */
export async function checkArchive(
  sources: ArchiveSources,
  topic: ArchivedTopic,
  day?: string,
  onCheck: (check: Check) => void = () => undefined,
): Promise<{ checks: Check[]; rows: number }> {
  const startedMs = performance.now();
  const { log, schemas, store, db, snapshot, masks } = sources;
  const { objects: all, committed, unlisted, expired, lost: gone } = await standing(sources, topic);
  const given = new GivenUp(topic, expired);
  const lost = new LostObjects(gone);
  const counts = (object: ArchiveObject) => day === undefined || object.day === day;
  const folded = isFolded(topic, day, given) ? topic : undefined;
  const objects = folded === undefined ? all.where(counts) : all;
  await using files = await Files.download(store, topic, objects);
  await lost.fill(files);
  const path = day === undefined ? '/' : `/year=${day.slice(0, 4)}/month=${day.slice(5, 7)}/day=${day.slice(8)}/`;
  for (const key of unlisted) {
    if (key.includes(path)) files.differences.add(`${key} is in the bucket, but no record lists it`);
  }
  const name = `${topic}: objects are what their records say`;
  const checks: Check[] = [];
  const done = (check: Check): void => {
    checks.push(check);
    onCheck(check);
  };
  const present = files.differences.check(name, `${objects.length} objects${lost.told(day)}`, startedMs);
  done(gone.length === 0 ? present : { ...present, lost: lost.of(day) });
  const own: number[] = [];
  let rows = 0;
  for (let file = 0; file < objects.length; file++) {
    const object = objects.at(file) as ArchiveObject;
    if (!counts(object)) continue;
    own.push(file);
    rows += Number(object.rows);
  }
  const scope = day === undefined ? undefined : { day, files: own };
  // Three readers run concurrently: the log here, row sums in Postgres, the files in DuckDB.
  const expected = { positions: committed, given, lost, scope };
  await using logged = await LoggedProof.begin(log, schemas, topic, files, expected);
  const partitions = folded === undefined ? 0 : (await log.ends(topic)).length;
  const captured =
    folded === undefined ? undefined : new CapturedProof(db, folded, { given, snapshot, masks, day, partitions });
  const also = folded === undefined ? [] : CapturedProof.columns(folded);
  await files.hash(tables[topic], [...also, ...LoggedProof.columns(topic)]);
  const [records, folds] = [await checkRecords(files, topic, objects, own), await captured?.check(files)];
  done(await logged.check());
  done(records);
  if (folds !== undefined) done(folds);
  return { checks, rows };
}

/** Whether the folded changes can be compared with Postgres. */
function isFolded(topic: ArchivedTopic, day: string | undefined, given: GivenUp): topic is CapturedTopic {
  const { before, eventTime } = tables[topic];
  return before !== undefined && (eventTime !== null || (day === undefined && given.nothing));
}

interface Standing {
  /** Every committed object, and possibly some that were committed a moment later. */
  readonly objects: ObjectTable;
  readonly committed: readonly Committed[];
  /** Keys in the bucket that no record lists and no cut in progress explains: another program wrote them. */
  readonly unlisted: readonly string[];
  /** Objects of expired days. */
  readonly expired: ObjectTable;
  /** Lost objects. */
  readonly lost: ObjectTable;
}

/**
 * State of the archive while the sink runs. The order of reads makes it consistent. Stored objects are listed or planned in the reads that
 * follow. Objects listed before the offsets are read are committed by them. Objects listed later count only as far as those offsets commit
 * them.
 */
async function standing({ log, schemas, store }: ArchiveSources, topic: ArchivedTopic): Promise<Standing> {
  const known = new KeyMap<true>();
  const trees = new Set<string>();
  for (const { key } of (await readListing(log, schemas, topic)).objects) {
    known.set([key], true);
    trees.add(key.slice(0, key.indexOf('/year=') + 1));
  }
  const found = new KeyMap<true>();
  for (const tree of trees) {
    for await (const { key } of store.list(tree)) if (!isSuccessKey(key)) found.set([key], true);
  }
  const committed = await log.committed(groupOf('parquet'), topic);
  const { objects: after, replaced, expired, lost } = await readListing(log, schemas, topic);
  const plans = await endOfReplacements(log);
  const listed = new KeyMap<true>();
  listed.set(keysOf(after), true);
  const planned = committed
    .filter(({ metadata }) => metadata.includes('"end"'))
    .map(({ partition }) => `/${topic}+${partition}+`);
  const ends = new Map(committed.map(({ partition, offset }) => [partition, offset]));
  const unlisted: string[] = [];
  for (const key of found.keys()) {
    if (listed.has(key) || replaced.has(key)) continue;
    // A compaction in progress or an abandoned one stores it; millrace compact finishes or removes it.
    if ((planOf(key) ?? plans) < plans || planned.some((name) => key.includes(name))) continue;
    unlisted.push(key);
  }
  return {
    objects: after.where(
      ({ key, partition, from_offset }) => known.has(key) || from_offset < (ends.get(partition) ?? 0n),
    ),
    committed,
    unlisted: unlisted.sort(),
    expired,
    lost,
  };
}

function* keysOf(objects: Iterable<ArchiveObject>): Generator<string> {
  for (const { key } of objects) yield key;
}

/** Recomputes rows, offsets and row hash of each object with DuckDB, and looks for overlapping cuts. */
async function checkRecords(
  files: Files,
  topic: ArchivedTopic,
  objects: ObjectTable,
  listed: readonly number[],
): Promise<Check> {
  const startedMs = performance.now();
  const differences = new Differences();
  const found = await files.query(
    `SELECT file, count(*) AS n, min(o) AS first, max(o) AS last, min(p) AS low, max(p) AS high,
            ${duckdbSum('data')} AS hash
       FROM hashed GROUP BY file`,
  );
  const byFile = new Map(found.map((row) => [row['file'], row]));
  const book = new TallyBook('objects', 'archive');
  const own = function* (): Generator<readonly [ArchiveObject, number]> {
    for (const file of listed) yield [objects.at(file) as ArchiveObject, file];
  };
  for (const [object, file] of own()) {
    const { day, partition, rows } = object;
    book.add('objects', { day, partition, rows, hash: BigInt(`0x${object.row_hash}`) });
    const actual = byFile.get(file);
    if (actual === undefined) continue;
    const sum = BigInt(String(actual['hash']));
    book.add('archive', { day, partition, rows: BigInt(String(actual['n'])), hash: sum });
    const hash = formatRowHash(sum);
    const pairs: [string, unknown, unknown][] = [
      ['rows', actual['n'], object.rows],
      ['first offset', actual['first'], object.first_offset],
      ['last offset', actual['last'], object.last_offset],
      ['partition', actual['low'], object.partition],
      ['partition', actual['high'], object.partition],
      ['row hash', hash, object.row_hash],
    ];
    for (const [what, is, says] of pairs) {
      if (String(is) !== String(says)) differences.add(`${object.key} has ${what} ${is}, its record says ${says}`);
    }
    if (object.first_offset < object.from_offset || object.last_offset >= object.to_offset) {
      differences.add(`${object.key} reaches beyond its cut ${object.from_offset}–${object.to_offset}`);
    }
  }
  overlaps(own(), differences);
  const name = `${topic}: rows, ranges and hashes by DuckDB`;
  return differences.check(name, `${listed.length} objects`, startedMs, book.tallies(topic, 'data'));
}

/**
 * Cuts may leave a gap only where there is no row. The comparison with the log proves that each record is archived once. Compacted objects
 * are no cuts, so they are left out.
 */
function overlaps(objects: Iterable<readonly [ArchiveObject, number]>, differences: Differences): void {
  const ends = new Map<number, { from: bigint; to: bigint }>();
  const keys = new KeyMap<true>();
  for (const [{ key, partition, from_offset: from, to_offset: to }] of objects) {
    if (keys.has(key)) differences.add(`${key} is listed twice`);
    keys.set([key], true);
    if (planOf(key) !== undefined) continue;
    const last = ends.get(partition);
    if (last !== undefined && (from !== last.from || to !== last.to) && from < last.to) {
      differences.add(`partition ${partition}: cut ${from}–${to} overlaps cut ${last.from}–${last.to}`);
    }
    ends.set(partition, { from, to });
  }
}
