import { expect, test } from '@jest/globals';
import fc from '../../test/support/property.ts';
import { type Assignment, assignSticky } from './assignment.ts';

const sizes = (assignments: Map<string, Assignment>) =>
  [...assignments.values()].map((each) => each['a']?.length ?? 0).sort();

test('partitions are spread evenly over new members', () => {
  const assigned = assignSticky(
    new Map([['a', 6]]),
    new Map([
      ['m1', {}],
      ['m2', {}],
      ['m3', {}],
      ['m4', {}],
    ]),
  );
  expect(sizes(assigned)).toEqual([1, 1, 2, 2]);
});

test('a joining member takes only its share, and nobody else moves', () => {
  const assigned = assignSticky(
    new Map([['a', 6]]),
    new Map([
      ['m1', { a: [0, 1, 2] }],
      ['m2', { a: [3, 4, 5] }],
      ['m3', {}],
    ]),
  );
  expect(assigned.get('m1')?.['a']).toEqual([0, 1]);
  expect(assigned.get('m2')?.['a']).toEqual([3, 4]);
  expect(assigned.get('m3')?.['a']).toEqual([2, 5]);
});

test('partitions of the same number of several topics go to the same member', () => {
  const assigned = assignSticky(
    new Map([
      ['a', 3],
      ['b', 2],
    ]),
    new Map([
      ['m1', {}],
      ['m2', {}],
    ]),
  );
  for (const { a = [], b = [] } of assigned.values() as Iterable<{ a?: number[]; b?: number[] }>) {
    expect(b).toEqual(a.filter((partition) => partition < 2));
  }
});

test('whatever the claims, each partition has exactly one owner and loads differ by at most one', () => {
  const claim = fc.array(fc.nat(11), { maxLength: 12 });
  fc.assert(
    fc.property(fc.nat(12), fc.array(claim, { minLength: 1, maxLength: 6 }), (count, claims) => {
      const assigned = assignSticky(new Map([['a', count]]), new Map(claims.map((a, i) => [`m${i}`, { a }])));
      const all = [...assigned.values()].flatMap((each) => each['a'] ?? []).sort((x, y) => x - y);
      expect(all).toEqual(Array.from({ length: count }, (_, i) => i));
      const loads = [...assigned.values()].map((each) => each['a']?.length ?? 0);
      expect(Math.max(...loads) - Math.min(...loads)).toBeLessThanOrEqual(1);
    }),
  );
});
