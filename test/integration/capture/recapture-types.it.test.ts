/** Every type of Postgres: what recapture writes of a row is what Debezium writes of it. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { applyConnector } from '../../../connectors/apply.ts';
import { recapture } from '../../../connectors/recapture/recapture.ts';
import { dropSlot } from '../../../connectors/recapture/slot.ts';
import { AvroDecoder } from '../../../core/avro/decoder.ts';
import { noMasks } from '../../../core/capture/masks.ts';
import { literal } from '../../../core/values/sql.ts';
import { type TestCapture, testCapture } from '../../support/capture.ts';
import { Captured } from '../../support/captured.ts';
import { eventually } from '../../support/patience.ts';

/** Columns by type, with values at the edges. */
const types: Readonly<Record<string, readonly string[]>> = {
  smallint: ['-32768', '7'],
  integer: ['-2147483648'],
  bigint: ['9223372036854775807', '-9223372036854775808'],
  oid: ['4294967295'],
  'numeric(10,2)': ['-1.5', '99999999.99'],
  'numeric(5,0)': ['-12345'],
  'numeric(3,-2)': ['12300'],
  'numeric(2,4)': ['0.0012', '-0.0012'],
  'numeric(60,5)': ['1234567890123456789012345678901234567890.12345'],
  numeric: [
    ...['1.50', '-0.000', '1e20', '-123456789012345678901234567890.123456789', '0', '1.0E-10', '100', '-128', '128'],
    '1e2000',
  ],
  real: ['0.1', 'NaN', 'Infinity', '-Infinity', '-0', '3.4028235e38', '1e-45'],
  'double precision': ['0.1', 'NaN', 'Infinity', '-Infinity', '-0', '5e-324'],
  money: ['12.34', '-92233720368547758.08', '92233720368547758.07'],
  text: ['', 'ü😀\n\\"'],
  'varchar(10)': ['a '],
  'char(5)': ['ab'],
  '"char"': ['x'],
  name: ['abc'],
  citext: ['AbC'],
  uuid: ['A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'],
  boolean: ['t', 'f'],
  bytea: ['\\x00ff', '\\x'],
  date: [
    ...['2024-02-29', '0001-01-01', '5874897-12-31', '1500-03-01', '1582-10-10', '0044-03-15 BC', '4713-01-01 BC'],
    ...['infinity', '-infinity'],
  ],
  time: ['00:00:00', '23:59:59.999999', '24:00:00', '12:00:00.1'],
  'time(3)': ['12:00:00.123'],
  timetz: [
    '12:00:00+02',
    '01:00:00.1+05:30',
    '24:00:00+00',
    '23:59:59.999999-12',
    '00:00:00.000001+15:59',
    '24:00:00+02',
  ],
  'timetz(2)': ['12:00:00.10+02'],
  timestamp: [
    ...['2024-02-29 23:59:59.123456', '1500-03-01 00:00:00', '0001-01-01 00:00:00', '1969-12-31 23:59:59.999999'],
    ...['12024-01-01 00:00:00', '0044-03-15 00:00:00 BC', 'infinity', '-infinity', '294276-12-31 00:00:00'],
    '4713-01-01 00:00:00 BC',
  ],
  'timestamp(3)': ['2024-02-29 23:59:59.123'],
  'timestamp(0)': ['2024-02-29 23:59:59'],
  timestamptz: [
    ...['2024-02-29 23:59:59.123456+02', '1500-03-01 00:00:00+00', '0001-01-01 00:00:00+00', '2024-01-01 00:00:00+00'],
    ...['12024-01-01 00:00:00+00', '0044-03-15 00:00:00+00 BC', '0001-06-01 00:00:00+00 BC', 'infinity', '-infinity'],
    ...['294276-12-31 00:00:00+00', '4713-01-01 00:00:00+00 BC'],
  ],
  'timestamptz(0)': ['2024-02-29 23:59:59+02'],
  'timestamptz(3)': ['2024-02-29 23:59:59.120+02'],
  interval: [
    ...['1 year 2 mons 3 days 04:05:06.789012', '-1 mon', '1 day', '-00:00:00.000001', '178000000 years', '1 mon'],
    ...[
      '10000 years 1 mon 1 day 00:00:00.000001',
      '11 mons -1 day',
      '2 years -04:00:00',
      '-178000000 years',
      '999:59:59.1',
    ],
    ...['00:00:00.000003', '00:00:01.100001', '7 mons 00:00:02.3', '-5 years 3 mons 00:00:00.7', '1 day 00:00:04.35'],
    ...['-2 days -00:00:03.999999', '3 years 00:00:09.000007'],
  ],
  'interval year to month': ['1 year 3 mons'],
  json: ['{"b": 1,  "a":2}', '"x"', 'null'],
  jsonb: ['{"b": 1, "a":1e5}', 'null'],
  xml: ['<a  b="1">x</a>'],
  'text[]': ['{}', '{a,NULL,"NULL","q\\"\\\\,{} \n"}', '[2:3]={a,b}', '{""}', '{ü😀}'],
  'integer[]': ['{1,NULL,-3}', '{{1,2},{3,4}}', '{}'],
  'smallint[]': ['{1,NULL}'],
  'bigint[]': ['{1,NULL,9223372036854775807}'],
  'boolean[]': ['{t,f,NULL}'],
  'numeric[]': ['{1.5,NULL,2.00,1e20,-0.1}'],
  'numeric(10,2)[]': ['{1.5,NULL,-2}'],
  'real[]': ['{0.1,NULL,NaN}'],
  'double precision[]': ['{0.1,NULL,Infinity}'],
  'uuid[]': ['{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11,NULL}'],
  'varchar(5)[]': ['{a,NULL}'],
  'char(3)[]': ['{a,NULL}'],
  'citext[]': ['{A,NULL}'],
  'date[]': ['{2024-02-29,NULL,1969-12-31,1583-01-01}', '{infinity}', '{-infinity}'],
  'timestamp[]': ['{"2024-02-29 23:59:59.123456",NULL,"2024-01-01 00:00:00",infinity,-infinity,"1583-01-01 00:00:00"}'],
  'timestamptz[]': ['{"2024-02-29 23:59:59.123456+02",NULL,"2024-01-01 00:00:00+00",infinity,-infinity}'],
  'timestamptz(3)[]': ['{"2024-02-29 23:59:59.12+02"}'],
  'time[]': ['{12:00:00.123456,NULL,24:00:00,23:59:59.999999}'],
  'timetz[]': ['{12:00:00.1+02,NULL,24:00:00+00,12:00:00.123456+00}'],
  'bytea[]': ['{"\\\\x00ff",NULL}'],
  'json[]': ['{"{\\"a\\": 1}",NULL}'],
  'jsonb[]': ['{"{\\"a\\": 1}",NULL}'],
  'inet[]': ['{127.0.0.1,NULL}'],
  'cidr[]': ['{10.0.0.0/8,NULL}'],
  'macaddr[]': ['{08:00:2b:01:02:03,NULL}'],
  'macaddr8[]': ['{08:00:2b:01:02:03:04:05,NULL}'],
  'oid[]': ['{1,NULL}'],
  'mood[]': ['{happy,sad}'],
  'tsvector[]': ["{\"'a' 'b':1\"}"],
  'int4range[]': ['{"[1,3)",NULL}'],
  'int8range[]': ['{"[1,3)",NULL}'],
  'numrange[]': ['{"[1.50,3)",NULL}'],
  'tsrange[]': ['{"[2024-01-01,2024-01-02 00:00:00.5)",NULL}'],
  'tstzrange[]': ['{"[2024-01-01 00:00:00+02,2024-01-02 00:00:00.5+00)",NULL}'],
  'daterange[]': ['{"[2024-01-01,2024-02-01)",NULL}'],
  'hstore[]': ['{"a=>1",NULL}'],
  mood: ['happy'],
  moody: ['happy'],
  posint: ['5'],
  pct: ['1.25'],
  code3: ['ab'],
  int4range: ['[1,3]', 'empty', '(,)'],
  int8range: ['[1,3)'],
  numrange: ['[1.50,2)'],
  tsrange: ['["2024-01-01 00:00:00","2024-01-02 00:00:00.123456")'],
  tstzrange: ['["2024-01-01 00:00:00+02","2024-01-02 00:00:00.5+00")', '[,infinity)'],
  daterange: ['[2024-01-01,2024-02-01)'],
  inet: ['127.0.0.1', '10.1.2.3/8', '::1', '2001:db8::/32'],
  cidr: ['10.0.0.0/8', '::/0'],
  macaddr: ['08-00-2B-01-02-03'],
  macaddr8: ['08:00:2b:01:02:03:04:05'],
  bit: ['1', '0'],
  'bit(3)': ['101'],
  'bit(12)': ['000011110000'],
  'bit varying(5)': ['1', '', '10101'],
  'bit varying': ['10101010101', '0000000000000000'],
  'bit(64)': [`1${'0'.repeat(62)}1`],
  hstore: [
    ...['a=>1,b=>NULL', '', 'k=>"q\\"ü\n\\\\"', 'Aa=>1,BB=>2,10=>3,9=>4,ü=>5'],
    Array.from({ length: 40 }, (_, i) => `key${i * 37}=>${i}`).join(','),
  ],
  ltree: ['a.b.c', ''],
  tsvector: ["'a':1A 'b'"],
  point: ['(1,2)', '(0.1,-1e300)', '(NaN,Infinity)', '(1e20,1e21)'],
  line: ['{1,2,3}'],
  lseg: ['[(1,2),(3,4)]'],
  box: ['(3,4),(1,2)'],
  path: ['((1,2),(3,4))', '[(1,2),(3,4),(5,6.5)]'],
  polygon: ['((1,2),(3,4),(5,6))'],
  circle: ['<(1,2),3>'],
};

let capture: TestCapture;
let captured: Captured;

beforeAll(async () => {
  capture = await testCapture();
  captured = new Captured(capture);
  await capture.database.client.query(`
    CREATE EXTENSION hstore; CREATE EXTENSION ltree; CREATE EXTENSION citext;
    CREATE TYPE mood AS ENUM ('sad', 'happy');
    CREATE DOMAIN moody AS mood; CREATE DOMAIN posint AS integer CHECK (VALUE > 0);
    CREATE DOMAIN pct AS numeric(8,4); CREATE DOMAIN code3 AS char(3)`);
  const columns = Object.keys(types).map((type, i) => `ADD COLUMN c${i} ${type}`);
  await capture.database.client.query(`ALTER TABLE trades ${columns.join(', ')}`);
  await applyConnector(capture.client, capture.definition);
});

afterAll(async () => {
  await captured?.[Symbol.asyncDispose]();
  await capture?.[Symbol.asyncDispose]();
});

/** One row for each value. @returns how many */
async function insertAll(symbol: string): Promise<number> {
  let rows = 0;
  for (const [i, [type, values]] of Object.entries(types).entries()) {
    for (const [j, value] of values.entries()) {
      const literalValue = value.includes('\\') ? `E${literal(value.replaceAll('\\', '\\\\'))}` : literal(value);
      await capture.database.client.query(
        `INSERT INTO trades (venue, symbol, trade_id, price, size, executed_at, c${i})
         SELECT 'v', '${symbol}', '${i} ${j}', 1, 1, '2024-01-01', ${literalValue}::${type}`,
      );
      rows++;
    }
  }
  return rows;
}

/** The captured record of each row, by its id. */
async function rowsOf(symbol: string): Promise<ReadonlyMap<string, Record<string, unknown>>> {
  const decoder = new AvroDecoder<{ after: Record<string, unknown> | null }>(captured.registry, null);
  const found = await captured.records('trades');
  await decoder.prepare(decoder.missing(found.map(({ record }) => record.value)));
  const rows = found.flatMap(({ record }) => {
    const after = decoder.decodeIfReadable(record.value)?.after;
    return after == null ? [] : [after];
  });
  return new Map(rows.filter((row) => row['symbol'] === symbol).map((row) => [String(row['trade_id']), row]));
}

const recaptureAll = () =>
  recapture({
    ...{ client: capture.client, definition: capture.definition, log: captured.log, schemas: captured.registry },
    postgresUrl: capture.config.postgres.url,
    slot: capture.config.capture.slot,
    prefix: capture.config.capture.prefix,
    masks: noMasks,
  });

test('rows of all types are recaptured field by field as Debezium captures them, and what it captured counts as equal', async () => {
  const rows = await insertAll('captured');
  await eventually(async () => (await rowsOf('captured')).size === rows);
  const original = await rowsOf('captured');
  await capture.client.stop(capture.definition.name);
  await eventually(() => dropSlot(capture.database.client, capture.config.capture.slot));
  await insertAll('again');
  const done = await recaptureAll();
  const again = await rowsOf('again');
  const differing: unknown[] = [];
  for (const [i, [type, values]] of Object.entries(types).entries()) {
    for (const [j, value] of values.entries()) {
      const [byDebezium, byUs] = [original, again].map((all) => all.get(`${i} ${j}`)?.[`c${i}`]);
      try {
        expect(byUs).toEqual(byDebezium);
      } catch {
        differing.push({ type, value, byDebezium, byUs });
      }
    }
  }
  expect(differing).toEqual([]);
  expect(done.tables[0]).toEqual({ table: 'public.trades', missing: rows, changed: 0, deleted: 0 });
  const second = await recaptureAll();
  expect(second.tables[0]).toEqual({ table: 'public.trades', missing: 0, changed: 0, deleted: 0 });
});
