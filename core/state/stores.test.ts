import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Stores } from './stores.ts';

const definitions = [{ name: 'counts', schema: { type: 'long' } }];
const text = (changes: { key: Buffer; value: Buffer | null }[]) =>
  changes.map(({ key, value }) => `${key.toString().split('\u0000')[1]}=${value === null ? 'gone' : 'value'}`);

test('what was created and deleted between two commits is not in the changelog', () => {
  const stores = new Stores(definitions);
  const counts = stores.store<bigint>('counts');
  counts.set('a', 1n);
  counts.set('b', 1n);
  counts.delete('b');
  expect(text(stores.takeChanges())).toEqual(['a=value']);
  counts.delete('a');
  expect(text(stores.takeChanges())).toEqual(['a=gone']);
  counts.set('a', 1n);
  counts.delete('a');
  expect(stores.takeChanges()).toEqual([]);
});

test('what the changelog adds up to is what the store holds, after any changes and commits', () => {
  const step = fc.record({
    key: fc.constantFrom('a', 'b', 'c'),
    to: fc.option(fc.bigInt(0n, 9n)),
    commit: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const stores = new Stores(definitions);
      const restored = new Stores(definitions);
      const counts = stores.store<bigint>('counts');
      const replay = () => {
        for (const { key, value } of stores.takeChanges()) restored.load(key, value);
      };
      for (const { key, to, commit } of steps) {
        if (to === null) counts.delete(key);
        else counts.set(key, to);
        if (commit) replay();
      }
      replay();
      const entries = (of: Stores) => [...of.store<bigint>('counts').entries()].sort();
      expect(entries(restored)).toEqual(entries(stores));
    }),
  );
});
