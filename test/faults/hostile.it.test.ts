import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Pipeline } from '../../cli/demo/pipeline.ts';
import { setUp } from '../../cli/stack/setup.ts';
import { Registry } from '../../core/avro/registry/registry.ts';
import { KafkaLog } from '../../core/kafka/log.ts';
import { readTopic } from '../../proof/reading/topic.ts';
import type { DeadLetter } from '../../schemas/gen/dead_letter.ts';
import { schemas as contracts } from '../../schemas/gen/index.ts';
import { eventually, patienceMs } from '../support/patience.ts';
import { testConfig, testStackName } from '../support/stack.ts';
import { loadSynthetic, verifyAtRest } from './harness/load.ts';

const config = testConfig();
const trades = 'cdc.public.trades';
const partition = 2;
let log: KafkaLog;
let schemas: Registry;
let pipeline: Pipeline | undefined;

beforeAll(async () => {
  await setUp(config, { connectors: true });
  log = new KafkaLog({ brokers: config.kafka.brokers, clientId: 'hostile-test' });
  schemas = new Registry({ url: config.registry.url });
});

afterAll(async () => {
  await pipeline?.[Symbol.asyncDispose]();
  await log?.[Symbol.asyncDispose]();
  await schemas?.[Symbol.asyncDispose]();
});

async function deadOf(processor: string): Promise<Map<bigint, DeadLetter>> {
  const found = new Map<bigint, DeadLetter>();
  for await (const portion of readTopic<DeadLetter>(log, schemas, `${processor}.dead`, contracts.dead_letter)) {
    for (const { value } of portion) if (value.origin.topic === trades) found.set(value.origin.offset, value);
  }
  return found;
}

async function aGoodRecord(): Promise<Buffer> {
  await using fetcher = log.fetcher();
  for (let offset = 0n; ; ) {
    const [fetched] = await fetcher.fetch([{ topic: trades, partition, offset }], {
      maxWaitMs: 500,
      maxBytesPerPartition: 100_000,
    });
    const value = fetched?.records.find((record) => record.value !== null)?.value;
    if (value != null) return value;
    offset = fetched?.next ?? offset;
  }
}

test('poison in the captured topic becomes dead letters with origin and reason, in processor and sink, and the rest goes on', async () => {
  await loadSynthetic(config, { rows: 2_000, symbols: 40, seed: 7, venue: 'hostile' });
  const good = await aGoodRecord();
  const foreign = Buffer.from(good);
  foreign.writeInt32BE(await schemas.register('market.candles-key', contracts.candle_key), 1);
  const unknown = Buffer.from(good);
  unknown.writeInt32BE(99_999_999, 1);
  const poison: [string, Buffer][] = [
    ['BAD_MAGIC', Buffer.from('{"this":"is json"}')],
    ['BAD_MAGIC', Buffer.alloc(0)],
    ['BAD_AVRO', good.subarray(0, good.length - 7)],
    ['SCHEMA_UNKNOWN', unknown],
    ['SCHEMA_FOREIGN', foreign],
  ];
  await using writer = await log.writer('hostile-test');
  const [written] = await writer.transact({
    records: poison.map(([, value]) => ({
      topic: trades,
      partition,
      key: null,
      value,
      timestamp: BigInt(Date.now()),
    })),
  });
  const first = written?.baseOffset ?? 0n;
  pipeline = Pipeline.start({
    stack: testStackName,
    env: { MILLRACE_PARQUET_FLUSH_MS: '1500', MILLRACE_REGISTRY_LAG_MS: '1000' },
  });
  await loadSynthetic(config, { rows: 2_000, symbols: 40, seed: 8, venue: 'hostile', start: 1_704_070_800_000_000n });

  const { checks, ok } = await verifyAtRest(config, log, schemas, patienceMs);
  expect(checks.flatMap(({ name, examples }) => examples.map((example) => `${name}: ${example}`))).toEqual([]);
  expect(ok).toBe(true);
  for (const processor of ['ohlcv', 'parquet']) {
    const dead = await deadOf(processor);
    const reasons = poison.map((_, i) => dead.get(first + BigInt(i))?.reason);
    expect(reasons).toEqual(poison.map(([reason]) => reason));
    for (const [i, [, value]] of poison.entries()) expect(dead.get(first + BigInt(i))?.value?.equals(value)).toBe(true);
  }
});

test('a process that finds no Kafka says so in one line with the remedy, and ends with an error', async () => {
  const lost = Pipeline.start({
    stack: testStackName,
    names: ['anomaly'],
    env: { MILLRACE_KAFKA_BROKERS: '127.0.0.1:1' },
  });
  await eventually(async () => !lost.running);
  await expect(lost.check()).rejects.toThrow(/error: .*127\.0\.0\.1:1.*\[KAFKA_UNREACHABLE\]\n {2}remedy: /s);
});
