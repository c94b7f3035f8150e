import { describe, expect, test } from '@jest/globals';
import { AvroDecoder } from '../../../core/avro/decoder.ts';
import { AvroEncoder } from '../../../core/avro/encoder.ts';
import { envelopeSchema, tradeFields, tradeRow } from '../../../core/avro/fixtures/debezium.ts';
import { MemorySchemas } from '../../../core/avro/registry/memory.ts';
import { schemas as contracts } from '../../../schemas/gen/index.ts';
import type { TradeChange } from '../../../schemas/gen/trade_change.ts';
import { envelopeOf } from '../rows/envelope.ts';
import type { ColumnType } from './kind.ts';
import { rowColumns } from './row.ts';

const types = typed([
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

function typed(types: readonly (readonly [string, string, number?])[]): ReadonlyMap<string, ColumnType> {
  return new Map(types.map(([name, type, modifier = -1]) => [name, { type, modifier }]));
}

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
    columns: rowColumns(schema, types).columns,
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
  const shown = (type: unknown, pgType: string, modifier = -1) =>
    rowColumns(envelopeSchema('t', [{ name: 'x', type }]), typed([['x', pgType, modifier]]));
  const decimal = { type: 'bytes', logicalType: 'decimal', precision: 20, scale: 2 };
  const variable = { type: 'record', name: 'VariableScaleDecimal', fields: [] };
  const array = (items: unknown) => ['null', { type: 'array', items: ['null', items] }];

  test.each([
    ['text', 'string', 'a\tb', 'a\tb', 'a\tb'],
    ['bpchar', 'string', 'ab ', 'ab ', 'ab '],
    [
      'timestamp with time zone',
      ['null', 'string'],
      '2024-02-29 23:59:59+00',
      '2024-02-29T23:59:59.000000Z',
      '2024-02-29 23:59:59.000000+00',
    ],
    [
      'timestamp with time zone',
      'string',
      '0044-03-15 00:00:00+00 BC',
      '-0043-03-15T00:00:00.000000Z',
      '0044-03-15 00:00:00.000000+00 BC',
    ],
    [
      'timestamp with time zone',
      'string',
      '12024-01-01 00:00:00.5+00',
      '+12024-01-01T00:00:00.500000Z',
      '12024-01-01 00:00:00.500000+00',
    ],
    ['timestamp with time zone', 'string', 'infinity', 'infinity', 'infinity'],
    ['timestamp without time zone', 'long', '1000002', 1_000_002n, '1000002'],
    ['date', 'int', '31', 31, '31'],
    ['bigint', 'long', '-9223372036854775808', -(2n ** 63n), '-9223372036854775808'],
    ['smallint', 'int', '-7', -7, '-7'],
    ['boolean', 'boolean', 'true', true, 'true'],
    ['double precision', 'double', '0.1', 0.1, '0.1'],
    ['double precision', 'double', '-Infinity', -Infinity, '-Infinity'],
    ['bytea', 'bytes', '\\x00ff', Buffer.from([0, 255]), '\\x00ff'],
    ['numeric', ['null', decimal], '-1.50', -150n, '-1.50'],
    ['numeric', ['null', variable], '-1.50', { scale: 1, value: Buffer.from([0xf1]) }, '-1.5'],
    ['numeric', 'io.debezium.data.VariableScaleDecimal', '200', { scale: 0, value: Buffer.from([0, 0xc8]) }, '200'],
    // Postgres allows these scales and Avro does not, so the bytes stay as they are.
    ['numeric', { ...decimal, precision: 2, scale: 4 }, '0.0012', Buffer.from([12]), '0.0012'],
    ['money', decimal, '12.34', 1234n, '12.34'],
    ['"bit"', 'boolean', '1', true, '1'],
    ['"bit"', 'boolean', '', false, ''],
    ['bit varying', 'bytes', '10101010101', Buffer.from([0x55, 5]), '10101010101'],
    ['bit varying', 'bytes', '', Buffer.alloc(0), ''],
    ['hstore', 'string', '{"9": "a", "10": null, "BB": "ü", "Aa": "\\u001f"}', undefined, undefined],
    ['text[]', array('string'), '{a,NULL,"NULL","q\\"\\\\,{} ",""}', ['a', null, 'NULL', 'q"\\,{} ', ''], undefined],
    ['numeric[]', array(variable), '{1.5,NULL}', [{ scale: 1, value: Buffer.from([15]) }, null], '{"1.5",NULL}'],
    ['bigint[]', array('long'), '{}', [], '{}'],
    ['line', { type: 'record', name: 'Line', fields: [] }, '{1,2.5,-3}', { a: 1, b: 2.5, c: -3 }, '{1,2.5,-3}'],
  ] as const)('of %s goes there and back', (pgType, type, text, value, back) => {
    const [column] = shown(type, pgType).columns;
    if (value !== undefined) expect(column?.toAvro(text)).toEqual(value);
    if (back !== undefined) expect(column?.toText(value)).toBe(back);
    // A written value that is compared as text gives the same value again.
    expect(column?.toAvro(column.toText(column.toAvro(text)))).toEqual(column?.toAvro(text));
  });

  test('of hstore has its keys in the order of a Java HashMap, and escapes of Jackson', () => {
    const [column] = shown('string', 'hstore').columns;
    expect(column?.toAvro('{"9": "a", "10": null, "BB": "ü", "Aa": "\\u001f"}')).toBe(
      '{"Aa":"\\u001F","BB":"ü","9":"a","10":null}',
    );
  });

  test('of timestamps has as many digits as its type', () => {
    const [column] = shown('string', 'timestamp with time zone', 3).columns;
    expect(column?.toAvro('2024-02-29 23:59:59.12+00')).toBe('2024-02-29T23:59:59.120Z');
    const [whole] = shown('string', 'timestamp with time zone', 0).columns;
    expect(whole?.toAvro('2024-02-29 23:59:59+00')).toBe('2024-02-29T23:59:59Z');
  });

  test('of timestamps of up to three digits is in milliseconds', () => {
    const [column] = shown('long', 'timestamp without time zone', 3).columns;
    expect(column?.toAvro('1709251199123000')).toBe(1_709_251_199_123n);
    expect(column?.toText(1_709_251_199_123n)).toBe('1709251199123000');
    for (const bound of ['9223372036854775807', '-9223372036854775808']) {
      expect(column?.toText(column.toAvro(bound))).toBe(bound);
    }
    expect(shown('long', 'timestamp without time zone', 6).columns[0]?.toAvro('7')).toBe(7n);
  });

  test('of a type that fails the task is null in every row, and any other value is refused', () => {
    const [column] = shown('bytes', '"bit"[]').columns;
    expect(() => column?.toAvro('{101}')).toThrow('Debezium cannot write {101}');
  });

  test('with NaN is refused', () => {
    for (const type of [decimal, variable]) {
      expect(() => shown(type, 'numeric').columns[0]?.toAvro('NaN')).toThrow('no decimal');
    }
  });

  test('whose way of writing is not known is refused by name, with all others, and never guessed', () => {
    const envelope = envelopeSchema('t', [
      { name: 'x', type: 'bytes' },
      { name: 'y', type: ['null', 'int'] },
      { name: 'z', type: 'string' },
      { name: 'gone', type: 'long' },
    ]);
    const { columns, refused } = rowColumns(
      envelope,
      typed([
        ['x', 'public.vector'],
        ['y', 'bigint'],
        ['z', 'text'],
      ]),
    );
    expect(columns.map(({ name }) => name)).toEqual(['z']);
    expect(refused.map(({ name, reason }) => `${name} ${reason}`)).toEqual([
      'x of type public.vector is captured as Avro bytes, and recapture does not know how Debezium converts it',
      'y is of type bigint now, and was captured as Avro int',
      'gone was captured, has no default and is not in the table any more',
    ]);
    for (const { remedy } of refused) expect(remedy).toMatch(/column/);
  });

  test.each([
    ['long', 7, 7n],
    ['int', 7, 7],
    ['bytes', '\u0000\u00ff', Buffer.from([0, 255])],
    [decimal, '\u00ff\u006a', -150n],
    [decimal, '\u0000\u0096', 150n],
    [['null', 'string'], null, null],
    [{ type: 'array', items: 'long' }, [1], [1n]],
  ])('that is gone takes its default as values are written, of %j', async (type, standing, value) => {
    const schemas = new MemorySchemas();
    const schema = envelopeSchema('t', [{ name: 'x', type, default: standing }]);
    const encoder = await AvroEncoder.open<object>(schemas, 's', schema);
    const decoder = new AvroDecoder<{ after: object }>(schemas, null);
    await decoder.prepare([encoder.schemaId]);
    const { columns } = rowColumns(schema, new Map());
    const difference = { op: 'r', before: null, after: {}, logTime: 1n } as const;
    const source = { name: 'cdc', db: 'millrace', schema: 'public', table: 't' };
    const at = { lsn: 1n, place: 1n, tx: 1n, at: 1n, snapshot: 'true', source } as const;
    expect(decoder.decode(encoder.encode(envelopeOf(difference, { columns, ...at }))).after).toEqual({ x: value });
  });

  test('that was never captured stays out', () => {
    const { columns } = rowColumns(envelopeSchema(), new Map([...types, ['new', { type: 'text', modifier: -1 }]]));
    expect(columns).toHaveLength(tradeFields.length);
  });
});
