import { afterEach, expect, test } from '@jest/globals';
import type { Clock } from '../../core/base/clock.ts';
import { MillraceError } from '../../core/base/errors.ts';
import type { Fetched } from '../../core/log/log.ts';
import { silentLogger } from '../../core/observability/logger.ts';
import { Metrics } from '../../core/observability/metrics.ts';
import { openObservability } from '../../core/observability/server.ts';
import type { Handler, Ownership } from '../../core/runtime/handler.ts';
import { Runner } from '../../core/runtime/runner.ts';
import { MemoryLog } from '../../core/testing/memory-log.ts';
import { Stages } from './children.ts';
import type { Service } from './service.ts';

/** Pauses of a stage end when the test says so; `waits` has their lengths. */
class StageClock implements Clock {
  readonly waits: number[] = [];
  #wake: (() => void)[] = [];

  now(): number {
    return 0;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    this.waits.push(ms);
    return new Promise((resolve) => {
      this.#wake.push(resolve);
      signal?.addEventListener('abort', () => resolve(), { once: true });
    });
  }

  pass(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }
}

const metrics = new Metrics({ node: false });
const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each[Symbol.asyncDispose]();
});

/** Counts the records it takes. A poisoned stage fails at each record with an error that no retry cures. */
class Counting implements Handler {
  readonly #own: Ownership;
  readonly #taken: string[];
  readonly #isPoisoned: () => boolean;

  constructor(own: Ownership, taken: string[], isPoisoned: () => boolean) {
    this.#own = own;
    this.#taken = taken;
    this.#isPoisoned = isPoisoned;
  }

  open = async (): Promise<readonly bigint[]> => [this.#own.committed?.offset ?? this.#own.start];

  async process({ topic, partition, next, records }: Fetched): Promise<void> {
    if (this.#isPoisoned()) throw new MillraceError('S3_DENIED', 'the bucket refuses writes');
    for (const { value } of records) this.#taken.push(`${value}`);
    const { writer, group } = this.#own;
    await writer.transact({ records: [], offsets: { group, positions: [{ topic, partition, offset: next }] } });
  }

  async tick(): Promise<void> {}
  async close(): Promise<void> {}
}

/** Stages over one in-memory log, composed as `run` composes them over Kafka. */
async function run(names: readonly string[], poisoned: Set<string>) {
  const log = new MemoryLog();
  log.create('in', 1);
  const clock = new StageClock();
  const signal = new AbortController();
  const taken = new Map<string, string[]>(names.map((name) => [name, []]));
  const start = async (name: string): Promise<Service> => {
    const runner = await Runner.start({
      log,
      name,
      inputs: [['in']],
      factory: (own) => new Counting(own, taken.get(name) ?? [], () => poisoned.has(name)),
      metrics: (at) => metrics.task({ name, ...at }),
      fetchBytes: 1_000,
      queueRecords: 10,
    });
    return {
      name,
      done: runner.done,
      get ready() {
        return runner.ready;
      },
      [Symbol.asyncDispose]: () => runner[Symbol.asyncDispose](),
    };
  };
  const stages = new Stages({
    starts: new Map(names.map((name) => [name, () => start(name)])),
    retryMs: 60_000,
    signal: signal.signal,
    clock,
    logger: silentLogger(),
    up: (name, up) => metrics.stageUp.set({ name }, up ? 1 : 0),
  });
  open.push(stages);
  const server = await openObservability({
    registry: metrics.registry,
    failures: () => stages.failures(),
    checks: Object.fromEntries(names.map((name) => [name, () => stages.ready(name)])),
  });
  open.push(server);
  await stages.started;
  const send = (text: string): bigint =>
    log.append({ topic: 'in', partition: 0, key: null, value: Buffer.from(text), timestamp: 0n });
  const ask = async (path: string): Promise<{ code: number; body: Record<string, unknown> }> => {
    const response = await fetch(server.url + path);
    return { code: response.status, body: (await response.json()) as Record<string, unknown> };
  };
  const up = async (name: string): Promise<number | undefined> =>
    (await metrics.stageUp.get()).values.find(({ labels }) => labels.name === name)?.value;
  return { stages, clock, taken, send, ask, up, signal };
}

async function until(holds: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !holds(); i++) await new Promise((resolve) => setTimeout(resolve, 10));
  expect(holds()).toBe(true);
}

test('a stage that fails permanently stops alone, is named with its code, and continues from its commits when it can', async () => {
  const poisoned = new Set(['sink']);
  const { stages, clock, taken, send, ask, up, signal } = await run(['candles', 'sink'], poisoned);
  expect([await up('candles'), await up('sink')]).toEqual([1, 1]);
  send('a');
  await until(() => stages.failures()['sink'] !== undefined);
  send('b');
  await until(() => taken.get('candles')?.length === 2);

  expect([await up('candles'), await up('sink')]).toEqual([1, 0]);
  const reason = expect.stringMatching(/^S3_DENIED: the bucket refuses writes/);
  expect(await ask('/ready')).toMatchObject({
    code: 503,
    body: { checks: { candles: { ok: true }, sink: { ok: false, error: reason } } },
  });
  expect(await ask('/health')).toMatchObject({ code: 200, body: { status: 'degraded', failed: { sink: reason } } });
  expect(() => stages.throwIfFailed()).toThrow(/bucket/);

  await until(() => clock.waits.length === 1);
  clock.pass();
  await until(() => clock.waits.length >= 3);
  expect(clock.waits.filter((ms) => ms >= 60_000).slice(-1)).toEqual([120_000]);

  poisoned.clear();
  clock.pass();
  await until(() => taken.get('sink')?.length === 2);
  expect(taken.get('sink')).toEqual(['a', 'b']);
  expect((await ask('/ready')).code).toBe(200);
  expect(await up('sink')).toBe(0);
  clock.pass();
  await until(() => stages.failures()['sink'] === undefined);
  expect(await up('sink')).toBe(1);
  stages.throwIfFailed();
  signal.abort();
});

test('when all stages have failed the process ends with the error', async () => {
  const { stages, send } = await run(['candles', 'sink'], new Set(['candles', 'sink']));
  send('a');
  await expect(stages.done).rejects.toMatchObject({ code: 'S3_DENIED' });
});

test('a stage that is alone ends the process with its error, as it does without others', async () => {
  const { stages, send } = await run(['sink'], new Set(['sink']));
  send('a');
  await expect(stages.done).rejects.toMatchObject({ code: 'S3_DENIED' });
});

test('a stage that cannot start leaves the others alone, and one that is stopped has not failed', async () => {
  const signal = new AbortController();
  const stages = new Stages({
    starts: new Map([
      [
        'good',
        async () => ({
          name: 'good',
          done: new Promise<void>(() => undefined),
          ready: true,
          async [Symbol.asyncDispose]() {},
        }),
      ],
      ['bad', () => Promise.reject(new MillraceError('S3_BUCKET_MISSING', 'there is no bucket'))],
    ]),
    retryMs: 60_000,
    signal: signal.signal,
    clock: new StageClock(),
    logger: silentLogger(),
    up: () => undefined,
  });
  open.push(stages);
  await stages.started;
  expect(stages.ready('good')).toBe(true);
  expect(stages.failures()).toEqual({ bad: 'S3_BUCKET_MISSING: there is no bucket' });
  signal.abort();
  await stages[Symbol.asyncDispose]();
  expect(Object.keys(stages.failures())).toEqual(['bad']);
});
