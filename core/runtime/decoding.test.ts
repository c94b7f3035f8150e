import { expect, test } from '@jest/globals';
import { AvroDecoder } from '../avro/decoder.ts';
import { AvroEncoder } from '../avro/encoder.ts';
import { MemorySchemas } from '../avro/memory.ts';
import type { Schemas } from '../avro/schemas.ts';
import { MillraceError } from '../errors.ts';
import { prepareDecoder, valuesOf } from './decoding.ts';

const schema = { type: 'record', name: 'R', fields: [{ name: 'x', type: 'long' }] };

async function recordsOf(schemas: Schemas) {
  const encoder = await AvroEncoder.open<{ x: bigint }>(schemas, 's', schema);
  return [{ offset: 0n, timestamp: 0n, key: null, value: encoder.encode({ x: 1n }) }];
}

test('while the registry does not answer an unknown schema waits, after committing what is done, and is no bad record', async () => {
  const registry = new MemorySchemas();
  const records = await recordsOf(registry);
  let failures = 2;
  let commits = 0;
  const down: Schemas = {
    register: (subject, each) => registry.register(subject, each),
    byId: async (id) => {
      if (failures-- > 0) throw new MillraceError('REGISTRY_UNREACHABLE', 'no answer');
      return registry.byId(id);
    },
  };
  const decoder = new AvroDecoder<{ x: bigint }>(down, schema);
  await prepareDecoder(decoder, valuesOf(records), new AbortController().signal, async () => {
    commits++;
  });
  expect(decoder.decode(records[0]?.value as Buffer)).toMatchObject({ x: 1n });
  expect(commits).toBe(1);
});

test('a task that is closed stops waiting for the registry', async () => {
  const records = await recordsOf(new MemorySchemas());
  const down: Schemas = {
    register: async () => 1,
    byId: async () => {
      throw new MillraceError('REGISTRY_UNREACHABLE', 'no answer');
    },
  };
  const decoder = new AvroDecoder<{ x: bigint }>(down, schema);
  const stop = new AbortController();
  const waiting = prepareDecoder(decoder, valuesOf(records), stop.signal, async () => stop.abort());
  await expect(waiting).rejects.toThrow(/abort/i);
});
