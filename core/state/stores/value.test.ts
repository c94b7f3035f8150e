import { expect, test } from '@jest/globals';
import fc from '../../../test/support/property.ts';
import { avroType } from '../../avro/types.ts';
import { ValueCodec } from './value.ts';

const record = (name: string, ...fields: object[]) => ({ type: 'record', name, fields });
const first = record('counter', { name: 'count', type: 'long' });
const second = record('counter', { name: 'count', type: 'long' }, { name: 'sum', type: 'string' });
const third = record('counter', { name: 'total', type: 'long' });
type Counter = { count?: unknown; total?: bigint; sum?: string };
const toSecond = { schema: first, migrate: (old: unknown) => ({ ...(old as Counter), sum: 'none' }) };
const toThird = { schema: second, migrate: (old: unknown) => ({ total: (old as Counter).count }) };

test('a value comes back as it was set, with the time at which it was', () => {
  const codec = new ValueCodec<string>({ name: 'texts', schema: { type: 'string' } });
  fc.assert(
    fc.property(
      fc.string({ maxLength: 20_000 }),
      fc.option(fc.bigInt(0n, 2n ** 62n), { nil: undefined }),
      (value, at) => {
        expect(codec.decode('k', codec.encode('k', value, at))).toEqual({ value, setAt: at });
      },
    ),
  );
});

test('values of the first release are read', () => {
  const written = Buffer.concat([Buffer.of(1), avroType(first).toBuffer({ count: 7n })]);
  expect(new ValueCodec({ name: 'counters', schema: first }).decode('k', written).value).toEqual({ count: 7n });
  const migrated = new ValueCodec({ name: 'counters', schema: second, version: 2, migrations: { 1: toSecond } });
  expect(migrated.decode('k', written).value).toEqual({ count: 7n, sum: 'none' });
});

test('a value of an earlier version goes through each migration up to now', () => {
  const written = new ValueCodec<Counter>({ name: 'counters', schema: first }).encode('k', { count: 7n }, 5n);
  const codec = new ValueCodec<Counter>({
    name: 'counters',
    schema: third,
    version: 3,
    migrations: { 1: toSecond, 2: toThird },
  });
  expect(codec.decode('k', written)).toEqual({ value: { total: 7n }, setAt: 5n });
});

test('state of a version without a migration is refused, and so is that of a later version', () => {
  const old = new ValueCodec<Counter>({ name: 'counters', schema: first }).encode('k', { count: 7n });
  const codec = new ValueCodec<Counter>({ name: 'counters', schema: third, version: 3, migrations: { 2: toThird } });
  expect(() => codec.decode('k', old)).toThrow(
    expect.objectContaining({ code: 'STATE_VERSION', message: expect.stringContaining('no migration from version 1') }),
  );
  const newer = codec.encode('k', { total: 1n });
  const earlier = new ValueCodec<Counter>({ name: 'counters', schema: first });
  expect(() => earlier.decode('k', newer)).toThrow(expect.objectContaining({ code: 'STATE_VERSION' }));
});

test('a schema that was changed under the same version is refused, not misread', () => {
  const price = (scale: number) => ({ type: 'bytes', logicalType: 'decimal', precision: 38, scale });
  const written = new ValueCodec<bigint>({ name: 'prices', schema: price(8) }).encode('k', 100n);
  expect(() => new ValueCodec({ name: 'prices', schema: price(2) }).decode('k', written)).toThrow(
    expect.objectContaining({ code: 'STATE_VERSION', message: expect.stringContaining('another schema') }),
  );
});

test('documentation and defaults may be changed without a new version', () => {
  const documented = record('counter', { name: 'count', type: 'long', default: 0, doc: 'how many' });
  const written = new ValueCodec<Counter>({ name: 'counters', schema: first }).encode('k', { count: 7n });
  expect(
    new ValueCodec({ name: 'counters', schema: { ...documented, doc: 'a counter' } }).decode('k', written).value,
  ).toEqual({
    count: 7n,
  });
});

test('a migration that fails refuses the state and says which', () => {
  const written = new ValueCodec<Counter>({ name: 'counters', schema: first }).encode('k', { count: 7n });
  const migrate = () => {
    throw new Error('no sum');
  };
  const codec = new ValueCodec({
    name: 'counters',
    schema: second,
    version: 2,
    migrations: { 1: { schema: first, migrate } },
  });
  expect(() => codec.decode('k', written)).toThrow(
    expect.objectContaining({ code: 'STATE_VERSION', message: expect.stringContaining('version 1 failed: no sum') }),
  );
});

test('bytes that are no value are corrupt state, whatever they are', () => {
  const codec = new ValueCodec<Counter>({ name: 'counters', schema: second });
  const whole = codec.encode('k', { count: 7n, sum: 'seven' }, 9n);
  for (const bytes of [
    Buffer.of(),
    Buffer.of(9),
    whole.subarray(0, 5),
    whole.subarray(0, -1),
    Buffer.concat([whole, Buffer.of(0)]),
  ]) {
    expect(() => codec.decode('k', bytes)).toThrow(expect.objectContaining({ code: 'STATE_CORRUPT' }));
  }
});

test('a value that is not of the schema is refused with its store and key', () => {
  const codec = new ValueCodec<Counter>({ name: 'counters', schema: first });
  expect(() => codec.encode('k', { count: 'seven' })).toThrow(
    expect.objectContaining({ code: 'ENCODE_FAILED', message: expect.stringContaining('store counters, key "k"') }),
  );
});
