import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, stat, truncate, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { ArchiveObject } from '../../../schemas/gen/archive_object.ts';
import { MemoryStore } from '../s3/memory.ts';
import { Copies, type FetchProgress } from './copies.ts';

const now = 1_700_000_000_000;
const hour = 3_600_000;
let dir: string;
let store: CountingStore;

class CountingStore extends MemoryStore {
  readonly got: string[] = [];

  override async get(key: string) {
    this.got.push(key);
    return super.get(key);
  }
}

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'millrace-copies-'));
  store = new CountingStore();
});

afterEach(() => rm(dir, { recursive: true }));

async function object(key: string, text = key, over: Partial<ArchiveObject> = {}): Promise<ArchiveObject> {
  const bytes = Buffer.from(text);
  await store.putIfAbsent(key, bytes);
  return {
    key,
    epoch: 'e',
    topic: 'market.candles',
    partition: 0,
    day: '2013-11-05',
    from_offset: 0n,
    to_offset: 1n,
    first_offset: 0n,
    last_offset: 0n,
    rows: 1n,
    row_hash: '0'.repeat(16),
    sha256: createHash('sha256').update(bytes).digest('hex'),
    bytes: BigInt(bytes.length),
    dead_letters: 0n,
    schema_id: 1,
    writer_version: 1,
    ...over,
  };
}

async function files(): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map(({ name }) => name);
}

const copies = (limitBytes?: number) =>
  new Copies({ store, dir, now: () => now, ...(limitBytes === undefined ? {} : { limitBytes }) });

describe('copies of listed objects', () => {
  test("have the objects' bytes, in the order of the list, in folders of their days", async () => {
    const wanted = [await object('b'), await object('a', 'another', { day: '2014-01-31' })];
    const found = await copies().fetch(wanted);
    expect(await Promise.all(found.map(({ path }) => readFile(path, 'utf8')))).toEqual(['b', 'another']);
    expect(found.map(({ path }) => path.slice(dir.length + 1))).toEqual([
      join('year=2013', 'month=11', 'day=05', `${wanted[0]?.sha256}.parquet`),
      join('year=2014', 'month=01', 'day=31', `${wanted[1]?.sha256}.parquet`),
    ]);
  });

  test('are fetched once', async () => {
    const wanted = [await object('a'), await object('b')];
    await copies().fetch(wanted);
    const progress: FetchProgress[] = [];
    await copies().fetch([...wanted, await object('c')], { onProgress: (each) => progress.push(each) });
    expect(store.got.sort()).toEqual(['a', 'b', 'c']);
    expect(progress).toEqual([
      { objects: 0, totalObjects: 1, bytes: 0n, totalBytes: 1n },
      { objects: 1, totalObjects: 1, bytes: 1n, totalBytes: 1n },
    ]);
  });

  test('that are cut short on disk are fetched again', async () => {
    const wanted = [await object('a', 'whole')];
    const [copy] = await copies().fetch(wanted);
    await truncate(copy?.path ?? '', 2);
    await copies().fetch(wanted);
    expect(await readFile(copy?.path ?? '', 'utf8')).toBe('whole');
  });

  test('are as many as the list has, however many that is', async () => {
    const wanted = await Promise.all(Array.from({ length: 50 }, (_, i) => object(`k${i}`)));
    expect(new Set((await copies().fetch(wanted)).map(({ path }) => path)).size).toBe(50);
    expect(await files()).toHaveLength(50);
  });
});

describe('a damaged archive is not read', () => {
  test.each([
    ['is gone', 'is listed but not in the bucket', { key: 'gone' }],
    ['has other bytes', `has SHA-256 ${createHash('sha256').update('a').digest('hex')}`, { sha256: 'f'.repeat(64) }],
    ['has a day that is none', 'has no day or no SHA-256', { day: '../../..' }],
    ['has a hash that is none', 'has no day or no SHA-256', { sha256: '../x' }],
  ])('an object that %s is ARCHIVE_DAMAGED: … %s', async (_what, message, over) => {
    const wanted = [await object('a', 'a', over)];
    await expect(copies().fetch(wanted)).rejects.toMatchObject({
      code: 'ARCHIVE_DAMAGED',
      message: expect.stringContaining(message),
    });
    expect(await files()).toEqual([]);
  });

  test('an interrupt ends the fetching with its reason', async () => {
    const wanted = [await object('a')];
    const signal = AbortSignal.abort(new Error('enough'));
    await expect(copies().fetch(wanted, { signal })).rejects.toThrow('enough');
    expect(store.got).toEqual([]);
  });

  test('and what the disk cannot hold is COPIES_FULL before anything is fetched', async () => {
    const wanted = [await object('a', 'a', { bytes: 2n ** 62n })];
    await expect(copies().fetch(wanted)).rejects.toMatchObject({ code: 'COPIES_FULL' });
    expect(store.got).toEqual([]);
  });
});

describe('the limit of the copies', () => {
  async function usedAgo(path: string, ms: number): Promise<void> {
    await utimes(path, (now - ms) / 1000, (now - ms) / 1000);
  }

  test('removes those first that were not used for longest, and none that was used within the hour', async () => {
    const wanted = await Promise.all(['aaaa', 'bbbb', 'cccc', 'dddd'].map((text) => object(text)));
    const paths = (await copies().fetch(wanted)).map(({ path }) => path);
    const ages = [3 * hour, 5 * hour, 4 * hour, hour / 2];
    for (const [i, age] of ages.entries()) await usedAgo(paths[i] ?? '', age);
    const left = async () =>
      (
        await Promise.all(
          paths.map((path) =>
            stat(path).then(
              () => true,
              () => false,
            ),
          ),
        )
      ).map(Number);
    await copies(16).prune();
    expect(await left()).toEqual([1, 1, 1, 1]);
    await copies(12).prune();
    expect(await left()).toEqual([1, 0, 1, 1]);
    await copies(0).prune();
    expect(await left()).toEqual([0, 0, 0, 1]);
  });

  test('a copy that is used counts as new', async () => {
    const wanted = [await object('a')];
    const [copy] = await copies().fetch(wanted);
    await usedAgo(copy?.path ?? '', 5 * hour);
    await copies().fetch(wanted);
    await copies(0).prune();
    expect(await files()).toHaveLength(1);
  });

  test('what a killed process left half fetched is removed, within the limit too', async () => {
    const left = join(dir, 'x.parquet.1.part');
    await writeFile(left, 'half');
    await usedAgo(left, 2 * hour);
    await copies().prune();
    expect(await files()).toEqual([]);
  });

  test('of a folder that is not there is kept', async () => {
    await new Copies({ store, dir: join(dir, 'none') }).prune();
  });
});
