import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import type { Client } from 'pg';
import { listObjects } from '../core/archive/objects.ts';
import { tables } from '../core/archive/tables.ts';
import type { Schemas } from '../core/avro/schemas.ts';
import { duckdbHash, postgresHash } from '../core/rowhash.ts';
import type { Log } from '../core/runtime/log.ts';
import { groupOf } from '../core/runtime/runner.ts';
import type { ObjectStore } from '../core/s3/store.ts';
import type { ArchiveObject } from '../schemas/gen/archive_object.ts';
import type { DeadLetter } from '../schemas/gen/dead_letter.ts';
import { schemas as contracts } from '../schemas/gen/index.ts';
import type { ArchivedTopic } from '../schemas/topics.ts';
import { type Check, Differences, maxExamples } from './report.ts';
import { readRaw, readTopic } from './topic.ts';

export interface ArchiveSources {
  readonly log: Log;
  readonly schemas: Schemas;
  readonly store: ObjectStore;
  readonly db: Client;
}

const sink = 'parquet';

/**
 * Proves one topic's archive from the listed files alone, read by DuckDB, which shares no code with the writer:
 *
 *   - each object has the bytes that its record says (SHA-256)
 *   - each data offset below the committed position is one row of one listed object, or one dead letter, exactly once
 *   - row counts and row hashes of each object are what its record says
 */
export async function checkArchive(
  sources: ArchiveSources,
  topic: ArchivedTopic,
): Promise<{ checks: Check[]; rows: number }> {
  const startedMs = performance.now();
  const { log, schemas } = sources;
  const objects = await listObjects(log, schemas, topic);
  await using files = await Files.download(sources.store, objects);
  const bytes = files.differences.check(
    `${topic}: objects are what their records say`,
    `${objects.length} objects`,
    startedMs,
  );
  const offsets = await checkOffsets(sources, topic, files);
  const hashes = await checkHashes(files, topic, objects);
  const checks = [bytes, offsets.check, hashes];
  if (topic === 'cdc.public.trades') checks.push(await checkTrades(sources.db, files));
  return { checks, rows: offsets.rows };
}

/** The listed objects on local disk, and DuckDB over them as the view `archived`. */
class Files implements AsyncDisposable {
  readonly differences = new Differences();
  readonly #dir: string;
  readonly #instance: DuckDBInstance;
  readonly db: DuckDBConnection;
  count = 0;

  private constructor(dir: string, instance: DuckDBInstance, db: DuckDBConnection) {
    this.#dir = dir;
    this.#instance = instance;
    this.db = db;
  }

  static async download(store: ObjectStore, objects: readonly ArchiveObject[]): Promise<Files> {
    const dir = await mkdtemp(join(tmpdir(), 'millrace-verify-'));
    const instance = await DuckDBInstance.create(':memory:');
    const files = new Files(dir, instance, await instance.connect());
    for (const [i, object] of objects.entries()) {
      const stored = await store.get(object.key);
      if (stored === undefined) {
        files.differences.add(`${object.key} is listed but not in the bucket`);
        continue;
      }
      const sha256 = createHash('sha256').update(stored.bytes).digest('hex');
      if (sha256 !== object.sha256)
        files.differences.add(`${object.key} has SHA-256 ${sha256}, its record says ${object.sha256}`);
      await writeFile(files.pathOf(i), stored.bytes);
      files.count++;
    }
    if (files.count > 0) {
      await files.db.run(
        `CREATE VIEW archived AS SELECT * FROM read_parquet('${dir}/*.parquet', filename = true, union_by_name = true)`,
      );
    }
    return files;
  }

  pathOf(index: number): string {
    return join(this.#dir, `${index}.parquet`);
  }

  async query(sql: string): Promise<Record<string, unknown>[]> {
    return (await this.db.runAndReadAll(sql)).getRowObjects();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.db.closeSync();
    this.#instance.closeSync();
    await rm(this.#dir, { recursive: true, force: true });
  }
}

/** Compares the offsets of the log with those of rows and dead letters, up to what the sink has committed. */
async function checkOffsets(
  { log, schemas }: ArchiveSources,
  topic: ArchivedTopic,
  files: Files,
): Promise<{ check: Check; rows: number }> {
  const startedMs = performance.now();
  const differences = new Differences();
  const committed = new Map(
    (await log.committed(groupOf(sink), topic)).map(({ partition, offset }) => [partition, offset]),
  );
  const { db } = files;
  await db.run('CREATE TABLE logged (p INTEGER, o BIGINT)');
  await db.run('CREATE TABLE dead (p INTEGER, o BIGINT)');
  const logged = await db.createAppender('logged');
  let total = 0;
  for await (const { partition, records } of readRaw(log, topic)) {
    const end = committed.get(partition) ?? 0n;
    for (const record of records) {
      if (record.offset >= end) continue;
      total++;
      logged.appendInteger(partition);
      logged.appendBigInt(record.offset);
      logged.endRow();
    }
  }
  logged.closeSync();
  const dead = await db.createAppender('dead');
  for await (const portion of readTopic<DeadLetter>(log, schemas, `${sink}.dead`, contracts.dead_letter)) {
    for (const { value } of portion) {
      if (value.origin.topic !== topic) continue;
      dead.appendInteger(value.origin.partition);
      dead.appendBigInt(value.origin.offset);
      dead.endRow();
    }
  }
  dead.closeSync();
  const rows =
    files.count === 0
      ? 'SELECT NULL::INTEGER AS p, NULL::BIGINT AS o WHERE false'
      : 'SELECT _partition AS p, _offset AS o FROM archived';
  const wrong = await files.query(`
    WITH found AS (SELECT p, o, count(*) AS n FROM (${rows} UNION ALL SELECT p, o FROM dead) GROUP BY 1, 2)
    SELECT coalesce(l.p, f.p) AS p, coalesce(l.o, f.o) AS o, coalesce(f.n, 0) AS n, l.o IS NOT NULL AS logged, count(*) OVER () AS total
      FROM logged l FULL JOIN found f ON l.p = f.p AND l.o = f.o
     WHERE l.o IS NULL OR f.n IS DISTINCT FROM 1 ORDER BY 1, 2 LIMIT ${maxExamples}`);
  for (const { p, o, n, logged: inLog } of wrong) {
    differences.add(
      `${topic}/${p} offset ${o}: ${inLog ? `archived ${n} times` : 'archived, but not a committed record below the committed offset'}`,
    );
  }
  differences.count += Number(wrong[0]?.['total'] ?? 0) - wrong.length;
  return {
    check: differences.check(`${topic}: each offset is archived exactly once`, `${total} records`, startedMs),
    rows: total,
  };
}

/** Recomputes rows and row hash of each object with DuckDB. */
async function checkHashes(files: Files, topic: ArchivedTopic, objects: readonly ArchiveObject[]): Promise<Check> {
  const startedMs = performance.now();
  const differences = new Differences();
  if (files.count > 0) {
    const { columns } = tables[topic];
    const found = await files.query(
      `SELECT filename, count(*) AS n, ${duckdbHash.sum(columns)} AS hash FROM archived GROUP BY filename`,
    );
    const byFile = new Map(
      found.map(({ filename, n, hash }) => [
        String(filename),
        { rows: BigInt(n as bigint), hash: BigInt(String(hash)) },
      ]),
    );
    for (const [i, object] of objects.entries()) {
      const actual = byFile.get(files.pathOf(i));
      if (actual === undefined) continue;
      if (actual.rows !== object.rows)
        differences.add(`${object.key} has ${actual.rows} rows, its record says ${object.rows}`);
      if (actual.hash !== BigInt(`0x${object.row_hash}`)) {
        differences.add(
          `${object.key} has row hash ${actual.hash.toString(16).padStart(16, '0')}, its record says ${object.row_hash}`,
        );
      }
    }
  }
  return differences.check(`${topic}: rows and row hashes by DuckDB`, `${objects.length} objects`, startedMs);
}

/** Every row of Postgres against the rows that were created in the archive: counts and row hash, and the differing keys if they differ. */
async function checkTrades(db: Client, files: Files): Promise<Check> {
  const startedMs = performance.now();
  const differences = new Differences();
  const { columns } = tables['cdc.public.trades'];
  const { rows } = await db.query<{ n: string; hash: string }>(
    `SELECT count(*) AS n, ${postgresHash.sum(columns)} AS hash FROM public.trades`,
  );
  const expected = rows[0] ?? { n: '0', hash: '0' };
  const created = `FROM archived WHERE _op IN ('c', 'r')`;
  const [actual] =
    files.count === 0
      ? [{ n: 0n, hash: '0' }]
      : await files.query(`SELECT count(*) AS n, ${duckdbHash.sum(columns)} AS hash ${created}`);
  if (String(actual?.['n']) !== expected.n || String(actual?.['hash']) !== expected.hash)
    await locate(db, files, differences, created);
  return differences.check(
    'cdc.public.trades: the archive holds each row of Postgres once, with equal values',
    `${actual?.['n']} of ${expected.n} trades`,
    startedMs,
  );
}

/** Names the keys that differ. Only when something does: it moves one text per row. */
async function locate(db: Client, files: Files, differences: Differences, created: string): Promise<void> {
  const { columns } = tables['cdc.public.trades'];
  const { rows } = await db.query<{ line: string }>(`SELECT ${postgresHash.text(columns)} AS line FROM public.trades`);
  const left = new Map<string, number>();
  for (const { line } of rows) left.set(line, (left.get(line) ?? 0) + 1);
  const found = files.count === 0 ? [] : await files.query(`SELECT ${duckdbHash.text(columns)} AS line ${created}`);
  for (const each of found) {
    const line = String(each['line']);
    const n = left.get(line) ?? 0;
    if (n === 0) differences.add(`archived, but not in Postgres (or twice): ${readable(line)}`);
    else if (n === 1) left.delete(line);
    else left.set(line, n - 1);
  }
  for (const line of left.keys()) differences.add(`in Postgres, not in the archive: ${readable(line)}`);
}

function readable(line: string): string {
  return line.replaceAll('\u001f', ' | ').replaceAll('\u001e', 'null');
}
