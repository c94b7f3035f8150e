import { expect, test } from '@jest/globals';
import { Journal } from './journal.ts';

const at = (next: bigint) => ({ next, logTime: 1n });

test('records of a table that follow each other are one entry, unless a record of the input is between, or one of theirs is left out', () => {
  const journal = new Journal(['input']);
  const orders = (from: bigint, to: bigint, next: bigint) => journal.table({ topic: 'orders', from, to }, 0, at(next));
  orders(0n, 1n, 5n);
  orders(1n, 2n, 5n);
  orders(2n, 3n, 9n);
  orders(4n, 4n, 9n);
  orders(4n, 6n, 9n);
  const entries = journal.take().map(({ from_offset: from, to_offset: to, next_offset: next }) => [from, to, next]);
  expect(entries).toEqual([
    [0n, 2n, 5n],
    [2n, 3n, 9n],
    [4n, 6n, 9n],
  ]);
});
