import { expect, test } from '@jest/globals';
import { renderValue } from './render.ts';

const price = { type: 'bytes', logicalType: 'decimal', precision: 38, scale: 8 };

test('longs are decimal strings, decimals have their point, timestamps are dates, bytes hexadecimal', () => {
  const schema = {
    type: 'record',
    name: 'row',
    fields: [
      { name: 'id', type: 'long' },
      { name: 'price', type: ['null', price] },
      { name: 'at', type: { type: 'long', logicalType: 'timestamp-micros' } },
      { name: 'raw', type: 'bytes' },
      { name: 'open', type: 'boolean' },
    ],
  };
  const value = {
    id: 2n ** 62n,
    price: 12_345_678_901n,
    at: 1_385_337_600_000_001n,
    raw: Buffer.of(0, 255),
    open: true,
  };
  expect(renderValue(schema, value)).toEqual({
    id: '4611686018427387904',
    price: '123.45678901',
    at: '2013-11-25T00:00:00.000001Z',
    raw: '00ff',
    open: true,
  });
  expect(renderValue(schema, { ...value, price: null })).toMatchObject({ price: null });
});

test('what lies deeper is shown by its own schema, types used again by name included', () => {
  const side = { type: 'record', name: 'side', fields: [{ name: 'price', type: price }] };
  const schema = {
    type: 'record',
    name: 'book',
    fields: [
      { name: 'bid', type: side },
      { name: 'asks', type: { type: 'array', items: 'side' } },
      { name: 'depth', type: { type: 'map', values: ['null', 'side', 'string'] } },
    ],
  };
  const value = { bid: { price: 1n }, asks: [{ price: 2n }], depth: { near: { price: -3n }, far: null, text: 'none' } };
  expect(renderValue(schema, value)).toEqual({
    bid: { price: '0.00000001' },
    asks: [{ price: '0.00000002' }],
    depth: { near: { price: '-0.00000003' }, far: null, text: 'none' },
  });
});
