import { describe, expect, test } from '@jest/globals';
import { schemas as contracts } from '../../schemas/gen/index.ts';
import type { JournalEntry } from '../../schemas/gen/journal_entry.ts';
import fc from '../../test/support/property.ts';
import { AvroDecoder } from './decoder.ts';
import { AvroEncoder } from './encoder.ts';
import { valuesOf } from './fixtures/arbitrary.ts';
import { envelopeSchema } from './fixtures/debezium.ts';
import { MemorySchemas } from './registry/memory.ts';

describe('encoding', () => {
  const all = { ...contracts, debezium: envelopeSchema() };

  test.each(Object.entries(all))('every value of %s is read back as it was written', async (_, schema) => {
    const schemas = new MemorySchemas();
    const encoder = await AvroEncoder.open<unknown>(schemas, 's', schema);
    const readers = [new AvroDecoder<unknown>(schemas, schema), new AvroDecoder<unknown>(schemas, null)];
    for (const reader of readers) await reader.prepare([encoder.schemaId]);
    fc.assert(
      fc.property(valuesOf(schema), (value) => {
        const bytes = encoder.encode(value);
        for (const reader of readers) expect(reader.decode(bytes)).toEqual(value);
      }),
    );
  });

  test('a record begins with a zero byte and its schema id, big endian', async () => {
    const schemas = new MemorySchemas();
    await schemas.register('other', { type: 'record', name: 'Other', fields: [] });
    const encoder = await AvroEncoder.open<object>(schemas, 's', contracts.trade_key);
    expect(encoder.schemaId).toBe(2);
    expect(encoder.encode({ venue: 'v', symbol: 's' })).toEqual(Buffer.from('000000000202760273', 'hex'));
  });

  test('a value larger than all before it is encoded whole, and the next small one too', async () => {
    const schemas = new MemorySchemas();
    const encoder = await AvroEncoder.open<object>(schemas, 's', contracts.trade_key);
    const decoder = new AvroDecoder<object>(schemas, contracts.trade_key);
    await decoder.prepare([encoder.schemaId]);
    for (const length of [1, 5_000, 3, 200_000, 4_083, 4_084, 4_085]) {
      const value = { venue: 'v'.repeat(length), symbol: 's' };
      expect(decoder.decode(encoder.encode(value))).toEqual(value);
    }
  });

  test('what was encoded does not change when the next value is', async () => {
    const encoder = await AvroEncoder.open<object>(new MemorySchemas(), 's', contracts.trade_key);
    const first = encoder.encode({ venue: 'a', symbol: 'b' });
    const copy = Buffer.from(first);
    encoder.encode({ venue: 'x', symbol: 'y' });
    expect(first).toEqual(copy);
  });

  test('a value that the schema does not allow is refused with the names of its fields', async () => {
    const encoder = await AvroEncoder.open<JournalEntry>(new MemorySchemas(), 's', contracts.journal_entry);
    const wrong = { kind: 'HEARTBEAT', topic: 't', next_offset: 5, log_time: 2n ** 63n, heartbeat_offset: 0n };
    expect(() => encoder.encode(wrong as never)).toThrow(
      'not a millrace.runtime.JournalEntry: next_offset = 5 (number), log_time = 9223372036854775808 (bigint)',
    );
    expect(() => encoder.encode({ ...wrong, next_offset: 5n, log_time: 0n, topic: undefined } as never)).toThrow(
      'topic',
    );
    expect(encoder.encode({ ...wrong, next_offset: 5n, log_time: 0n } as JournalEntry).length).toBeGreaterThan(5);
  });

  test('a decimal beyond its precision is refused, never cut', async () => {
    const schema = {
      type: 'record',
      name: 'D',
      fields: [{ name: 'd', type: { type: 'bytes', logicalType: 'decimal', precision: 5, scale: 2 } }],
    };
    const encoder = await AvroEncoder.open<object>(new MemorySchemas(), 's', schema);
    expect(() => encoder.encode({ d: 100_000n })).toThrow('d = 100000 (bigint)');
  });
});
