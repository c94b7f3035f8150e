import { expect, test } from '@jest/globals';
import fc from '../../test/support/property.ts';
import { javaHash, partitionOf } from './routing.ts';

test('javaHash is the hash that the Java language specifies', () => {
  expect(javaHash('')).toBe(0);
  expect(javaHash('Hello, World!')).toBe(1498789909);
  expect(javaHash('polygenelubricants')).toBe(-2147483648);
  expect(javaHash('BTC-USD')).toBe(913850314);
  expect(javaHash('\u{1F600}')).toBe(1772899);
});

test('a partition is in range for any text', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: 'binary' }),
      fc.string({ unit: 'binary' }),
      fc.integer({ min: 1, max: 64 }),
      (venue, symbol, count) => {
        const partition = partitionOf([venue, symbol], count);
        return Number.isInteger(partition) && partition >= 0 && partition < count;
      },
    ),
  );
});

test('a negative sum loses its sign bit, as in the transform, and is not made positive', () => {
  expect(partitionOf(['polygenelubricants', ''], 6)).toBe(0);
  expect(partitionOf(['polygenelubricants', 'a'], 6)).toBe(97 % 6);
});

test('the order of the values does not matter, an empty list has a partition too', () => {
  expect(partitionOf(['a', 'b'], 7)).toBe(partitionOf(['b', 'a'], 7));
  expect(partitionOf([], 7)).toBe(0);
});
