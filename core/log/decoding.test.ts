import { expect, test } from '@jest/globals';
import { AvroDecoder } from '../avro/decoder.ts';
import { AvroEncoder } from '../avro/encoder.ts';
import { MemorySchemas } from '../avro/registry/memory.ts';
import type { Schemas } from '../avro/schemas.ts';
import type { Clock } from '../base/clock.ts';
import { MillraceError } from '../base/errors.ts';
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

/** A registry whose replica gets the schemas at `arrivesMs`, and a clock that moves by sleeping only. */
async function lagging(arrivesMs: number) {
  const behind = new MemorySchemas();
  const encoder = await AvroEncoder.open<{ x: bigint }>(behind, 's', schema);
  let nowMs = 0;
  const asked: number[] = [];
  const schemas: Schemas = {
    lagMs: 60_000,
    register: (subject, each) => behind.register(subject, each),
    byId: async (id) => {
      asked.push(nowMs);
      if (nowMs < arrivesMs) throw new MillraceError('SCHEMA_UNKNOWN', `no schema has the id ${id}`);
      return behind.byId(id);
    },
  };
  const clock: Clock = {
    now: () => nowMs,
    sleep: async (ms) => {
      nowMs += ms;
    },
  };
  const decoder = new AvroDecoder<{ x: bigint }>(schemas, schema);
  const prepare = (...values: Buffer[]) =>
    prepareDecoder(decoder, values, new AbortController().signal, undefined, clock);
  const claiming = (id: number): Buffer => {
    const value = encoder.encode({ x: 1n });
    value.writeInt32BE(id, 1);
    return value;
  };
  return { decoder, prepare, claiming, asked, clock };
}

test('a schema that a lagging registry does not know yet is waited for: none of its records is a dead letter', async () => {
  const { decoder, prepare, claiming, asked, clock } = await lagging(20_000);
  await prepare(claiming(1));
  expect(decoder.decode(claiming(1))).toMatchObject({ x: 1n });
  expect(clock.now()).toBeGreaterThanOrEqual(20_000);
  expect(clock.now()).toBeLessThanOrEqual(25_000);
  // With backoff, not in a loop.
  expect(asked.length).toBeLessThan(12);
});

test('an id that the registry never gets is waited for once: its later records are dead letters at once', async () => {
  const { decoder, prepare, claiming, clock } = await lagging(Number.POSITIVE_INFINITY);
  await prepare(claiming(7));
  expect(() => decoder.decode(claiming(7))).toThrow(expect.objectContaining({ code: 'SCHEMA_UNKNOWN' }));
  const waited = clock.now();
  expect(waited).toBeGreaterThanOrEqual(60_000);
  expect(waited).toBeLessThanOrEqual(65_000);
  await prepare(claiming(7));
  await clock.sleep(120_000);
  await prepare(claiming(7));
  expect(clock.now()).toBe(waited + 120_000);
});

test('a schema that comes after all is found by a later record: the answer that it is unknown expires', async () => {
  const { decoder, prepare, claiming, clock } = await lagging(90_000);
  await prepare(claiming(1));
  expect(() => decoder.decode(claiming(1))).toThrow(expect.objectContaining({ code: 'SCHEMA_UNKNOWN' }));
  await clock.sleep(70_000);
  await prepare(claiming(1));
  expect(decoder.decode(claiming(1))).toMatchObject({ x: 1n });
});

test('however many ids are invented, together they hold a partition up for about twice the lag of the registry', async () => {
  const { prepare, claiming, clock } = await lagging(Number.POSITIVE_INFINITY);
  for (let id = 100; id < 200; id++) await prepare(claiming(id));
  expect(clock.now()).toBeLessThan(150_000);
});
