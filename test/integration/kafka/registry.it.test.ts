import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { AvroDecoder } from '../../../core/avro/decoder.ts';
import { AvroEncoder } from '../../../core/avro/encoder.ts';
import { envelope, envelopeSchema, tradeRow } from '../../../core/avro/fixtures/debezium.ts';
import { Registry } from '../../../core/avro/registry/registry.ts';
import { schemas } from '../../../schemas/gen/index.ts';
import type { TradeChange } from '../../../schemas/gen/trade_change.ts';
import { contracts } from '../../../schemas/topics.ts';
import { testConfig } from '../../support/stack.ts';

const { url } = testConfig().registry;
/** Subjects of this run only: the registry outlives it. */
const run = `it_${process.pid}_${Date.now()}`;
let subjects = 0;
const subject = () => `${run}.${subjects++}-value`;

const record = (...fields: object[]) => ({
  type: 'record',
  name: 'R',
  namespace: run,
  fields,
});
const a = { name: 'a', type: 'long', doc: 'Kept word for word.' };

let registry: Registry;

beforeAll(() => {
  registry = new Registry({ url });
});

afterAll(() => registry[Symbol.asyncDispose]());

describe('the registry', () => {
  test('a schema keeps its id, is the same under another subject, and comes back word for word', async () => {
    const schema = record(a, { name: 'b', type: { type: 'long', logicalType: 'timestamp-micros', 'x.note': 'kept' } });
    const id = await registry.register(subject(), schema);
    expect(await registry.register(subject(), schema)).toBe(id);
    await using fresh = new Registry({ url });
    expect(await fresh.byId(id)).toEqual(schema);
  });

  test('many that register the same new subject at once get one id', async () => {
    const name = subject();
    const clients = Array.from({ length: 6 }, () => new Registry({ url, attempts: 6 }));
    const ids = await Promise.all(clients.map((client) => client.register(name, record(a))));
    expect(new Set(ids).size).toBe(1);
    expect(await registry.latest(name)).toMatchObject({ id: ids[0], version: 1 });
    for (const client of clients) await client[Symbol.asyncDispose]();
  });

  test('a subject that Millrace registers allows backward compatible changes only', async () => {
    const name = subject();
    const wider = record(a, { name: 'b', type: 'int', default: 0 });
    const broken = record({ name: 'a', type: 'string' });
    expect(await registry.check(name, record(a))).toMatchObject({ state: 'new' });
    const id = await registry.register(name, record(a));
    expect(await registry.check(name, record(a))).toMatchObject({ state: 'same', id });
    expect(await registry.check(name, wider)).toMatchObject({ state: 'compatible' });
    expect(await registry.check(name, broken)).toMatchObject({
      state: 'incompatible',
      reason: 'a: "long" cannot be read as "string"',
    });
    await expect(registry.register(name, broken)).rejects.toMatchObject({
      code: 'SCHEMA_INCOMPATIBLE',
      disposition: 'stop',
    });
    expect(await registry.register(name, wider)).not.toBe(id);
    expect(await registry.latest(name)).toMatchObject({ version: 2, schema: wider });
  });

  test('an id that was never given is unknown', async () => {
    await expect(registry.byId(2_000_000_000)).rejects.toMatchObject({
      code: 'SCHEMA_UNKNOWN',
      disposition: 'deadLetter',
    });
  });

  test('a path that is not the API is unreachable, not an unknown schema', async () => {
    await using wrong = new Registry({ url: `${url}/nowhere`, attempts: 1 });
    await expect(wrong.byId(1)).rejects.toMatchObject({ code: 'REGISTRY_UNREACHABLE', disposition: 'retry' });
    await expect(wrong.register(subject(), record(a))).rejects.toMatchObject({ code: 'REGISTRY_UNREACHABLE' });
  });

  test('a record that one process wrote is read by another through the narrow schema', async () => {
    const encoder = await AvroEncoder.open<object>(registry, subject(), envelopeSchema(`${run}.public.trades`));
    await using elsewhere = new Registry({ url });
    const decoder = new AvroDecoder<TradeChange>(elsewhere, schemas.trade_change);
    const values = [encoder.encode(envelope()), Buffer.from('00773594000000', 'hex')];
    await decoder.prepare(decoder.missing(values));
    expect(decoder.decode(values[0] as Buffer).after).toEqual(tradeRow());
    expect(() => decoder.decode(values[1] as Buffer)).toThrow(expect.objectContaining({ code: 'SCHEMA_UNKNOWN' }));
  });
});

describe('millrace schemas', () => {
  const millrace = async (...args: string[]) => {
    const root = join(import.meta.dirname, '../..');
    const env = { ...process.env, MILLRACE_REGISTRY_URL: url };
    const { stdout } = await promisify(execFile)(process.execPath, [join(root, 'cli/main.ts'), 'schemas', ...args], {
      env,
    });
    return stdout;
  };

  test('push registers every schema that Millrace writes, and check then finds them all', async () => {
    await millrace('push');
    const checked = JSON.parse(await millrace('check', '--json')) as {
      subject: string;
      writer: string;
      state: string;
    }[];
    expect(checked.map((each) => each.subject)).toEqual(contracts().map((each) => each.subject));
    const written = checked.filter(({ writer }) => writer === 'millrace');
    expect(written.filter(({ state }) => state !== 'same')).toEqual([]);
    // What Kafka Connect registered, if it runs already, is readable by us.
    const captured = checked.filter(({ writer }) => writer === 'connect');
    expect(captured.filter(({ state }) => state !== 'readable' && state !== 'new')).toEqual([]);
  });

  test('the generated code is up to date', async () => {
    expect(await millrace('gen', '--check')).toContain('up to date');
  });
});
