import { describe, expect, test } from '@jest/globals';
import type { TradeRow } from '../schemas/gen/trade_change.ts';
import { readTrade } from './trade.ts';

const ROW: TradeRow = {
  venue: 'bitstamp',
  symbol: 'BTC/USD',
  trade_id: '1',
  venue_sequence: null,
  price: 80_512_345_678n,
  size: 150_000_000n,
  side: 'buy',
  executed_at: '2013-11-25T00:00:01.000002Z',
  conditions: null,
};

describe('a captured row', () => {
  test('keeps its microseconds and its exact notional', () => {
    expect(readTrade(ROW)).toEqual({
      venue: 'bitstamp',
      symbol: 'BTC/USD',
      id: '1',
      sequence: null,
      price: 80_512_345_678n,
      size: 150_000_000n,
      notional: 12_076_851_851_700_000_000n,
      side: 'buy',
      time: 1_385_337_601_000_002,
    });
  });

  test('may have a price of zero or below: spreads and power have', () => {
    expect(readTrade({ ...ROW, price: -3_763_000_000n }).notional).toBe(-3_763_000_000n * 150_000_000n);
  });

  test.each([
    ['a negative size', { size: -1n }],
    ['no venue', { venue: '' }],
    ['no symbol', { symbol: '' }],
    ['no trade id', { trade_id: '' }],
    ['an event time that is none', { executed_at: 'yesterday' }],
    ['an event time of infinity', { executed_at: 'infinity' }],
    ['an event time beyond the year 2255', { executed_at: '2999-01-01T00:00:00Z' }],
  ])('with %s is refused as a bad record', (_, change) => {
    expect(() => readTrade({ ...ROW, ...change })).toThrow(
      expect.objectContaining({ code: 'BAD_RECORD', disposition: 'deadLetter' }),
    );
  });
});
