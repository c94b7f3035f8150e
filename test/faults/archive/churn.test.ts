import { expect, test } from '@jest/globals';
import { Churn, type ChurnOptions, type ChurnTrade, type Holding, type Statement } from './churn.ts';
import { compareHoldings } from './sessions.ts';

const options: ChurnOptions = { seed: 7, changes: 20_000, symbols: 5, start: 0n, span: 86_400_000_000n };

function transactions(over: Partial<ChurnOptions> = {}): { all: (readonly Statement[])[]; churn: Churn } {
  const churn = new Churn({ ...options, ...over });
  const all: (readonly Statement[])[] = [];
  for (let next = churn.next(); next !== undefined; next = churn.next()) all.push(next);
  return { all, churn };
}

test('the same seed gives the same transactions, another one gives others', () => {
  expect(transactions().all).toEqual(transactions().all);
  expect(transactions({ seed: 8 }).all).not.toEqual(transactions().all);
});

test('there are as many changes as were asked for, of all kinds, in transactions of mixed sizes, of all symbols', () => {
  const { all } = transactions();
  const count = (kind: string) =>
    all.flat().reduce((sum, statement) => sum + (statement.kind === kind ? statement.trades.length : 0), 0);
  const counts = ['insert', 'update', 'delete'].map(count);
  expect(counts.reduce((a, b) => a + b)).toBe(options.changes);
  for (const each of counts) expect(each).toBeGreaterThan(options.changes / 20);
  const sizes = all.map((statements) => statements.reduce((sum, { trades }) => sum + trades.length, 0));
  expect(Math.min(...sizes)).toBeLessThanOrEqual(10);
  expect(Math.max(...sizes)).toBeGreaterThan(500);
  expect(new Set(all.flat().flatMap(({ trades }) => trades.map(({ symbol }) => symbol))).size).toBe(options.symbols);
});

test('each statement meets the rows that are there, and the holdings are what the transactions come to', () => {
  const { all, churn } = transactions();
  const rows = new Map<number, ChurnTrade>();
  const seen = new Set<number>();
  let back = 0;
  const wrong: ChurnTrade[] = [];
  for (const { kind, trades } of all.flat()) {
    if (new Set(trades.map(({ number }) => number)).size !== trades.length) wrong.push(...trades);
    for (const trade of trades) {
      const { number } = trade;
      if (rows.has(number) === (kind === 'insert')) wrong.push(trade);
      if (kind === 'insert' && seen.has(number)) back++;
      seen.add(number);
      if (kind === 'delete') rows.delete(number);
      else rows.set(number, trade);
    }
  }
  expect(wrong).toEqual([]);
  expect(back).toBeGreaterThan(0);
  const held = new Map<string, Holding>();
  for (const { symbol, price, size } of rows.values()) {
    const sum = held.get(symbol) ?? { rows: 0, price: 0n, size: 0n };
    held.set(symbol, { rows: sum.rows + 1, price: sum.price + BigInt(price), size: sum.size + BigInt(size) });
  }
  expect(churn.holdings()).toEqual(held);
});

test('a symbol that differs in a row, a price or a size, or that is gone or made up, is named', () => {
  const expected = new Map<string, Holding>([
    ['v A', { rows: 2, price: 12_345n, size: 1n }],
    ['v B', { rows: 1, price: 1n, size: 1n }],
  ]);
  const same = [
    ['v', 'A', '2', '123.45000000', '0.00000100'],
    ['v', 'B', '1', '0.01000000', '0.00000100'],
  ];
  expect(compareHoldings(expected, same)).toEqual([]);
  expect(compareHoldings(expected, [['v', 'A', '2', '123.45000001', '0.00000100']])).toEqual([
    'v A has 2 rows, prices 123.45000001, sizes 0.00000100, and should have 2 rows, prices 123.45000000, sizes 0.00000100',
    'v B has no rows',
  ]);
  expect(compareHoldings(expected, [...same, ['v', 'C', '1', '1.00000000', '1.00000000']])).toEqual([
    'v C has 1 rows, prices 1.00000000, sizes 1.00000000, and should have 0 rows, prices 0.00000000, sizes 0.00000000',
  ]);
});
