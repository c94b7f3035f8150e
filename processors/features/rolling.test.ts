import { expect, test } from '@jest/globals';
import fc from '../../test/support/property.ts';
import { addVolume, type Bucket, bucketOf, edgesOf } from './profile.ts';
import { roundedRoot } from './rolling.ts';

test('a root is the nearest result: no other is nearer, and half way goes up', () => {
  expect(roundedRoot(2_000_000n, 6, 0)).toBe(1n);
  expect(roundedRoot(2_250_000n, 6, 0)).toBe(2n);
  expect(roundedRoot(2_249_999n, 6, 0)).toBe(1n);
  expect(roundedRoot(2n * 10n ** 36n, 36, 8)).toBe(141_421_356n);
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 10n ** 60n }), (units) => {
      // The root r at scale 8 of units at scale 36: (r − 1/2)² ≤ units / 10^20 < (r + 1/2)².
      const root = roundedRoot(units, 36, 8);
      const four = 4n * units;
      expect(four < (2n * root + 1n) ** 2n * 10n ** 20n).toBe(true);
      expect(root === 0n || four >= (2n * root - 1n) ** 2n * 10n ** 20n).toBe(true);
    }),
  );
});

test('every price is in the bucket that it names, and buckets do not overlap', () => {
  const price = fc.bigInt({ min: -(10n ** 20n) + 1n, max: 10n ** 20n - 1n });
  fc.assert(
    fc.property(price, price, fc.integer({ min: 1, max: 8 }), (a, b, digits) => {
      const [low, high] = [bucketOf(a, digits), bucketOf(b, digits)];
      expect(bucketOf(low, digits)).toBe(low);
      const [from, to] = edgesOf(low, digits);
      expect(a === 0n ? from === 0n && to === 0n : a > 0n ? from <= a && a < to : from < a && a <= to).toBe(true);
      if (low !== high) {
        const [otherFrom, otherTo] = edgesOf(high, digits);
        expect(to <= otherFrom || otherTo <= from).toBe(true);
      }
    }),
  );
});

test('volumes that are added and taken away again leave what the rest gives, in order', () => {
  const trade = fc.record({ edge: fc.bigInt({ min: -5n, max: 5n }), volume: fc.bigInt({ min: 0n, max: 9n }) });
  fc.assert(
    fc.property(fc.array(trade), fc.array(trade), (stay, go) => {
      const [buckets, wanted]: [Bucket[], Bucket[]] = [[], []];
      for (const { edge, volume } of [...go, ...stay]) addVolume(buckets, edge, volume);
      for (const { edge, volume } of go) addVolume(buckets, edge, -volume);
      for (const { edge, volume } of stay) addVolume(wanted, edge, volume);
      expect(buckets).toEqual(wanted);
      expect(wanted.map(({ edge }) => edge)).toEqual(
        wanted.map(({ edge }) => edge).toSorted((a, b) => (a < b ? -1 : 1)),
      );
    }),
  );
});
