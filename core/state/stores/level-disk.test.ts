import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Owners } from '../fixture.ts';
import { LevelDisks } from './level-disk.ts';

let home = '';
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'millrace-level-disk-'));
});
afterAll(() => rm(home, { recursive: true, force: true }));

const impatient = new LevelDisks({ lockWaitMs: 0 });
const damage: Readonly<Record<string, (file: string) => Promise<void>>> = {
  overwritten: (file) => writeFile(file, 'damaged'),
  gone: (file) => rm(file),
};
const entry = (key: string, text: string) => ({ key, value: Buffer.from(text) });

test('what was written is there when it is opened again, and a range is in the order of the keys', async () => {
  const path = join(home, 'deep', 'ranges');
  const first = await impatient.open(path);
  await first.write([entry('b', '2'), entry('a', '1'), entry('c', '3'), entry('é', '4'), entry('z', '5')]);
  await first.write([{ key: 'c', value: null }]);
  await first.close();
  const second = await impatient.open(path);
  const found: string[] = [];
  for await (const [key, value] of second.range({ after: 'a', before: 'ê' })) found.push(`${key}${value}`);
  expect(found).toEqual(['b2', 'z5', 'é4']);
  expect((await second.getMany(['c', 'a', 'none'])).map((value) => value?.toString())).toEqual([
    undefined,
    '1',
    undefined,
  ]);
  expect([second.getSync('a')?.toString(), second.getSync('c')]).toEqual(['1', undefined]);
  await second.close();
});

test('a directory that another owner has is waited for, then refused as a fault that passes', async () => {
  const path = join(home, 'locked');
  const first = await impatient.open(path);
  await expect(impatient.open(path)).rejects.toMatchObject({ code: 'STATE_DISK', disposition: 'retry' });
  const waiting = new LevelDisks().open(path);
  await first.close();
  await (await waiting).close();
});

test.each(['overwritten', 'gone'])(
  'damaged files (%s) are thrown away: what they held is in the changelog',
  async (how) => {
    const path = join(home, how);
    const first = await impatient.open(path);
    await first.write([entry('a', '1')]);
    await first.close();
    for (const file of await readdir(path)) if (file.startsWith('MANIFEST')) await damage[how]?.(join(path, file));
    const second = await impatient.open(path);
    expect(second.getSync('a')).toBeUndefined();
    await second.write([entry('a', '2')]);
    expect(second.getSync('a')?.toString()).toBe('2');
    await second.close();
  },
);

test('a path that cannot be used is an error with a remedy', async () => {
  const file = join(home, 'file');
  await writeFile(file, '');
  await expect(impatient.open(join(file, 'state'))).rejects.toMatchObject({
    code: 'STATE_DISK',
    remedy: expect.any(String),
  });
});

test('a task goes on from its files, with what was committed and nothing else', async () => {
  const owners = new Owners(
    [{ name: 'counts', schema: { type: 'long' }, disk: { keys: () => [] } }],
    join(home, 'task'),
  );
  const disks = new LevelDisks();
  const first = await owners.next(disks);
  for (let i = 0; i < 1_000; i++) first.store<bigint>().set(`k${i}`, BigInt(i));
  await first.commit();
  first.store<bigint>().set('k1', 0n);
  first.store<bigint>().delete('k2');
  await first.commit({ crash: true });
  first.store<bigint>().set('k3', 0n);
  await first.abort();
  await first.state[Symbol.asyncDispose]();
  const second = await owners.next(disks);
  expect(owners.restored).toEqual({ records: 3, rebuilt: undefined });
  expect(['k1', 'k2', 'k3', 'k999'].map((key) => second.store('counts').get(key))).toEqual([0n, undefined, 3n, 999n]);
  expect(second.state.stores.size).toBe(999);
  await second.state[Symbol.asyncDispose]();
});
