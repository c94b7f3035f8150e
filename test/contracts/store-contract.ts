import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { ObjectStore } from '../../core/archive/s3/store.ts';

/** More than two parts of the smallest size that S3 takes. */
const largeBytes = 11 * 1024 * 1024;

/** What each object store must do. `open` gives one whose bucket may be missing. For tests. */
export function testStore(name: string, open: () => Promise<ObjectStore>): void {
  describe(`the object store ${name}`, () => {
    let store: ObjectStore;
    const bytes = Buffer.from([0, 255, 1, 2]);

    beforeAll(async () => {
      store = await open();
      await store.ensureBucket();
    });

    afterAll(async () => {
      await store[Symbol.asyncDispose]();
    });

    test('finds its bucket or creates it, as often as it is asked', async () => {
      await store.ensureBucket();
    });

    test('creates an object with its metadata, and gives it back byte for byte', async () => {
      expect(await store.putIfAbsent('a/created', bytes, { metadata: { 'row-hash': 'abc' } })).toBe('created');
      const found = await store.get('a/created');
      expect(found?.bytes.equals(bytes)).toBe(true);
      expect(found?.metadata).toEqual({ 'row-hash': 'abc' });
      expect(await store.head('a/created')).toEqual({ key: 'a/created', bytes: 4, modifiedMs: expect.any(Number) });
    });

    test('never overwrites', async () => {
      await store.putIfAbsent('a/first', bytes);
      expect(await store.putIfAbsent('a/first', Buffer.from('other'))).toBe('exists');
      expect((await store.get('a/first'))?.bytes.equals(bytes)).toBe(true);
    });

    test('lets one of many writers create an object', async () => {
      const outcomes = await Promise.all(
        Array.from({ length: 8 }, (_, i) => store.putIfAbsent('a/raced', Buffer.from([i]))),
      );
      expect(outcomes.filter((outcome) => outcome === 'created')).toHaveLength(1);
    });

    test('creates a large object whole, with its metadata, and never twice', async () => {
      const large = Buffer.alloc(largeBytes, 'abcdefg');
      expect(await store.putIfAbsent('a/large', large, { metadata: { build: '1' } })).toBe('created');
      expect(await store.putIfAbsent('a/large', Buffer.alloc(largeBytes, 'x'))).toBe('exists');
      expect(await store.head('a/large')).toEqual({
        key: 'a/large',
        bytes: largeBytes,
        modifiedMs: expect.any(Number),
      });
      const found = await store.get('a/large');
      expect(found?.bytes.equals(large)).toBe(true);
      expect(found?.metadata).toEqual({ build: '1' });
    });

    test('lets one of many writers create a large object, and shows nothing of the others', async () => {
      const outcomes = await Promise.all(
        ['1', '2', '3'].map((text) => store.putIfAbsent('b/raced', Buffer.alloc(largeBytes, text))),
      );
      expect(outcomes.filter((outcome) => outcome === 'created')).toHaveLength(1);
      const { bytes } = (await store.get('b/raced')) ?? { bytes: Buffer.alloc(0) };
      expect(bytes.equals(Buffer.alloc(largeBytes, bytes.subarray(0, 1)))).toBe(true);
      expect(await keys(store, 'b/')).toEqual(['b/raced']);
    });

    test('tells apart keys of which one begins with the other, and takes what only a file system finds odd', async () => {
      const odd = ['c/a', 'c/a.meta', 'c/a%2Fb', 'c/%', 'c/é ü', 'c/...x', `c/${'n'.repeat(200)}`];
      for (const key of odd) expect(await store.putIfAbsent(key, Buffer.from(key))).toBe('created');
      for (const key of odd) expect((await store.get(key))?.bytes.toString()).toBe(key);
      expect(await keys(store, 'c/')).toEqual([...odd].sort());
      expect(await keys(store, 'c/a')).toEqual(['c/a', 'c/a%2Fb', 'c/a.meta']);
    });

    test('takes an empty object, and an empty prefix for all', async () => {
      expect(await store.putIfAbsent('d/empty', Buffer.alloc(0))).toBe('created');
      expect((await store.get('d/empty'))?.bytes).toHaveLength(0);
      expect(await keys(store, '')).toContain('d/empty');
    });

    test('knows what is not there', async () => {
      expect(await store.get('a/none')).toBeUndefined();
      expect(await store.head('a/none')).toBeUndefined();
    });

    test('keeps keys of the archive as they are', async () => {
      const key = 'e/t.x/year=2013/month=11/day=25/t.x+0+00000000000000000000.parquet';
      await store.putIfAbsent(key, bytes);
      expect(await keys(store, 'e/')).toEqual([key]);
    });

    test('names the folders under a prefix, each once, and nothing that lies there or deeper', async () => {
      for (const key of ['f/b/1', 'f/b/2', 'f/a/c/1', 'f/d', 'f/e%2F/1']) await store.putIfAbsent(key, bytes);
      expect(await store.folders('f/')).toEqual(['a', 'b', 'e%2F']);
      expect(await store.folders('f/a/')).toEqual(['c']);
      expect(await store.folders('f/a/c/')).toEqual([]);
      expect(await store.folders('f/none/')).toEqual([]);
      const all = await store.folders('');
      expect(all).toContain('f');
      expect(all.filter((name) => name.startsWith('.'))).toEqual([]);
    });

    test('lists a prefix in key order, and removes', async () => {
      for (const key of ['l/b', 'l/a', 'l/c', 'm/a']) await store.putIfAbsent(key, bytes);
      expect(await keys(store, 'l/')).toEqual(['l/a', 'l/b', 'l/c']);
      await store.remove(['l/a', 'l/c', 'l/none']);
      expect(await keys(store, 'l/')).toEqual(['l/b']);
    });
  });
}

async function keys(store: ObjectStore, prefix: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { key } of store.list(prefix)) found.push(key);
  return found;
}
