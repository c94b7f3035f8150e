import { describe, expect, test } from '@jest/globals';
import { AvroDecoder } from '../../core/avro/decoder.ts';
import { AvroEncoder } from '../../core/avro/encoder.ts';
import { envelopeSchema, tradeFields, tradeRow } from '../../core/avro/fixtures/debezium.ts';
import { MemorySchemas } from '../../core/avro/memory.ts';
import { schemas as contracts } from '../../schemas/gen/index.ts';
import type { TradeChange } from '../../schemas/gen/trade_change.ts';
import { rowColumns } from './columns.ts';
import { envelopeOf } from './envelope.ts';

const types = new Map([
  ['venue', 'text'],
  ['symbol', 'text'],
  ['trade_id', 'text'],
  ['venue_sequence', 'bigint'],
  ['price', 'numeric'],
  ['size', 'numeric'],
  ['side', 'text'],
  ['executed_at', 'timestamp with time zone'],
  ['conditions', 'text'],
]);

const row = {
  venue: 'bitstamp',
  symbol: 'BTC/USD',
  trade_id: '2041283',
  venue_sequence: '2041283',
  price: '805.17000000',
  size: '1.53846154',
  side: 'unknown',
  executed_at: '2013-11-25 00:00:01.123456+00',
  conditions: null,
};

test('a row of Postgres is written as Debezium writes it, and read by the schema that reads captures', async () => {
  const schemas = new MemorySchemas();
  const schema = envelopeSchema();
  const encoder = await AvroEncoder.open<object>(schemas, 's', schema);
  const decoder = new AvroDecoder<TradeChange>(schemas, contracts.trade_change);
  await decoder.prepare([encoder.schemaId]);
  const source = { name: 'cdc', db: 'millrace', schema: 'public', table: 'trades' };
  const options = {
    ...rowColumns(schema, types),
    source,
    lsn: 1000n,
    place: 991n,
    tx: 7n,
    at: 9n,
    snapshot: 'true',
  } as const;
  const value = envelopeOf({ op: 'u', before: row, after: { ...row, price: '-1' }, logTime: 5_000_001n }, options);
  expect(decoder.decode(encoder.encode(value))).toEqual({
    op: 'u',
    before: tradeRow(),
    after: tradeRow({ price: -100_000_000n }),
    source: { ts_us: 5_000_001n, snapshot: 'true', sequence: '["999","991"]', txId: 7n, lsn: 991n },
  });
});

describe('a column', () => {
  const field = (type: unknown, pgType: string) => {
    const schema = envelopeSchema('t', [{ name: 'x', type }]);
    return rowColumns(schema, new Map([['x', pgType]])).columns[0];
  };
  const decimal = { type: 'bytes', logicalType: 'decimal', precision: 20, scale: 2 };

  test.each([
    ['text', 'string', 'a\tb', 'a\tb', 'a\tb'],
    ['bpchar', 'string', 'ab ', 'ab ', 'ab '],
    [
      'timestamp with time zone',
      ['null', 'string'],
      '2024-02-29 23:59:59+00',
      '2024-02-29T23:59:59.000000Z',
      '2024-02-29T23:59:59.000000Z',
    ],
    ['timestamp without time zone', 'long', '1970-01-01 00:00:01.000002', 1_000_002n, '1970-01-01T00:00:01.000002Z'],
    ['date', 'int', '1970-02-01', 31, '1970-02-01'],
    ['bigint', 'long', '-9223372036854775808', -(2n ** 63n), '-9223372036854775808'],
    ['smallint', 'int', '-7', -7, '-7'],
    ['boolean', 'boolean', 'true', true, 'true'],
    ['double precision', 'double', '0.1', 0.1, '0.1'],
    ['bytea', 'bytes', '\\x00ff', Buffer.from([0, 255]), '\\x00ff'],
    ['numeric', ['null', decimal], '-1.50', -150n, '-1.50'],
  ] as const)('of %s goes there and back', (pgType, type, text, value, back) => {
    const column = field(type, pgType);
    expect(column?.toAvro(text)).toEqual(value);
    expect(column?.toText(value)).toBe(back);
  });

  test('whose way of writing is not known is refused by name, and never guessed', () => {
    expect(() => field('string', 'interval')).toThrow(expect.objectContaining({ code: 'SCHEMA_INCOMPATIBLE' }));
    expect(() => field('string', 'interval')).toThrow('column x: interval as Avro "string"');
  });

  test('that the table does not have any more takes its default, and without one is refused', () => {
    const without = new Map([...types].filter(([name]) => name !== 'conditions'));
    expect(rowColumns(envelopeSchema(), without).defaults).toEqual({ conditions: null });
    const gone = new Map([...types].filter(([name]) => name !== 'price'));
    expect(() => rowColumns(envelopeSchema(), gone)).toThrow('column price was captured');
  });

  test.each([
    ['long', 7, 7n],
    ['int', 7, 7],
    ['bytes', '\u0000\u00ff', Buffer.from([0, 255])],
    [decimal, '\u00ff\u006a', -150n],
    [decimal, '\u0000\u0096', 150n],
  ])('that is gone takes its default as values are written, of %j', (type, standing, value) => {
    const schema = envelopeSchema('t', [{ name: 'x', type, default: standing }]);
    expect(rowColumns(schema, new Map()).defaults).toEqual({ x: value });
  });

  test('that was never captured stays out', () => {
    const { columns } = rowColumns(envelopeSchema(), new Map([...types, ['new', 'text']]));
    expect(columns).toHaveLength(tradeFields.length);
  });
});
