import { expect, test } from '@jest/globals';
import type { Findings } from '../../storage/load/findings.ts';
import { describeFindings, describeLate } from './load-findings.ts';

const at = Date.UTC(2024, 0, 1);
const findings: Findings = {
  format: 'auto',
  headed: true,
  columns: [
    { name: 'time', field: 'executed_at' },
    { name: 'price', field: 'price' },
    { name: 'amount', field: 'size' },
    { name: 'note', note: 'no known meaning' },
  ],
  given: { venue: 'v', symbol: 's' },
  madeIds: true,
  rows: 3,
  symbols: 1,
  from: at,
  to: at + 60_000,
  order: { back: 0, late: [], worstBackMs: 0, newestFirst: false, sorted: false },
  late: [],
  rejected: 0,
  rejects: [],
  rejectFile: null,
};

test('the findings of a file name each column, the generated values, and the reasons of rejected rows', () => {
  const rejects = [{ kind: 'price is empty', count: 2, line: 4, reason: 'price is empty' }];
  expect(describeFindings({ ...findings, rejected: 2, rejects, rejectFile: 'r.csv' })).toEqual([
    'format    by the names of the columns',
    'columns   price, size = amount, executed_at = time',
    'ignored   note (no known meaning)',
    'all rows  venue v, symbol s',
    'side      unknown: the file has none',
    'ids       generated from time, price, size and their count: the file has none',
    'rows      3 of 1 symbol, 2024-01-01T00:00:00.000Z to 2024-01-01T00:01:00.000Z',
    'rejected  2 rows, in r.csv:',
    '          2 × price is empty; first in line 4',
  ]);
});

test('a file that was not compared with Postgres says so', () => {
  expect(describeFindings({ ...findings, late: null }).at(-1)).toBe('late      not compared with what Postgres has');
});

test('late trades come with the commands that rebuild their candles, over both kinds of lateness', () => {
  const late = { venue: 'v', symbol: "a b'c", trades: 2, from: at, to: at + 1_000 };
  const order = { ...findings.order, late: [{ ...late, to: at + 5_000 }] };
  expect(describeLate({ ...findings, order, late: [late] }).slice(1)).toEqual([
    `  millrace rebuild ohlcv --venue v --symbol 'a b'\\''c' --from 2024-01-01T00:00:00.000Z --to 2024-01-01T00:00:05.001Z`,
  ]);
  expect(describeLate({ ...findings, order: { ...order, sorted: true } })).toEqual([]);
});
