/** Days of the archive on a real stack: complete, read from the listed files alone, reopened by a late trade, compacted, and given up. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import kafkajs from 'kafkajs';
import { readDayLines } from '../../cli/archive/days.ts';
import { readColumns } from '../../core/archive/fixtures/read.ts';
import { planOf } from '../../core/archive/keys.ts';
import { listObjects } from '../../core/archive/listing/objects.ts';
import { parseManifest } from '../../core/archive/manifest.ts';
import { tables } from '../../core/archive/rows/tables.ts';
import { S3Store } from '../../core/archive/s3/s3.ts';
import { Registry } from '../../core/avro/registry/registry.ts';
import { connectPostgres } from '../../core/base/postgres.ts';
import { KafkaLog } from '../../core/kafka/log.ts';
import { duckdbHash, formatRowHash } from '../../core/values/rowhash/rowhash.ts';
import { Files } from '../../proof/archive/files.ts';
import type { ArchiveObject } from '../../schemas/gen/archive_object.ts';
import type { ArchivedTopic } from '../../schemas/topics.ts';
import { syntheticTrades } from '../../storage/load/synthetic.ts';
import { until } from '../support/patience.ts';
import { Home } from './home.ts';
import { settled } from './witness.ts';

const rows = 3_000;
const topic = 'cdc.public.trades';
let home: Home;
let store: S3Store;

interface DayLine {
  readonly day: string;
  readonly state?: string;
  readonly revision: number;
  readonly waiting: number;
  readonly files: string;
  readonly rows: string;
  readonly row_hash: string;
  readonly manifest_key: string;
  readonly success_key: string;
}

/** Waits until the days are as they should be, and returns what the command says of them. It is not what asks again and again: a process each time. */
async function daysOf(of: ArchivedTopic, are: (days: readonly DayLine[]) => boolean): Promise<readonly DayLine[]> {
  const { kafka, registry } = await home.config();
  await using log = new KafkaLog({ ...kafka });
  await using schemas = new Registry(registry);
  const read = async (): Promise<readonly DayLine[]> => {
    const lines = await readDayLines(log, schemas, [of], new AbortController().signal);
    return lines.map(({ stands, ...line }) => ({ ...line, ...stands })).map(asJson<DayLine>);
  };
  return await until(
    async () => (are(await read()) ? await home.json<readonly DayLine[]>('archive', 'days', of) : []),
    (days) => days.length > 0 && are(days),
    { pauseMs: 300 },
  );
}

function asJson<T>(value: unknown): T {
  return JSON.parse(JSON.stringify(value, (_, each) => (typeof each === 'bigint' ? String(each) : each))) as T;
}

async function run(sql: string): Promise<void> {
  const db = await connectPostgres({ url: (await home.config()).postgres.url, name: 'manifests test' });
  try {
    await db.query(sql);
  } finally {
    await db.end();
  }
}

const insert = (trades: string): Promise<void> => run(`INSERT INTO trades ${trades}`);

/** The log keeps nothing of the objects, once nobody needs it any more. */
async function expire(objects: readonly ArchiveObject[]): Promise<void> {
  await using log = new KafkaLog({ ...(await home.config()).kafka });
  await settled(log, [['ohlcv', topic]]);
  const { brokers } = (await home.config()).kafka;
  const admin = new kafkajs.Kafka({ clientId: 'manifests-test', brokers: [...brokers] }).admin();
  await admin.connect();
  try {
    // The client deletes only of topics that it knows.
    await admin.fetchTopicOffsets(topic);
    const ends = new Map<number, bigint>();
    for (const { partition, to_offset: to } of objects) if (to > (ends.get(partition) ?? 0n)) ends.set(partition, to);
    const partitions = [...ends].map(([partition, offset]) => ({ partition, offset: `${offset}` }));
    await admin.deleteTopicRecords({ topic, partitions });
  } finally {
    await admin.disconnect();
  }
}

const complete = ({ state, waiting }: DayLine): boolean => state === 'COMPLETE' && waiting === 0;
const sum = (days: readonly DayLine[]): number => days.reduce((total, each) => total + Number(each.rows), 0);

async function json(key: string): Promise<Record<string, unknown> & { readonly totals: Record<string, unknown> }> {
  const stored = await store.get(key);
  if (stored === undefined) throw new Error(`${key} is not there`);
  return JSON.parse(stored.bytes.toString('utf8'));
}

/** What DuckDB finds in exactly the files of the day's newest manifest. */
async function found({ day, manifest_key }: DayLine): Promise<{ rows: string; row_hash: string; days: string }> {
  const { files } = parseManifest((await store.get(manifest_key))?.bytes as Buffer);
  const objects = files.map((file): ArchiveObject => ({ ...file, epoch: '', topic, day, dead_letters: 0n }));
  await using read = await Files.download(store, topic, objects);
  expect(read.differences.count).toBe(0);
  const [row] = await read.query(
    `SELECT count(*) AS n, ${duckdbHash.sum(tables[topic].columns)} AS hash,
            string_agg(DISTINCT strftime(executed_at, '%Y-%m-%d')) AS days FROM archived`,
  );
  return {
    rows: String(row?.['n']),
    row_hash: formatRowHash(BigInt(String(row?.['hash']))),
    days: String(row?.['days']),
  };
}

const countTrades = 'SELECT count(*) AS n, count(DISTINCT (_partition, _offset)) AS offsets FROM trades';

function revisionIn(days: readonly DayLine[], day: string): number {
  return days.find((each) => each.day === day)?.revision ?? 0;
}

beforeAll(async () => {
  home = Home.shared('manifests-test', {
    MILLRACE_MANIFEST_INTERVAL_MS: '1000',
    MILLRACE_PARQUET_FLUSH_MS: '1500',
    MILLRACE_COMPACT_READER_GRACE_MS: '1000',
  });
  await home.up();
  store = new S3Store((await home.config()).s3);
});

afterAll(async () => {
  await store?.[Symbol.asyncDispose]();
  await home[Symbol.asyncDispose]();
});

test('each day becomes complete, and its mark says what DuckDB reads from exactly the listed files', async () => {
  home.start('ohlcv', 'parquet');
  home.start('manifests');
  const file = join(home.dir, 'trades.csv');
  await writeFile(file, [...syntheticTrades({ rows, symbols: 4, seed: 5, perSecond: 0.02 })].join(''));
  expect((await home.cli('load', 'trades', file)).code).toBe(0);
  const days = await daysOf(topic, (all) => sum(all) === rows && all.every(complete));
  expect(days.length).toBeGreaterThan(1);
  for (const day of days) {
    const { totals, manifest_key } = await json(day.success_key);
    expect(manifest_key).toBe(day.manifest_key);
    expect(await found(day)).toEqual({ rows: totals['rows'], row_hash: totals['row_hash'], days: day.day });
    expect(totals).toMatchObject({ rows: day.rows, row_hash: day.row_hash });
  }
  const candles = await daysOf('market.candles', (all) => all.length > 0 && all.every(complete));
  expect(candles.map(({ day }) => day)).toEqual(days.map(({ day }) => day));
});

test('a late trade reopens its day with revision 2, over a kill of the task, and what was said before stays', async () => {
  const [first] = await daysOf(topic, (all) => all.every(complete));
  if (first === undefined) throw new Error('there is no day');
  const before = await store.get(first.success_key);
  await home.stop('SIGKILL', 'manifests');
  await insert(`VALUES ('v', 'LATE', 'l1', NULL, 1, 1, 'buy', '${first.day}T12:00:00Z'::timestamptz)`);
  home.start('manifests');
  const again = await daysOf(
    topic,
    (all) => all.some(({ revision }) => revision > first.revision) && all.every(complete),
  );
  const reopened = again.find(({ day }) => day === first.day) as DayLine;
  expect(reopened).toMatchObject({ revision: first.revision + 1, rows: String(Number(first.rows) + 1) });
  expect((await found(reopened)).row_hash).toBe((await json(reopened.success_key)).totals['row_hash']);
  expect((await store.get(first.success_key))?.bytes.equals(before?.bytes as Buffer)).toBe(true);
});

interface Compacted {
  readonly groups: readonly { readonly day: string; readonly rows: string; readonly files?: number }[];
  readonly failed: readonly unknown[];
  readonly removed: { readonly files: number };
  readonly waiting: { readonly files: number };
}

test('a compaction leaves each day complete, with the same rows in fewer files, and removes what it replaced', async () => {
  const known = sum(await daysOf(topic, (all) => all.every(complete)));
  // However many cuts the load took: this one's file is the second of its partition and day.
  await insert(
    "SELECT venue, symbol, 'again', NULL, price, size, side, executed_at FROM trades WHERE symbol <> 'LATE' LIMIT 1",
  );
  const before = await daysOf(topic, (all) => sum(all) === known + 1 && all.every(complete));
  const planned = await home.json<Compacted>('compact', topic, '--dry-run');
  expect(planned.groups.length).toBeGreaterThan(0);
  const { archive } = await home.json<{ archive: readonly { topic: string }[] }>('status');
  expect(archive.find((each) => each.topic === topic)).toMatchObject({
    listed: { rows: sum(before).toString() },
    days: { COMPLETE: before.length },
    due: { files: planned.groups.reduce((total, { files = 0 }) => total + files, 0) },
  });
  const done = await home.json<Compacted>('compact', topic);
  expect(done.failed).toEqual([]);
  expect(done.groups.map(({ day, rows }) => [day, rows])).toEqual(planned.groups.map(({ day, rows }) => [day, rows]));
  // The list has the new files at once, the manifests a moment later.
  expect(await home.json('archive', 'sql', countTrades)).toEqual([
    { n: sum(before).toString(), offsets: sum(before).toString() },
  ]);
  const compacted = new Set(done.groups.map(({ day }) => day));
  const after = await daysOf(topic, (all) =>
    all.every((day) => complete(day) && (!compacted.has(day.day) || day.revision > revisionIn(before, day.day))),
  );
  for (const day of after) {
    const was = before.find((each) => each.day === day.day);
    expect([day.rows, day.row_hash]).toEqual([was?.rows, was?.row_hash]);
    expect(await found(day)).toEqual({ rows: day.rows, row_hash: day.row_hash, days: day.day });
    if (compacted.has(day.day)) expect(Number(day.files)).toBeLessThan(Number(was?.files));
  }
  await delay(1_500);
  const swept = await home.json<Compacted>('compact', topic);
  expect(swept).toMatchObject({ groups: [], waiting: { files: 0 } });
  expect(done.removed.files + swept.removed.files).toBeGreaterThanOrEqual(2 * done.groups.length);
  const manifests = await Promise.all(
    after.map(async ({ manifest_key }) => (await store.get(manifest_key))?.bytes as Buffer),
  );
  const made = manifests.flatMap((bytes) => parseManifest(bytes).files).find(({ key }) => planOf(key) !== undefined);
  const [row] = await readColumns((await store.get(made?.key ?? ''))?.bytes as Buffer, ['venue', 'symbol', 'trade_id']);
  const traced = await home.cli('trace', 'trades', ...Object.values(row ?? {}).map(String));
  expect([traced.code, traced.output]).toEqual([0, expect.stringContaining(made?.key ?? '')]);
});

test('a bucket that is lost is made again, byte for byte, after a plan', async () => {
  const before = await daysOf(topic, (all) => all.every(complete));
  const rows = await home.json('archive', 'sql', countTrades);
  const listed = await home.json<{ key: string; sha256: string }[]>('archive', 'files', topic);
  const keys: string[] = [];
  for await (const { key } of store.list('')) keys.push(key);
  await store.remove(keys);
  const asked = await home.cli('repair');
  expect([asked.code, asked.errors]).toEqual([1, expect.stringContaining('CONFIRMATION_NEEDED')]);
  expect(asked.output).toContain(listed[0]?.key);
  expect(await store.head(listed[0]?.key ?? '')).toBeUndefined();
  const repaired = await home.json<{ ok: boolean; outcomes: { key: string; result: string }[] }>('repair', '--yes');
  expect(repaired.ok).toBe(true);
  const results = new Map(repaired.outcomes.map(({ key, result }) => [key, result]));
  for (const { key } of listed) expect([key, results.get(key)]).toEqual([key, 'repaired']);
  expect(await home.json('repair')).toMatchObject({ ok: true, plan: { findings: [], manifests: [] } });
  expect(await home.json('archive', 'sql', countTrades)).toEqual(rows);
  for (const day of before) expect(await found(day)).toMatchObject({ rows: day.rows, row_hash: day.row_hash });
});

test('an expiry shows its plan, and gives the day up with --yes', async () => {
  const [first, second] = await daysOf(topic, (all) => all.every(complete));
  const expire = ['archive', 'expire', topic, '--before', second?.day ?? ''];
  const asked = await home.cli(...expire);
  expect([asked.code, asked.errors]).toEqual([1, expect.stringContaining('CONFIRMATION_NEEDED')]);
  expect(asked.output).toContain(first?.day);
  expect((await daysOf(topic, () => true))[0]).toMatchObject({ state: 'COMPLETE', rows: first?.rows });
  expect(await home.json(...expire, '--yes')).toMatchObject({
    carriedOut: true,
    days: [{ day: first?.day, rows: first?.rows }],
  });
  const [expired] = await daysOf(topic, ([day]) => day?.state === 'EXPIRED');
  expect(expired).toMatchObject({ day: first?.day, rows: '0', files: '0' });
});

test('verification beside a writer finds nothing, not in the bucket either, and then names what is planted', async () => {
  const db = await connectPostgres({ url: (await home.config()).postgres.url, name: 'manifests test' });
  let writing = true;
  const writer = (async () => {
    for (let i = 0; writing; i++) {
      await db.query(
        `INSERT INTO trades VALUES ('v', 'LIVE', $1, $2::int, 1 + $2::int / 100.0, 1, 'buy', clock_timestamp())`,
        [`live${i}`, i],
      );
      await db.query(`UPDATE trades SET price = price + 0.00000001 WHERE trade_id = $1 AND $2::int % 5 = 0`, [
        `live${i - 20}`,
        i,
      ]);
      await delay(20);
    }
  })();
  try {
    const { output, errors, code } = await home.cli('verify');
    expect(output + errors).not.toContain('is in the bucket, but no record lists it');
    expect([code, output]).toEqual([0, expect.stringMatching(/\d+ changes are newer/)]);
    const days = await daysOf(topic, () => true);
    const { manifest_key = '' } = days.find(({ rows: count }) => count !== '0') ?? {};
    const [file] = parseManifest((await store.get(manifest_key))?.bytes as Buffer).files;
    await store.remove([file?.key ?? '']);
    const planted = await home.cli('verify');
    expect([planted.code, planted.output]).toEqual([
      1,
      expect.stringContaining(`${file?.key} is listed but not in the bucket`),
    ]);
  } finally {
    writing = false;
    await writer;
    await db.end();
  }
});

interface Repaired {
  readonly ok: boolean;
  readonly outcomes: readonly { readonly key: string; readonly result: string }[];
  readonly refilled: {
    readonly days: readonly {
      readonly day: string;
      readonly lost: { readonly rows: string; readonly rowHash: string };
      readonly again: { readonly rows: string; readonly rowHash: string };
      readonly same: boolean;
    }[];
    readonly deleted: number;
  };
}

/** Of a symbol of which the archive has nothing yet. Its days are its own, too. */
async function listedOf(day: string, rows: number): Promise<readonly ArchiveObject[]> {
  await using log = new KafkaLog({ ...(await home.config()).kafka });
  await using schemas = new Registry((await home.config()).registry);
  const rowsOf = (listed: readonly ArchiveObject[]) => listed.reduce((total, object) => total + Number(object.rows), 0);
  const listed = await until(
    () => listObjects(log, schemas, topic, { day }),
    (objects) => rowsOf(objects) >= rows,
    { pauseMs: 300 },
  );
  expect([day, rowsOf(listed)]).toEqual([day, rows]);
  return listed;
}

test('what the log has no more either is given up, and read again from Postgres: rows, changes and deletions', async () => {
  const [changed, inserted] = ['2014-06-01', '2014-06-02'];
  const gone = (id: string, day: string) =>
    `('v', 'GONE', '${id}', NULL, 1, 1, 'buy', '${day}T12:00:00Z'::timestamptz)`;
  await insert(`VALUES ${['a', 'b', 'c'].map((id) => gone(id, changed)).join()}`);
  const kept = new Set((await listedOf(changed, 3)).map(({ key }) => key));
  await insert(`VALUES ${gone('d', changed)}, ${['e', 'f'].map((id) => gone(id, inserted)).join()}`);
  await run(`UPDATE trades SET price = 2 WHERE symbol = 'GONE' AND trade_id = 'a'`);
  await run(`DELETE FROM trades WHERE symbol = 'GONE' AND trade_id = 'c'`);
  const lost = [...(await listedOf(changed, 6)), ...(await listedOf(inserted, 2))].filter(({ key }) => !kept.has(key));
  await store.remove(lost.map(({ key }) => key));
  await expire(lost);
  const keys = lost.map(({ key }) => key);
  const repaired = await home.json<Repaired>('repair', topic, '--from-postgres', '--yes');
  expect(repaired.ok).toBe(true);
  const results = new Map(repaired.outcomes.map(({ key, result }) => [key, result]));
  for (const key of keys) expect([key, results.get(key)]).toEqual([key, 'lost']);
  const { days, deleted } = repaired.refilled;
  expect(deleted).toBe(1);
  const of = (day: string) => days.find((each) => each.day === day);
  expect(of(changed)).toMatchObject({ lost: { rows: '3' }, again: { rows: '2' }, same: false });
  expect(of(inserted)).toMatchObject({ lost: { rows: '2' }, again: { rows: '2' }, same: true });
  expect(of(inserted)?.again.rowHash).toBe(of(inserted)?.lost.rowHash);
  await listedOf(changed, 6);
  await listedOf(inserted, 2);
  const verified = await home.json<{ ok: boolean; checks: { differences: number; lost?: { key: string }[] }[] }>(
    'verify',
    '--table',
    'trades',
  );
  expect(verified.checks.filter(({ differences }) => differences > 0)).toEqual([]);
  expect(verified.ok).toBe(true);
  const told = verified.checks.flatMap(({ lost: objects = [] }) => objects.map(({ key }) => key));
  for (const key of keys) expect(told).toContain(key);
});
