import { describe, expect, test } from '@jest/globals';
import avro from 'avsc';
import fc from '../../test/support/property.ts';
import { decimals, longs } from './fixtures/arbitrary.ts';
import { avroType } from './types.ts';

const long = avroType('long');
/** avsc's own way to 64-bit longs, by eight bytes: slower, and not ours. */
const reference = avro.types.LongType.__with({
  fromBuffer: (bytes: Buffer) => bytes.readBigInt64LE(),
  toBuffer: (value: bigint) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(value);
    return bytes;
  },
  fromJSON: BigInt,
  toJSON: Number,
  isValid: (value: unknown) => typeof value === 'bigint',
  compare: () => 0,
});

describe('long', () => {
  test('every 64-bit integer is written as avsc writes it, and read back as itself', () => {
    fc.assert(
      fc.property(longs, (value) => {
        const bytes = long.toBuffer(value);
        expect(bytes).toEqual(reference.toBuffer(value));
        expect(long.fromBuffer(bytes)).toBe(value);
      }),
      { numRuns: 2_000 },
    );
  });

  test('integers beyond 64 bits and numbers are refused when writing', () => {
    for (const value of [2n ** 63n, -(2n ** 63n) - 1n, 1, '1', null]) {
      expect(long.isValid(value)).toBe(false);
      expect(() => long.toBuffer(value)).toThrow('not a 64-bit bigint');
    }
  });

  test('a varint of more than 64 bits is refused when reading', () => {
    expect(() => long.fromBuffer(Buffer.from('ffffffffffffffffff02', 'hex'))).toThrow('more than 64 bits');
    expect(() => long.fromBuffer(Buffer.from('80808080808080808080808000', 'hex'))).toThrow('more than 64 bits');
    expect(long.fromBuffer(Buffer.from('ffffffffffffffffff01', 'hex'))).toBe(-(2n ** 63n));
  });

  test('timestamps and longs inside records are bigints too, and an int is read as one', () => {
    const schema = (type: unknown) => ({ type: 'record', name: 'R', fields: [{ name: 'a', type }] });
    const wide = avroType(schema({ type: 'long', logicalType: 'timestamp-micros' }));
    const narrow = avroType(schema('int'));
    expect(wide.fromBuffer(wide.toBuffer({ a: 2n ** 60n }))).toEqual({ a: 2n ** 60n });
    expect(wide.fromBuffer(narrow.toBuffer({ a: -7 }), wide.createResolver(narrow))).toEqual({ a: -7n });
  });

  test('a default of a long is a bigint', () => {
    const before = avroType({ type: 'record', name: 'R', fields: [] });
    const after = avroType({ type: 'record', name: 'R', fields: [{ name: 'a', type: 'long', default: 5 }] });
    expect(after.fromBuffer(before.toBuffer({}), after.createResolver(before))).toEqual({ a: 5n });
  });
});

/** Two's complement by characters: counts the bytes up or down as an odometer would, from zero. */
function twosComplement(value: bigint): string {
  const bits = (magnitude: bigint) => magnitude.toString(2);
  const positive = value >= 0n ? bits(value) : bits(-value - 1n);
  const length = Math.ceil((positive === '0' ? 1 : positive.length + 1) / 8) * 8;
  const padded = positive.padStart(length, '0');
  const signed = value >= 0n ? padded : [...padded].map((bit) => (bit === '0' ? '1' : '0')).join('');
  return (signed.match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2).toString(16).padStart(2, '0')).join('');
}

describe('decimal', () => {
  const decimal = (precision: number, scale: number) =>
    avroType({ type: 'bytes', logicalType: 'decimal', precision, scale });

  test('unscaled units are written in the shortest two’s complement, and read back as themselves', () => {
    for (const [precision, scale] of [
      [20, 8],
      [38, 16],
      [1, 0],
    ] as const) {
      const type = decimal(precision, scale);
      fc.assert(
        fc.property(decimals(precision), (value) => {
          const bytes = type.toBuffer(value);
          expect(bytes.subarray(1).toString('hex')).toBe(twosComplement(value));
          expect(type.fromBuffer(bytes)).toBe(value);
        }),
        { numRuns: 1_000 },
      );
    }
  });

  test('padding that another writer adds does not change the value', () => {
    const type = decimal(20, 8);
    const padded = (hex: string) => Buffer.from(hex.length.toString(16).padStart(2, '0') + hex, 'hex');
    expect(type.fromBuffer(padded('000000000000000000000000000000ff'))).toBe(255n);
    expect(type.fromBuffer(padded('ffffffffffffffffffffffffffffff00'))).toBe(-256n);
  });

  test('more digits than the precision are refused in both directions', () => {
    const [type, wide] = [decimal(5, 2), decimal(6, 2)];
    for (const value of [100_000n, -100_000n]) {
      expect(type.isValid(value)).toBe(false);
      expect(() => type.toBuffer(value)).toThrow('not a decimal(5,2)');
      expect(() => type.fromBuffer(wide.toBuffer(value))).toThrow('more than 5 digits');
      expect(() => type.fromBuffer(wide.toBuffer(value), type.createResolver(wide))).toThrow('more than 5 digits');
    }
    expect(type.fromBuffer(wide.toBuffer(99_999n), type.createResolver(wide))).toBe(99_999n);
  });

  test('no bytes at all are no decimal, and neither are a thousand', () => {
    expect(() => decimal(20, 8).fromBuffer(Buffer.from([0]))).toThrow('a decimal of 0 bytes');
    expect(() => decimal(20, 8).fromBuffer(Buffer.concat([Buffer.from('d00f', 'hex'), Buffer.alloc(1_000)]))).toThrow(
      'a decimal of 1000 bytes',
    );
  });

  test('another scale does not resolve: it would change the number', () => {
    expect(() => decimal(20, 8).createResolver(decimal(20, 7))).toThrow();
  });

  test('an invalid decimal is read as its bytes', () => {
    const type = avroType({ type: 'bytes', logicalType: 'decimal', precision: 2, scale: 3 });
    expect(type.fromBuffer(type.toBuffer(Buffer.from('ab')))).toEqual(Buffer.from('ab'));
  });

  test('a nullable decimal keeps null and zero apart', () => {
    const type = avroType(['null', { type: 'bytes', logicalType: 'decimal', precision: 20, scale: 8 }]);
    for (const value of [null, 0n, -1n]) expect(type.fromBuffer(type.toBuffer(value))).toBe(value);
  });
});

describe('map', () => {
  const type = avroType({ type: 'map', values: 'long' });

  test('every key is read back, one that objects have of their own too', () => {
    const value = Object.fromEntries(
      [...['__proto__', 'constructor', ''].entries()].map(([i, key]) => [key, BigInt(i)]),
    );
    const read = type.fromBuffer(type.toBuffer(value)) as object;
    expect(Object.entries(read)).toEqual(Object.entries(value));
    expect(Object.getPrototypeOf(read)).toBe(Object.prototype);
  });

  test('blocks that state their length are read like those that do not', () => {
    const blocks = Buffer.from('01' + '06' + '0261' + '02' + '02' + '0262' + '04' + '00', 'hex');
    expect(type.fromBuffer(blocks)).toEqual({ a: 1n, b: 2n });
  });
});

describe('string', () => {
  const type = avroType('string');
  const reference = avro.Type.forSchema('string');

  test('every text is read as avsc reads it, however often it comes and whatever came before', () => {
    const text = fc.oneof(
      fc.constantFrom('', 'bitstamp', 'BTC/USD', 'buy', 'sell', '€', 'é'),
      fc.string({ unit: 'binary' }),
    );
    fc.assert(
      fc.property(fc.array(text, { maxLength: 20 }), (texts) => {
        const encoded = texts.map((each) => reference.toBuffer(each.toWellFormed()));
        expect(encoded.map((bytes) => type.fromBuffer(bytes))).toEqual(
          encoded.map((bytes) => reference.fromBuffer(bytes)),
        );
      }),
      { numRuns: 500 },
    );
  });

  test('ten thousand different short texts, more than the cache holds, are each themselves', () => {
    const texts = Array.from({ length: 10_000 }, (_, i) => `t${i}`);
    for (let round = 0; round < 2; round++)
      expect(texts.map((each) => type.fromBuffer(type.toBuffer(each)))).toEqual(texts);
  });

  test('bytes that are not UTF-8 give the same text as without a cache', () => {
    for (const hex of ['02ff', '04c328', '0680c0af', '02ff']) {
      const bytes = Buffer.from(hex, 'hex');
      expect(type.fromBuffer(bytes)).toBe(reference.fromBuffer(bytes));
    }
  });

  test('the text of a record does not change when its buffer is used again', () => {
    const bytes = type.toBuffer('bitstamp');
    const text = type.fromBuffer(bytes);
    bytes.fill(0x78, 1);
    expect([text, type.fromBuffer(bytes), type.fromBuffer(type.toBuffer('bitstamp'))]).toEqual([
      'bitstamp',
      'xxxxxxxx',
      'bitstamp',
    ]);
  });
});
