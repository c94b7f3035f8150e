import { expect, test } from '@jest/globals';
import { describeLine, differing, TallyBook } from './tally.ts';

const most = (1n << 64n) - 1n;

test('places stand side by side by day and partition, in order, and one that has nothing has no rows', () => {
  const book = new TallyBook('kafka', 'archive');
  book.add('archive', { day: '2013-11-26', partition: 0, rows: 1n, hash: 7n });
  book.add('kafka', { day: '2013-11-25', partition: 10, rows: 2n, hash: 3n });
  book.add('kafka', { day: '2013-11-25', partition: 2, rows: 5n, hash: 4n });
  const none = { rows: 0, rowHash: '0000000000000000' };
  expect(book.tallies('trades', 'data')).toEqual({
    table: 'trades',
    columns: 'data',
    lines: [
      { day: '2013-11-25', partition: 2, places: { kafka: { rows: 5, rowHash: '0000000000000004' }, archive: none } },
      { day: '2013-11-25', partition: 10, places: { kafka: { rows: 2, rowHash: '0000000000000003' }, archive: none } },
      { day: '2013-11-26', partition: 0, places: { kafka: none, archive: { rows: 1, rowHash: '0000000000000007' } } },
    ],
  });
});

test('portions are added up modulo 2^64, by line and in total', () => {
  const book = new TallyBook('postgres');
  book.add('postgres', { day: '2013-11-25', partition: 0, rows: 2n, hash: most });
  book.add('postgres', { day: '2013-11-25', partition: 0, rows: 3n, hash: 2n });
  book.add('postgres', { day: '2013-11-26', partition: 0, rows: 1n, hash: most });
  const [line] = book.tallies('trades', 'data').lines;
  expect(line?.places.postgres).toEqual({ rows: 5, rowHash: '0000000000000001' });
  expect(book.total('postgres')).toEqual({ rows: 6n, hash: 0n });
});

test('a line differs by its rows, or by their hash alone, and is described in words', () => {
  const book = new TallyBook('kafka', 'hotStore');
  book.addAll('kafka', [
    { day: '2013-11-25', partition: 0, rows: 2n, hash: '5' },
    { day: '2013-11-26', partition: 0, rows: 2n, hash: '5' },
    { day: '2013-11-27', partition: 0, rows: 2n, hash: '5' },
  ]);
  book.addAll('hotStore', [
    { day: '2013-11-25', partition: 0, rows: 2n, hash: '5' },
    { day: '2013-11-26', partition: 0, rows: 2n, hash: '6' },
    { day: '2013-11-27', partition: 0, rows: 3n, hash: '5' },
    { day: '2013-11-27', partition: null, rows: 1n, hash: '1' },
  ]);
  expect(differing(book.tallies('hot.candles', 'data')).map(describeLine)).toEqual([
    '2013-11-26, partition 0: kafka 2 rows 0000000000000005, hotStore 2 rows 0000000000000006',
    '2013-11-27, no partition: kafka 0 rows 0000000000000000, hotStore 1 rows 0000000000000001',
    '2013-11-27, partition 0: kafka 2 rows 0000000000000005, hotStore 3 rows 0000000000000005',
  ]);
});
