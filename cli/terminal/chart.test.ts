import { expect, test } from '@jest/globals';
import { chart } from './chart.ts';

const options = { height: 4, color: false, label: (price: number) => price.toFixed(1) };

test('bodies span open to close and wicks reach high and low', () => {
  const lines = chart(
    [
      { open: 2, high: 8, low: 0, close: 6 },
      { open: 6, high: 6, low: 4, close: 4 },
    ],
    options,
  );
  expect(lines).toEqual(['7.0 ┤│', '5.0 ┤██', '3.0 ┤█', '1.0 ┤│']);
});

test('a market that does not move is one line, and no candles are no lines', () => {
  expect(chart([{ open: 5, high: 5, low: 5, close: 5 }], options)[0]).toContain('▀');
  expect(chart([], options)).toEqual([]);
});
