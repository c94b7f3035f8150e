import { afterEach, expect, test } from '@jest/globals';
import { MillraceError } from '../base/errors.ts';
import type { Fetched, Log } from '../log/log.ts';
import { Metrics } from '../observability/metrics.ts';
import { MemoryLog } from '../testing/memory-log.ts';
import type { Handler, HandlerFactory, Ownership } from './handler.ts';
import { Runner, type RunnerEvent } from './runner.ts';

/** Copies records to `out`, committing each portion with its offset: the smallest handler that is exactly-once. */
class Copy implements Handler {
  readonly #own: Ownership;
  readonly #before: (fetched: Fetched) => Promise<void>;

  constructor(ownership: Ownership, before: (fetched: Fetched) => Promise<void> = async () => undefined) {
    this.#own = ownership;
    this.#before = before;
  }

  async open(): Promise<readonly bigint[]> {
    return [this.#own.committed?.offset ?? this.#own.start];
  }

  async process(fetched: Fetched): Promise<void> {
    await this.#before(fetched);
    const { topic, partition, group, writer } = this.#own;
    const records = fetched.records.map(({ key, value, timestamp }) => ({
      topic: 'out',
      partition,
      key,
      value,
      timestamp,
    }));
    await writer.transact({ records, offsets: { group, positions: [{ topic, partition, offset: fetched.next }] } });
  }

  async beat(): Promise<void> {
    const { partition, writer } = this.#own;
    await writer.transact({
      records: [{ topic: 'out', partition, key: null, value: Buffer.from('beat'), timestamp: 0n }],
    });
  }

  async tick(): Promise<void> {}
  async close(): Promise<void> {}
}

const metrics = new Metrics({ node: false });
const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const each of open.splice(0)) await each[Symbol.asyncDispose]();
});

function newLog(partitions = 2): MemoryLog {
  const log = new MemoryLog();
  log.create('in', partitions);
  log.create('out', partitions);
  return log;
}

async function start(
  log: MemoryLog,
  factory: HandlerFactory = (own) => new Copy(own),
  events: RunnerEvent[] = [],
): Promise<Runner> {
  const runner = await Runner.start({
    log,
    name: 'copy',
    inputs: [['in']],
    factory,
    metrics: (at) => metrics.task({ name: 'copy', ...at }),
    fetchBytes: 1_000_000,
    queueRecords: 100,
    onEvent: (event) => events.push(event),
  });
  open.push(runner);
  return runner;
}

function send(log: MemoryLog, from: number, to: number, partitions = 2): void {
  for (let i = from; i < to; i++) {
    log.append({ topic: 'in', partition: i % partitions, key: null, value: Buffer.from(`${i}`), timestamp: 1n });
  }
}

const copied = (log: MemoryLog): number[] =>
  log
    .records('out')
    .map(({ value }) => Number(value?.toString()))
    .sort((a, b) => a - b);
const range = (to: number): number[] => Array.from({ length: to }, (_, i) => i);

async function until(condition: () => boolean, timeoutMs = 8_000): Promise<void> {
  const giveUpAt = Date.now() + timeoutMs;
  while (!condition()) {
    if (Date.now() > giveUpAt) throw new Error('it did not happen in time');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

test('every record is processed once, in the order of its partition', async () => {
  const log = newLog();
  send(log, 0, 500);
  await start(log);
  await until(() => copied(log).length >= 500);
  const inOrder = log.records('out', 1).map(({ value }) => Number(value?.toString()));
  expect(inOrder).toEqual(range(500).filter((i) => i % 2 === 1));
});

test('what waits is bounded in bytes over all partitions, and an empty queue is always filled', async () => {
  const log = newLog();
  const bytes = 1_000_000;
  const waiting = [0, 0];
  let most = 0;
  // One record of 1 MB a partition and fetch, as a broker answers whatever limit it is given.
  const fetcher: Log['fetcher'] = () => ({
    async fetch(positions) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      return positions.map(({ topic, partition, offset }) => {
        waiting[partition] = (waiting[partition] ?? 0) + 1;
        most = Math.max(most, (waiting[0] ?? 0) + (waiting[1] ?? 0));
        const records = [{ offset, timestamp: 1n, key: null, value: null }];
        return { topic, partition, from: offset, next: offset + 1n, records, bytes, end: 1_000n };
      });
    },
    async [Symbol.asyncDispose]() {},
  });
  let done = 0;
  const runner = await Runner.start({
    log: Object.assign(Object.create(log) as MemoryLog, {
      fetcher,
      join: log.join.bind(log),
      writer: log.writer.bind(log),
      committed: log.committed.bind(log),
      starts: log.starts.bind(log),
    }),
    name: 'copy',
    inputs: [['in']],
    factory: (own) =>
      new Copy(own, async ({ partition }) => {
        await new Promise((resolve) => setTimeout(resolve, 5));
        waiting[partition] = (waiting[partition] ?? 0) - 1;
        done++;
      }),
    metrics: (at) => metrics.task({ name: 'copy', ...at }),
    fetchBytes: 1_000_000,
    queueRecords: 5_000,
    queueBytes: 6 * bytes,
  });
  open.push(runner);
  await until(() => done >= 40);
  // Three wait for each partition, and one is being processed.
  expect(most).toBeLessThanOrEqual(8);
  expect(most).toBeGreaterThan(4);
});

test('members that join and leave under load lose and repeat nothing', async () => {
  const log = newLog(6);
  await start(log);
  let sent = 0;
  for (let round = 0; round < 5; round++) {
    const guest = await start(log);
    send(log, sent, sent + 300, 6);
    sent += 300;
    await new Promise((resolve) => setTimeout(resolve, 30));
    await guest[Symbol.asyncDispose]();
    send(log, sent, sent + 300, 6);
    sent += 300;
  }
  await until(() => copied(log).length >= sent, 20_000);
  expect(copied(log)).toEqual(range(sent));
});

test('a failed commit is repeated from what is committed, and an unknown one is not repeated', async () => {
  const log = newLog(1);
  log.fault('millrace.copy.in.0', 'abort', 'unknown-committed', 'unknown-aborted');
  const events: RunnerEvent[] = [];
  await start(log, undefined, events);
  for (let i = 0; i < 40; i++) {
    send(log, i, i + 1, 1);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  await until(() => copied(log).length >= 40);
  send(log, 40, 50, 1);
  await until(() => copied(log).length >= 50);
  expect(copied(log)).toEqual(range(50));
  expect(events.filter(({ kind }) => kind === 'interrupted')).toHaveLength(3);
});

test('a task that is fenced by another owner of its partition closes, and takes over again only after a while', async () => {
  const log = newLog(1);
  const events: RunnerEvent[] = [];
  await start(log, undefined, events);
  send(log, 0, 10, 1);
  await until(() => copied(log).length >= 10);
  await log.writer('millrace.copy.in.0');
  send(log, 10, 20, 1);
  await until(() => copied(log).length >= 20);
  expect(copied(log)).toEqual(range(20));
  const fenced = events.find((event) => event.kind === 'interrupted');
  expect(fenced).toMatchObject({ error: { code: 'FENCED' } });
  expect((fenced as { retryMs: number }).retryMs).toBeGreaterThan(1_000);
});

test('while a handler is busy its queue fills to its bound and fetching for it stops, and other partitions go on', async () => {
  const log = newLog(2);
  let release: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  const portions: number[] = [];
  await start(
    log,
    (own) =>
      new Copy(own, async (fetched) => {
        if (own.partition !== 0) return;
        portions.push(fetched.records.length);
        await gate;
      }),
  );
  for (let burst = 0; burst < 20; burst++) {
    send(log, burst * 100, burst * 100 + 100);
    await new Promise((resolve) => setTimeout(resolve, 15));
  }
  await until(() => log.records('out', 1).length === 1000);
  expect(portions).toHaveLength(1);
  release();
  await until(() => copied(log).length >= 2000);
  expect(copied(log)).toEqual(range(2000));
});

test('a heartbeat reaches a task only after every record that precedes it', async () => {
  const log = newLog(1);
  const runner = await start(log);
  send(log, 0, 5, 1);
  await until(() => copied(log).length >= 5);
  send(log, 5, 50, 1);
  log.appendMarker({ topic: 'in', partition: 0 });
  await runner.beat({ logTime: 1n, offset: 0n });
  send(log, 50, 60, 1);
  await until(() => log.records('out').length >= 61);
  const values = log.records('out').map(({ value }) => `${value}`);
  expect(values.indexOf('beat')).toBeGreaterThan(values.indexOf('49'));
});

test('an error that no retry can cure ends the runner with that error', async () => {
  const log = newLog(1);
  const runner = await start(
    log,
    (own) =>
      new Copy(own, async () => {
        throw new MillraceError('SCHEMA_INCOMPATIBLE', 'a stop');
      }),
  );
  send(log, 0, 1, 1);
  await expect(runner.done).rejects.toMatchObject({ code: 'SCHEMA_INCOMPATIBLE' });
});

test('each caller that disposes of a runner waits until its tasks have committed and the group is left', async () => {
  const log = newLog(1);
  let entered = false;
  const { promise: gate, resolve: release } = Promise.withResolvers<void>();
  const runner = await start(
    log,
    (own) =>
      new Copy(own, async () => {
        entered = true;
        await gate;
      }),
  );
  send(log, 0, 1, 1);
  await until(() => entered);
  const first = runner[Symbol.asyncDispose]();
  let ended = false;
  const second = runner[Symbol.asyncDispose]().then(() => {
    ended = true;
  });
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(ended).toBe(false);
  release();
  await Promise.all([first, second]);
  expect(copied(log)).toEqual([0]);
});
