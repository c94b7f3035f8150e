import type { Client } from 'pg';
import { isSuccessKey } from '../core/archive/keys.ts';
import { listObjects } from '../core/archive/objects.ts';
import { tables } from '../core/archive/tables.ts';
import type { Schemas } from '../core/avro/schemas.ts';
import { duckdbHash } from '../core/rowhash.ts';
import type { Log } from '../core/runtime/log.ts';
import { groupOf } from '../core/runtime/runner.ts';
import type { ObjectStore } from '../core/s3/store.ts';
import type { ArchiveObject } from '../schemas/gen/archive_object.ts';
import type { ArchivedTopic } from '../schemas/topics.ts';
import { Files } from './files.ts';
import { checkLogged } from './logged.ts';
import { type Check, Differences } from './report.ts';
import { checkTrades } from './trades.ts';

export interface ArchiveSources {
  readonly log: Log;
  readonly schemas: Schemas;
  readonly store: ObjectStore;
  readonly db: Client;
}

/**
 * Proves one topic's archive from the listed files alone, read by DuckDB, which shares no code with the writer:
 *
 *   - each object has the bytes that its record says (SHA-256), and nothing lies beside the listed objects
 *   - each record below the committed position is one row of one listed object with the log's values, or one dead letter, exactly once
 *   - row counts, ranges and row hashes of each object are what its record says, and cuts do not overlap
 *   - trades: what the archived changes come to is what Postgres holds
 */
export async function checkArchive(
  sources: ArchiveSources,
  topic: ArchivedTopic,
): Promise<{ checks: Check[]; rows: number }> {
  const startedMs = performance.now();
  const { log, schemas, store, db } = sources;
  const objects = await listObjects(log, schemas, topic);
  await using files = await Files.download(store, topic, objects);
  await unlisted(log, store, topic, objects, files.differences);
  const name = `${topic}: objects are what their records say`;
  const checks = [files.differences.check(name, `${objects.length} objects`, startedMs)];
  checks.push(await checkLogged(log, schemas, topic, files));
  checks.push(await checkRecords(files, topic, objects));
  if (topic === 'cdc.public.trades') checks.push(await checkTrades(db, files));
  return { checks, rows: objects.reduce((sum, { rows }) => sum + Number(rows), 0) };
}

/**
 * Objects of this archive's epoch that no record lists. Those of a partition whose cut is being finished are on their way; any other was
 * put there by somebody else.
 */
async function unlisted(
  log: Log,
  store: ObjectStore,
  topic: ArchivedTopic,
  objects: readonly ArchiveObject[],
  differences: Differences,
): Promise<void> {
  const listed = new Set(objects.map(({ key }) => key));
  const trees = new Set(objects.map(({ key }) => key.slice(0, key.indexOf('/year=') + 1)));
  const committed = await log.committed(groupOf('parquet'), topic);
  const planned = committed
    .filter(({ metadata }) => metadata.includes('"end"'))
    .map(({ partition }) => `/${topic}+${partition}+`);
  for (const tree of trees) {
    for await (const { key } of store.list(tree)) {
      if (isSuccessKey(key)) continue;
      if (!listed.has(key) && !planned.some((name) => key.includes(name))) {
        differences.add(`${key} is in the bucket, but no record lists it`);
      }
    }
  }
}

/** Recomputes rows, offsets and row hash of each object with DuckDB, and looks for cuts that overlap. */
async function checkRecords(files: Files, topic: ArchivedTopic, objects: readonly ArchiveObject[]): Promise<Check> {
  const startedMs = performance.now();
  const differences = new Differences();
  const found = await files.query(
    `SELECT filename, count(*) AS n, min(_offset) AS first, max(_offset) AS last, min(_partition) AS low, max(_partition) AS high,
            ${duckdbHash.sum(tables[topic].columns)} AS hash
       FROM archived GROUP BY filename`,
  );
  const byFile = new Map(found.map((row) => [String(row['filename']), row]));
  for (const [i, object] of objects.entries()) {
    const actual = byFile.get(files.pathOf(i));
    if (actual === undefined) continue;
    const hash = BigInt(String(actual['hash'])).toString(16).padStart(16, '0');
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
  overlaps(objects, differences);
  return differences.check(`${topic}: rows, ranges and hashes by DuckDB`, `${objects.length} objects`, startedMs);
}

/** Cuts may leave a gap only where there is no row; that each record is archived once is checked record by record. */
function overlaps(objects: readonly ArchiveObject[], differences: Differences): void {
  const ends = new Map<number, { from: bigint; to: bigint }>();
  const keys = new Set<string>();
  for (const { key, partition, from_offset: from, to_offset: to } of objects) {
    if (keys.has(key)) differences.add(`${key} is listed twice`);
    keys.add(key);
    const last = ends.get(partition);
    if (last !== undefined && (from !== last.from || to !== last.to) && from < last.to) {
      differences.add(`partition ${partition}: cut ${from}–${to} overlaps cut ${last.from}–${last.to}`);
    }
    ends.set(partition, { from, to });
  }
}
