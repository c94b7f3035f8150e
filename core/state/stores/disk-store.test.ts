import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { testStateContract } from '../../../test/contracts/state-contract.ts';
import type { InputRecord } from '../../processor/define.ts';
import { MemoryDisks } from '../../testing/memory-disk.ts';
import { LevelDisks } from './level-disk.ts';
import { Stores } from './stores.ts';

let path = '';
let opened = 0;
beforeAll(async () => {
  path = await mkdtemp(join(tmpdir(), 'millrace-disk-store-'));
});
afterAll(() => rm(path, { recursive: true, force: true }));

const next = () => join(path, `${opened++}`);

describe('in memory', () => testStateContract({ disk: () => new MemoryDisks().open(next()) }));
describe('LevelDB', () => testStateContract({ disk: () => new LevelDisks().open(next()) }));

const record = (value: string): InputRecord<string> => ({
  value,
  topic: 'input',
  partition: 0,
  offset: 0n,
  logTime: 0n,
  lsn: null,
});
const definition = {
  name: 'counts',
  schema: { type: 'long' },
  disk: { keys: (each: InputRecord<string>) => [each.value] },
};

test('the keys that a batch names are read ahead; others are read synchronously, and counted', async () => {
  const disk = await new MemoryDisks().open('state');
  const stores = new Stores([definition], disk);
  const counts = stores.store<bigint>('counts');
  for (const key of ['a', 'b', 'c']) counts.set(key, 1n);
  stores.takeChanges();
  await disk.write(stores.committing().operations);
  stores.committed();
  await stores.fetch([record('a'), record('b')]);
  const before = stores.misses;
  expect([counts.get('a'), counts.get('b')]).toEqual([1n, 1n]);
  expect(stores.misses).toBe(before);
  expect(counts.get('c')).toBe(1n);
  expect(counts.get('c')).toBe(1n);
  expect(stores.misses).toBe(before + 1);
});

test('nothing is on the disk before it is committed', async () => {
  const disk = await new MemoryDisks().open('state');
  const stores = new Stores([definition], disk);
  const counts = stores.store<bigint>('counts');
  counts.set('a', 1n);
  stores.takeChanges();
  counts.set('a', 2n);
  counts.set('b', 2n);
  const { operations, sizes } = stores.committing();
  await disk.write(operations);
  stores.committed();
  const left = new Stores([definition], disk);
  left.resume(sizes);
  expect([left.store('counts').get('a'), left.store('counts').get('b'), left.size]).toEqual([1n, undefined, 1]);
});

test('a store on disk refuses to list its entries to a fold', async () => {
  const stores = new Stores([definition], await new MemoryDisks().open('state'));
  expect(() => stores.store('counts').entries()).toThrow('counts is a store on disk');
});

test('a key has one due time on the disk, however often it is set', async () => {
  const disk = await new MemoryDisks().open('state');
  const stores = new Stores([{ ...definition, ttlMs: 1_000 }], disk);
  const counts = stores.store<bigint>('counts');
  for (const at of [1n, 2n, 3n]) {
    stores.advance(at);
    counts.set('a', at);
    stores.advance(at + 10n);
    counts.set('a', at);
    stores.takeChanges();
    await disk.write(stores.committing().operations);
    stores.committed();
  }
  const due: string[] = [];
  for await (const [key] of disk.range({ after: 't', before: 'u' })) due.push(key);
  expect(due).toEqual(['tcounts\u00000000000000000000013a']);
});
