import { describe, expect, test } from '@jest/globals';
import { schemas as contracts } from '../../schemas/gen/index.ts';
import type { TradeChange } from '../../schemas/gen/trade_change.ts';
import fc from '../../test/support/property.ts';
import { MillraceError } from '../base/errors.ts';
import { AvroDecoder, type DecodeLimits, schemaIdOf } from './decoder.ts';
import { AvroEncoder } from './encoder.ts';
import { envelope, envelopeSchema, tradeFields, tradeRow } from './fixtures/debezium.ts';
import { MemorySchemas } from './registry/memory.ts';

interface Pair {
  readonly encoder: AvroEncoder<unknown>;
  readonly decoder: AvroDecoder<unknown>;
}

async function pair(writer: object, reader: object | null, limits?: Partial<DecodeLimits>): Promise<Pair> {
  const schemas = new MemorySchemas();
  const encoder = await AvroEncoder.open<unknown>(schemas, 's', writer);
  const decoder = new AvroDecoder<unknown>(schemas, reader, limits);
  await decoder.prepare([encoder.schemaId]);
  return { encoder, decoder };
}

function codeOf(act: () => unknown): string | undefined {
  try {
    act();
    return undefined;
  } catch (error) {
    return error instanceof MillraceError ? error.code : `not a MillraceError: ${String(error)}`;
  }
}

/** Header of schema 1, then these bytes. */
function record(...parts: (number | string)[]): Buffer {
  return Buffer.concat([
    Buffer.from('0000000001', 'hex'),
    ...parts.map((part) => (typeof part === 'number' ? Buffer.from([part]) : Buffer.from(part, 'hex'))),
  ]);
}

test('who looks at a topic later passes over what was put aside, and over nothing else', async () => {
  const { encoder, decoder } = await pair(envelopeSchema(), contracts.trade_change);
  const bytes = encoder.encode(envelope());
  expect(decoder.decodeIfReadable(bytes)).toEqual(decoder.decode(bytes));
  for (const each of [null, Buffer.from('no header'), bytes.subarray(0, 40)]) {
    expect(decoder.decodeIfReadable(each)).toBeUndefined();
  }
  expect(() => decoder.decodeIfReadable(Buffer.from('0000000009', 'hex'))).toThrow('not prepared');
});

describe('Debezium envelopes', () => {
  const expected = {
    before: null,
    after: tradeRow(),
    op: 'c',
    source: {
      ts_us: 1_795_253_012_345_678n,
      snapshot: 'false',
      sequence: '["26715128","26715344"]',
      txId: 791n,
      lsn: 26_715_344n,
    },
  };

  test.each(['cdc.public.trades', 'cdc2.public.trades', 'a.b.c.d', 'prod_eu.public.trades'])(
    'the narrow reader reads changes whatever the capture prefix is: %s',
    async (topic) => {
      const { encoder, decoder } = await pair(envelopeSchema(topic), contracts.trade_change);
      expect(decoder.decode(encoder.encode(envelope()))).toEqual(expected);
    },
  );

  test('a transaction block, longs above 2^53 and both row images are passed over or read', async () => {
    const { encoder, decoder } = await pair(envelopeSchema(), contracts.trade_change);
    const value = envelope({
      before: tradeRow({ price: -1n, conditions: 'T,I' }),
      after: null,
      op: 'd',
      transaction: { id: '791:26715344', total_order: 2n ** 62n, data_collection_order: 1n },
    });
    expect(decoder.decode(encoder.encode(value))).toEqual({
      ...expected,
      before: tradeRow({ price: -1n, conditions: 'T,I' }),
      after: null,
      op: 'd',
    });
  });

  test('without a reader schema everything is there, nanoseconds too', async () => {
    const { encoder, decoder } = await pair(envelopeSchema(), null);
    expect(decoder.decode(encoder.encode(envelope()))).toEqual(envelope());
  });

  test('a column that was added is ignored, and a dropped optional one is its default', async () => {
    const added = [...tradeFields, { name: 'extra', type: ['null', 'string'], default: null }];
    const wide = await pair(envelopeSchema('cdc.public.trades', added), contracts.trade_change);
    expect(wide.decoder.decode(wide.encoder.encode(envelope({ after: tradeRow({ extra: 'x' }) })))).toEqual(expected);
    const dropped = tradeFields.filter((field) => !['side', 'conditions'].includes((field as { name: string }).name));
    const short = await pair(envelopeSchema('cdc.public.trades', dropped), contracts.trade_change);
    expect(short.decoder.decode(short.encoder.encode(envelope()))).toEqual(expected);
  });

  test('a table whose rows we cannot read any more stops: every record of it would be lost', async () => {
    const dropped = tradeFields.filter((field) => (field as { name: string }).name !== 'price');
    await expect(pair(envelopeSchema('cdc.public.trades', dropped), contracts.trade_change)).rejects.toMatchObject({
      code: 'SCHEMA_INCOMPATIBLE',
      disposition: 'stop',
      message: expect.stringContaining('price'),
    });
    const rescaled = tradeFields.map((field) => {
      const { name, type } = field as { name: string; type: object };
      return name === 'price' ? { name, type: { ...type, scale: 4 } } : field;
    });
    await expect(pair(envelopeSchema('cdc.public.trades', rescaled), contracts.trade_change)).rejects.toMatchObject({
      code: 'SCHEMA_INCOMPATIBLE',
    });
  });

  test('heartbeats and message keys are read by their narrow schemas too', async () => {
    const beat = await pair(envelopeSchema('x.public.heartbeat'), contracts.heartbeat_change);
    expect(beat.decoder.decode(beat.encoder.encode(envelope()))).toEqual({
      op: 'c',
      source: { ts_us: 1_795_253_012_345_678n, lsn: 26_715_344n },
    });
    const fields = ['venue', 'symbol'].map((name) => ({ name, type: 'string' }));
    const key = await pair(
      { type: 'record', name: 'Key', namespace: 'cdc.public.trades', fields },
      contracts.trade_key,
    );
    expect(key.decoder.decode(key.encoder.encode({ venue: 'v', symbol: 's' }))).toEqual({ venue: 'v', symbol: 's' });
  });
});

describe('schemas', () => {
  test('only ids that are not known yet are missing, each once', async () => {
    const schemas = new MemorySchemas();
    const encoder = await AvroEncoder.open<object>(schemas, 's', contracts.trade_key);
    const decoder = new AvroDecoder(schemas, contracts.trade_key);
    const good = encoder.encode({ venue: 'v', symbol: 's' });
    const poison = Buffer.from('000000002a00', 'hex');
    const values = [good, null, good, poison, Buffer.from('01', 'hex'), Buffer.alloc(0), good];
    expect(decoder.missing(values)).toEqual([1, 42]);
    await decoder.prepare(decoder.missing(values));
    expect(decoder.missing(values)).toEqual([]);
  });

  test('records of an id that the registry does not know are dead letters', async () => {
    const decoder = new AvroDecoder(new MemorySchemas(), contracts.trade_key);
    for (const id of [42, -1, 0]) {
      const value = Buffer.alloc(9);
      value.writeInt32BE(id, 1);
      await decoder.prepare(decoder.missing([value]));
      expect(() => decoder.decode(value)).toThrow(
        expect.objectContaining({ code: 'SCHEMA_UNKNOWN', disposition: 'deadLetter' }),
      );
    }
  });

  test('while the registry does not answer an id is neither known nor bad', async () => {
    let up = false;
    const memory = new MemorySchemas();
    const encoder = await AvroEncoder.open<object>(memory, 's', contracts.trade_key);
    const decoder = new AvroDecoder<object>(
      {
        register: (subject, schema) => memory.register(subject, schema),
        byId: async (id) => {
          if (!up) throw new MillraceError('REGISTRY_UNREACHABLE', 'down');
          return memory.byId(id);
        },
      },
      contracts.trade_key,
    );
    const value = encoder.encode({ venue: 'v', symbol: 's' });
    await expect(decoder.prepare([1])).rejects.toMatchObject({ disposition: 'retry' });
    expect(decoder.missing([value])).toEqual([1]);
    up = true;
    await decoder.prepare([1]);
    expect(decoder.decode(value)).toEqual({ venue: 'v', symbol: 's' });
  });

  test('a record of another kind is a dead letter: its schema says nothing about ours', async () => {
    const { encoder, decoder } = await pair(contracts.candle_key, contracts.trade_key);
    const value = encoder.encode({ venue: 'v', symbol: 's', interval: '1m', window_start: 0n });
    expect(() => decoder.decode(value)).toThrow(
      expect.objectContaining({
        code: 'SCHEMA_FOREIGN',
        message: 'schema 1 is of millrace.market.CandleKey, not of millrace.market.TradeKey',
      }),
    );
  });

  test('a schema that is not Avro stops', async () => {
    const decoder = new AvroDecoder({ register: async () => 1, byId: async () => ({ type: 'nonsense' }) }, null);
    await expect(decoder.prepare([1])).rejects.toMatchObject({ code: 'SCHEMA_INCOMPATIBLE' });
  });

  test('one resolver serves all records of a schema', async () => {
    const schemas = new MemorySchemas();
    const asked: number[] = [];
    const decoder = new AvroDecoder<TradeChange>(
      {
        register: async () => 0,
        byId: async (id) => {
          asked.push(id);
          return schemas.byId(id);
        },
      },
      contracts.trade_change,
    );
    const encoder = await AvroEncoder.open<object>(schemas, 's', envelopeSchema());
    const value = encoder.encode(envelope());
    for (let i = 0; i < 100; i++) {
      await decoder.prepare(decoder.missing([value]));
      decoder.decode(value);
    }
    expect(asked).toEqual([1]);
  });
});

describe('poison', () => {
  const R = (...types: unknown[]) => ({
    type: 'record',
    name: 'R',
    fields: types.map((type, i) => ({ name: `f${i}`, type })),
  });
  const array = { type: 'array', items: 'int' };
  const narrow = R();

  test('a record without the magic byte or too short for a header is BAD_MAGIC', async () => {
    const { decoder } = await pair(R('int'), null);
    for (const hex of ['', '00', '00000000', '010000000102', '7b7d']) {
      expect(codeOf(() => decoder.decode(Buffer.from(hex, 'hex')))).toBe('BAD_MAGIC');
    }
    expect(schemaIdOf(Buffer.from('7b', 'hex'))).toBeUndefined();
  });

  test('a truncated record is BAD_AVRO at every length', async () => {
    const { encoder, decoder } = await pair(envelopeSchema(), contracts.trade_change);
    const whole = encoder.encode(envelope());
    for (let length = 5; length < whole.length; length++) {
      expect(codeOf(() => decoder.decode(whole.subarray(0, length)))).toBe('BAD_AVRO');
    }
  });

  test('bytes after the record are BAD_AVRO', async () => {
    const { encoder, decoder } = await pair(envelopeSchema(), contracts.trade_change);
    expect(codeOf(() => decoder.decode(Buffer.concat([encoder.encode(envelope()), Buffer.from([0])])))).toBe(
      'BAD_AVRO',
    );
  });

  test('a record longer than the cap is TOO_LARGE', async () => {
    const { encoder, decoder } = await pair(R('string'), null, { maxBytes: 100 });
    expect(codeOf(() => decoder.decode(encoder.encode({ f0: 'x'.repeat(93) })))).toBeUndefined();
    expect(codeOf(() => decoder.decode(encoder.encode({ f0: 'x'.repeat(94) })))).toBe('TOO_LARGE');
  });

  test.each([
    ['an array', R(array), record('80d8b404')],
    ['an array of nulls', R({ type: 'array', items: 'null' }), record('80d8b40400')],
    ['a map', R({ type: 'map', values: 'int' }), record('80d8b404')],
    ['an array in an array', R({ type: 'array', items: array }), record('02', '80d8b404')],
    ['an array in a union', R(['null', array]), record('02', '80d8b404')],
    ['a negative count', R({ type: 'array', items: 'null' }), record('ffd7b404', '00', '00')],
    [
      'many small blocks',
      R({ type: 'array', items: 'null' }),
      record(...Array.from({ length: 120 }, () => 'd00f'), '00'),
    ],
  ])(
    'five million items claimed by a few bytes are refused before anything is allocated: %s',
    async (_, writer, value) => {
      for (const reader of [null, narrow]) {
        const { decoder } = await pair(writer, reader);
        const before = process.memoryUsage().heapUsed;
        const started = performance.now();
        expect(codeOf(() => decoder.decode(value))).toBe('TOO_LARGE');
        expect(performance.now() - started).toBeLessThan(1_000);
        expect(process.memoryUsage().heapUsed - before).toBeLessThan(4 * 1024 * 1024);
      }
    },
  );

  test('the cap counts all items of a record together, and lets through as many as it says', async () => {
    const { encoder, decoder } = await pair(R(array, array), null, { maxItems: 10 });
    expect(codeOf(() => decoder.decode(encoder.encode({ f0: [1, 2, 3, 4, 5], f1: [1, 2, 3, 4, 5] })))).toBeUndefined();
    expect(codeOf(() => decoder.decode(encoder.encode({ f0: [1, 2, 3, 4, 5], f1: [1, 2, 3, 4, 5, 6] })))).toBe(
      'TOO_LARGE',
    );
  });

  test('a block whose stated length is false is refused, also when it would send a skipping reader backwards', async () => {
    // Count -1, length, item 7, end of the array.
    const honest = record('01', '02', '0e', '00');
    for (const reader of [null, narrow]) {
      const { decoder } = await pair(R(array), reader);
      expect(codeOf(() => decoder.decode(honest))).toBeUndefined();
      for (const length of ['00', '04', '01', '03', 'ffffffff0f', 'feffffff0f']) {
        expect(codeOf(() => decoder.decode(record('01', length, '0e', '00')))).toBe('BAD_AVRO');
      }
    }
  });

  test('a recursive record is read to its end, and refused when it is nested too deeply', async () => {
    const list = { type: 'record', name: 'L', fields: [{ name: 'next', type: ['null', 'L'] }] };
    const { encoder, decoder } = await pair(list, null);
    const nested = (depth: number): object => ({ next: depth === 1 ? null : nested(depth - 1) });
    expect(decoder.decode(encoder.encode(nested(64)))).toEqual(nested(64));
    expect(codeOf(() => decoder.decode(encoder.encode(nested(65))))).toBe('TOO_LARGE');
    const endless = { type: 'record', name: 'E', fields: [{ name: 'self', type: 'E' }] };
    const { decoder: other } = await pair(endless, null);
    expect(codeOf(() => other.decode(record()))).toBe('TOO_LARGE');
  });

  test('whatever the bytes are, decoding gives a value or a dead letter', async () => {
    const everything = R(
      'boolean',
      'int',
      'long',
      'float',
      'double',
      'string',
      'bytes',
      array,
      { type: 'map', values: ['null', 'string', { type: 'array', items: 'long' }] },
      { type: 'fixed', name: 'F', size: 3 },
      { type: 'enum', name: 'E', symbols: ['A', 'B'] },
      { type: 'bytes', logicalType: 'decimal', precision: 20, scale: 8 },
    );
    const cases: [Pair, Buffer][] = [];
    for (const [writer, reader, value] of [
      [envelopeSchema(), contracts.trade_change, envelope({ before: tradeRow() })],
      [envelopeSchema(), null, envelope({ before: tradeRow() })],
      [everything, null, undefined],
      [everything, R('boolean', 'int'), undefined],
    ] as const) {
      const made = await pair(writer, reader);
      cases.push([made, value === undefined ? record('00'.repeat(60)) : made.encoder.encode(value)]);
    }
    const mutations = fc.array(fc.tuple(fc.nat(), fc.nat(255), fc.constantFrom('set', 'cut', 'insert')), {
      maxLength: 4,
    });
    fc.assert(
      fc.property(fc.nat(cases.length - 1), mutations, fc.uint8Array(), fc.boolean(), (which, edits, noise, random) => {
        const [made, seed] = cases[which] as [Pair, Buffer];
        let value = random ? Buffer.concat([record(), noise]) : Buffer.from(seed);
        for (const [at, byte, kind] of edits) {
          const place = 5 + (at % Math.max(1, value.length - 5));
          if (kind === 'set' && place < value.length) value[place] = byte;
          if (kind === 'cut') value = value.subarray(0, place);
          if (kind === 'insert')
            value = Buffer.concat([value.subarray(0, place), Buffer.from([byte]), value.subarray(place)]);
        }
        expect([undefined, 'BAD_AVRO', 'TOO_LARGE']).toContain(codeOf(() => made.decoder.decode(value)));
      }),
      { numRuns: 3_000 },
    );
  });
});
