import { expect, test } from '@jest/globals';
import { readable } from './json.ts';

test('numbers that JSON readers round are texts: prices with all digits, instants as ISO 8601, offsets and LSNs as integers', () => {
  expect(
    readable({
      offset: 2n ** 60n,
      rows: 3,
      candle: { open: 12_345n, notional: 1n, window_start: 0n, first_trade_id: 'a', vwap: null },
      revisions: [{ logTime: 1n, input: { from: 1n, to: 2n } }],
      trades: [{ executedAt: 1n, price: -5n }],
    }),
  ).toEqual({
    offset: '1152921504606846976',
    rows: 3,
    candle: {
      open: '0.00012345',
      notional: '0.0000000000000001',
      window_start: '1970-01-01T00:00:00.000000Z',
      first_trade_id: 'a',
      vwap: null,
    },
    revisions: [{ logTime: '1970-01-01T00:00:00.001000Z', input: { from: '1', to: '2' } }],
    trades: [{ executedAt: '1970-01-01T00:00:00.000001Z', price: '-0.00000005' }],
  });
});
