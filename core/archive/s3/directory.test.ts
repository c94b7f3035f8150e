import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { testStore } from '../../../test/contracts/store-contract.ts';
import { DirectoryStore } from './directory.ts';

let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'millrace-store-'));
});

afterAll(() => rm(directory, { recursive: true }));

testStore('in a directory', async () => new DirectoryStore({ directory, bucket: 'contract' }));

async function opened(bucket: string): Promise<DirectoryStore> {
  const store = new DirectoryStore({ directory, bucket });
  await store.ensureBucket();
  return store;
}

describe('a store in a directory', () => {
  test('has an object as the file of its key, for readers that know nothing of us', async () => {
    const store = await opened('plain');
    await store.putIfAbsent('t/year=2013/x.parquet', Buffer.from('x'));
    expect(await readdir(join(directory, 'plain', 't', 'year=2013'))).toEqual(['x.parquet']);
  });

  test('leaves nothing aside but what is kept with objects, whoever was first', async () => {
    const store = await opened('tidy');
    await Promise.all(['1', '2', '3'].map((text) => store.putIfAbsent('a/b', Buffer.from(text))));
    expect(await readdir(join(directory, 'tidy', '.millrace', 'making'))).toEqual([]);
    await store.remove(['a/b']);
    expect(await readdir(join(directory, 'tidy', '.millrace', 'metadata', 'a'))).toEqual([]);
  });

  test('gives what the winner kept with the object, not what a loser did', async () => {
    const store = await opened('notes');
    await store.putIfAbsent('k', Buffer.from('first'), { metadata: { build: '1' } });
    await store.putIfAbsent('k', Buffer.from('second'), { metadata: { build: '2' } });
    expect(await store.get('k')).toMatchObject({ metadata: { build: '1' } });
  });

  test('drops what a crash left in the making, and not what somebody works on', async () => {
    const store = await opened('orphans');
    const making = join(directory, 'orphans', '.millrace', 'making');
    for (const name of ['old', 'new']) await writeFile(join(making, name), 'part');
    await utimes(join(making, 'old'), 0, 0);
    await store.ensureBucket();
    expect(await readdir(making)).toEqual(['new']);
  });

  test.each(['../x', '/x', 'a//b', 'a/', '.', 'a/../../b', 'a\0', 'a\\b', '.millrace/making/x'])(
    'refuses the key %j, which would be another place',
    async (key) => {
      const store = await opened('keys');
      await expect(store.putIfAbsent(key, Buffer.from('x'))).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    },
  );

  test('that is not mounted is S3_BUCKET_MISSING, and is not made by a write', async () => {
    const gone = new DirectoryStore({ directory: join(directory, 'none'), bucket: 'b' });
    await expect(gone.ensureBucket()).rejects.toMatchObject({ code: 'S3_BUCKET_MISSING' });
    await expect(gone.putIfAbsent('k', Buffer.from('x'))).rejects.toMatchObject({ code: 'S3_BUCKET_MISSING' });
  });

  test('where a folder is in the way is S3_DENIED, and the remedy names the setting', async () => {
    const store = await opened('blocked');
    await mkdir(join(directory, 'blocked', 'a'));
    await writeFile(join(directory, 'blocked', 'file'), 'x');
    await expect(store.putIfAbsent('file/x', Buffer.from('x'))).rejects.toMatchObject({
      code: 'S3_DENIED',
      remedy: expect.stringContaining('MILLRACE_S3_DIRECTORY'),
    });
  });
});
