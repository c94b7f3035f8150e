import { createHash } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { isError, MillraceError } from '../../base/errors.ts';
import { MemoryStore } from './memory.ts';
import { type Once, putOnce } from './put-once.ts';

function once(text: string, over: Partial<Once> = {}): Once {
  const bytes = Buffer.from(text);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  return { key: 'a/b', bytes, sha256, content: { rows: '3', 'row-hash': 'ff' }, build: '1/zstd-1', ...over };
}

async function failure(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => undefined,
    (error: unknown) => error,
  );
}

describe('storing once', () => {
  test('creates the object, and finds it there the second time', async () => {
    const store = new MemoryStore();
    const object = once('rows');
    expect(await putOnce(store, object)).toEqual({ sha256: object.sha256, bytes: 4, created: true });
    expect(await putOnce(store, object)).toEqual({ sha256: object.sha256, bytes: 4, created: false });
    expect(store.objects.size).toBe(1);
  });

  test('that lost its answer is found there by the next try', async () => {
    const store = new MemoryStore();
    store.fault({ kind: 'after', error: new MillraceError('S3_UNREACHABLE', 'lost') });
    expect(isError(await failure(putOnce(store, once('rows'))), 'S3_UNREACHABLE')).toBe(true);
    expect(await putOnce(store, once('rows'))).toMatchObject({ created: false });
  });

  test('stops at other bytes and leaves them as they are', async () => {
    const store = new MemoryStore();
    await putOnce(store, once('rows'));
    const error = await failure(putOnce(store, once('other')));
    expect(isError(error, 'S3_CONFLICT')).toBe(true);
    expect((error as MillraceError).remedy).toBeDefined();
    expect((await store.get('a/b'))?.bytes.toString()).toBe('rows');
  });

  test('takes other bytes of another build for the same when their content is, and tells their own hash', async () => {
    const store = new MemoryStore();
    const first = once('rows, compressed by an older zstd', { build: '1/zstd-0' });
    await putOnce(store, first);
    expect(await putOnce(store, once('rows'))).toEqual({
      sha256: first.sha256,
      bytes: first.bytes.length,
      created: false,
    });
  });

  test('never takes another build for the same when rows or row hash differ', async () => {
    const store = new MemoryStore();
    await putOnce(store, once('x', { build: '1/zstd-0', content: { rows: '3', 'row-hash': 'fe' } }));
    expect(isError(await failure(putOnce(store, once('rows'))), 'S3_CONFLICT')).toBe(true);
  });
});
