import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Pipeline } from '../../cli/demo/pipeline.ts';
import { setUp } from '../../cli/stack/setup.ts';
import { attach } from '../../cli/stack/stack.ts';
import { Registry } from '../../core/avro/registry/registry.ts';
import { KafkaLog } from '../../core/kafka/log.ts';
import type { Stack } from '../../infra/local/stack.ts';
import { patienceMs } from '../support/patience.ts';
import { testConfig, testStackName } from '../support/stack.ts';
import { loadSynthetic, seeded, verifyAtRest } from './harness/load.ts';

const config = testConfig();
const rows = 100_000;
const seed = 20_131_125;
/** Small cuts, so that kills fall into every step of many of them. */
const env = { MILLRACE_PARQUET_FLUSH_MS: '1500', MILLRACE_PARQUET_FLUSH_SIZE: '8000' };

let stack: Stack;
let log: KafkaLog;
let schemas: Registry;
const pipelines = new Map<string, Pipeline>();

function start(...names: string[]): void {
  pipelines.set(names.join(' '), Pipeline.start({ stack: testStackName, names, env }));
}

beforeAll(async () => {
  stack = await attach(testStackName);
  await setUp(config, { connectors: true });
  log = new KafkaLog({ brokers: config.kafka.brokers, clientId: 'fault-test' });
  schemas = new Registry({ url: config.registry.url });
});

afterAll(async () => {
  await Promise.all([...pipelines.values()].map((each) => each[Symbol.asyncDispose]()));
  await log?.[Symbol.asyncDispose]();
  await schemas?.[Symbol.asyncDispose]();
});

test('processors, sink and Kafka Connect killed again and again under a load of 100,000 rows lose and double nothing', async () => {
  start('ohlcv', 'anomaly');
  start('parquet');
  start('supervisor');
  const random = seeded(seed);
  const load = loadSynthetic(config, { rows, symbols: 24, seed });
  const loading = { done: false };
  load.finally(() => {
    loading.done = true;
  });
  const kills = { 'ohlcv anomaly': 0, parquet: 0, connect: 0 };
  const killOwn = async (names: 'ohlcv anomaly' | 'parquet', times: number): Promise<void> => {
    for (let i = 0; i < times; i++) {
      await delay(1_500 + random() * 3_000);
      await pipelines.get(names)?.kill();
      kills[names]++;
      start(...names.split(' '));
    }
  };
  const killConnect = async (times: number): Promise<void> => {
    for (let i = 0; i < times; i++) {
      await delay(2_000 + random() * 4_000);
      await stack.kill('connect', 'SIGKILL');
      kills.connect++;
      await stack.restart('connect');
    }
  };
  await Promise.all([load, killOwn('ohlcv anomaly', 6), killOwn('parquet', 6), killConnect(2)]);
  expect(await load).toBe(rows);
  expect(kills).toEqual({ 'ohlcv anomaly': 6, parquet: 6, connect: 2 });

  const { checks, excluded, ok } = await verifyAtRest(config, log, schemas, patienceMs);
  expect(checks.flatMap(({ name, examples }) => examples.map((example) => `${name}: ${example}`))).toEqual([]);
  expect(ok).toBe(true);
  expect(excluded).toMatchObject({ late: 0, dead: 0 });
});
