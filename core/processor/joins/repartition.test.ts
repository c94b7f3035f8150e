import { expect, test } from '@jest/globals';
import { partitionOf } from '../../capture/routing.ts';
import { byFields } from './repartition.ts';

test('an output that is routed by venue and symbol goes where the connector routes the trades of that venue and symbol', () => {
  const values = byFields('venue', 'symbol')({ symbol: 'BTC/USD', venue: 'bitstamp', as_of: 1n });
  expect(values).toEqual(['bitstamp', 'BTC/USD']);
  expect(partitionOf(values, 6)).toBe(partitionOf(['bitstamp', 'BTC/USD'], 6));
});

test('a key without the field is a mistake of the processor', () => {
  expect(() => byFields('venue')({ symbol: 'BTC/USD' })).toThrow('routed by venue');
});
