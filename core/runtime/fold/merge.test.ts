import { expect, test } from '@jest/globals';
import { Metrics } from '../../observability/metrics.ts';
import { MemoryLog } from '../../testing/memory-log.ts';
import { Task } from '../task.ts';

test('a task waits for an input that lags by the clock, however often it is woken up meanwhile', async () => {
  const log = new MemoryLog();
  for (const topic of ['a', 'b']) log.create(topic, 1);
  const { promise: taken, resolve } = Promise.withResolvers<void>();
  const task = new Task({
    topics: ['a', 'b'],
    partition: 0,
    log,
    group: 'merging',
    factory: () => ({
      open: async () => [0n, 0n],
      process: async ({ records }) => {
        if (records.length > 0) resolve();
      },
      tick: async () => undefined,
      close: async () => undefined,
    }),
    metrics: new Metrics({ node: false }).task({ name: 'merging', topic: 'a', partition: 0 }),
    queueRecords: 10,
    queueBytes: () => 1_048_576,
    clock: { now: () => performance.now(), sleep: (ms, signal) => sleep(ms, signal) },
    onEvent: () => undefined,
  });
  while (!task.ready) await sleep(1);
  const at = { partition: 0, from: 0n, next: 0n };
  const startedMs = performance.now();
  task.deliver({ ...at, topic: 'b', records: [], end: 5n });
  const record = { offset: 0n, timestamp: 0n, key: null, value: null };
  task.deliver({ ...at, topic: 'a', next: 1n, records: [record], end: 1n });
  const waking = setInterval(() => task.tables(new Map()), 1);
  await taken;
  clearInterval(waking);
  const waitedMs = performance.now() - startedMs;
  await task[Symbol.asyncDispose]();
  expect(waitedMs).toBeGreaterThanOrEqual(245);
});

function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
