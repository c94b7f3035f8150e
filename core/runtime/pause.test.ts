import { afterEach, expect, test } from '@jest/globals';
import type { Fetched } from '../log/log.ts';
import { Metrics } from '../observability/metrics.ts';
import { MemoryLog } from '../testing/memory-log.ts';
import type { Handler, Ownership } from './handler.ts';
import { Runner } from './runner.ts';

const taken: string[] = [];
const metrics = new Metrics({ node: false });
let runner: Runner;
afterEach(async () => {
  await runner[Symbol.asyncDispose]();
  taken.length = 0;
});

/** Notes what it is given. */
function note(own: Ownership): Handler {
  return {
    open: async () => [own.start],
    async process({ partition, records }: Fetched) {
      for (const { value } of records) taken.push(`${partition}:${value}`);
    },
    async beat() {
      taken.push(`${own.partition}:beat`);
    },
    async tables() {
      taken.push(`${own.partition}:tables`);
    },
    async tick() {},
    async close() {},
  };
}

async function start(log: MemoryLog, paused: Set<number>): Promise<void> {
  runner = await Runner.start({
    log,
    name: 'noted',
    inputs: [['in']],
    factory: note,
    metrics: (at) => metrics.task({ name: 'noted', ...at }),
    fetchBytes: 1_000_000,
    queueRecords: 100,
    isPaused: (partition) => paused.has(partition),
  });
}

function send(log: MemoryLog, partition: number, value: string): void {
  log.append({ topic: 'in', partition, key: null, value: Buffer.from(value), timestamp: 1n });
}

async function until(condition: () => boolean): Promise<void> {
  const giveUpAt = Date.now() + 8_000;
  while (!condition()) {
    if (Date.now() > giveUpAt) throw new Error(`it did not happen in time: ${taken.join(' ')}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function gauge(partition: number): Promise<number | undefined> {
  const { values } = await metrics.taskPaused.get();
  return values.find(({ labels }) => labels['name'] === 'noted' && labels.partition === partition)?.value;
}

test('a task that is paused from the start takes no record and no heartbeat, while the others go on; resumed, it misses nothing', async () => {
  const log = new MemoryLog();
  log.create('in', 2);
  const paused = new Set([0]);
  await start(log, paused);
  send(log, 0, 'a');
  send(log, 1, 'b');
  await until(() => taken.includes('1:b'));
  await runner.beat({ logTime: 5n, offset: 0n });
  await until(() => taken.includes('1:beat'));
  expect(taken.filter((each) => each.startsWith('0'))).toEqual([]);
  expect([await gauge(0), await gauge(1), runner.ready]).toEqual([1, 0, true]);
  paused.clear();
  runner.obey();
  await until(() => taken.includes('0:a'));
  expect(await gauge(0)).toBe(0);
});

test('a task that is paused in its course stops where it is, and goes on from there', async () => {
  const log = new MemoryLog();
  log.create('in', 1);
  const paused = new Set<number>();
  await start(log, paused);
  send(log, 0, 'a');
  await until(() => taken.length === 1);
  paused.add(0);
  runner.obey();
  for (const value of ['b', 'c', 'd']) send(log, 0, value);
  await new Promise((resolve) => setTimeout(resolve, 400));
  expect(taken).toEqual(['0:a']);
  paused.clear();
  runner.obey();
  await until(() => taken.length === 4);
  expect(taken).toEqual(['0:a', '0:b', '0:c', '0:d']);
});
