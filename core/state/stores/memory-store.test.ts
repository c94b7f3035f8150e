import { expect, test } from '@jest/globals';
import { testStateContract } from '../../../test/contracts/state-contract.ts';
import { Stores } from './stores.ts';

testStateContract({ disk: async () => undefined });

test('entries come in the order of their keys, so that no result depends on when they were set or restored', () => {
  const stores = new Stores([{ name: 'counts', schema: { type: 'long' } }]);
  const counts = stores.store<bigint>('counts');
  for (const key of ['b', 'c', 'a']) counts.set(key, 1n);
  expect([...counts.entries()].map(([key]) => key)).toEqual(['a', 'b', 'c']);
});

test('an entry deleted while entries are gone through is left out, one added is not visited, then the order is new', () => {
  const stores = new Stores([{ name: 'counts', schema: { type: 'long' } }]);
  const counts = stores.store<bigint>('counts');
  for (const key of ['c', 'a', 'b']) counts.set(key, 1n);
  const visited: string[] = [];
  for (const [key] of counts.entries()) {
    visited.push(key);
    counts.delete('b');
    counts.set('d', 1n);
  }
  expect(visited).toEqual(['a', 'c']);
  counts.set('b', 2n);
  expect([...counts.entries()]).toEqual([
    ['a', 1n],
    ['b', 2n],
    ['c', 1n],
    ['d', 1n],
  ]);
});

test('a store that is declared to be on disk has no entries() in a test either', () => {
  const stores = new Stores([{ name: 'counts', schema: { type: 'long' }, disk: { keys: () => [] } }]);
  expect(() => [...stores.store('counts').entries()]).toThrow(TypeError);
});

test('values without a set time, from before a store had a time to live, count from their record in the changelog', () => {
  const before = new Stores([{ name: 'counts', schema: { type: 'long' } }]);
  before.store<bigint>('counts').set('a', 1n);
  const after = new Stores([{ name: 'counts', schema: { type: 'long' }, ttlMs: 1_000 }]);
  for (const { key, value } of before.takeChanges()) after.load(key, value, 5_000_000n);
  after.advance(5_999_999n);
  expect(after.store('counts').get('a')).toBe(1n);
  after.advance(6_000_000n);
  expect(after.store('counts').get('a')).toBeUndefined();
});

test('entries expire in the order in which they were set, also after a restore in another order', () => {
  const stores = new Stores([{ name: 'counts', schema: { type: 'long' }, ttlMs: 1_000 }]);
  const counts = stores.store<bigint>('counts');
  for (const [key, at] of [
    ['b', 3_000_000n],
    ['a', 1_000_000n],
  ] as const) {
    stores.load(Buffer.from(`counts\u0000${key}`), stores.codec('counts').encode(key, 1n, at));
  }
  stores.advance(2_000_000n);
  expect([counts.get('a'), counts.get('b')]).toEqual([undefined, 1n]);
});
