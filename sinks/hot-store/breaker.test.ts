import { expect, test } from '@jest/globals';
import type { Clock } from '../../core/base/clock.ts';
import { MillraceError } from '../../core/base/errors.ts';
import { Breaker } from './breaker.ts';

/** Time that a test moves. */
class TestClock implements Clock {
  #nowMs = 0;
  readonly #sleepers = new Set<{ readonly untilMs: number; readonly wake: () => void }>();

  now(): number {
    return this.#nowMs;
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return;
    await new Promise<void>((resolve) => {
      const sleeper = {
        untilMs: this.#nowMs + ms,
        wake: () => {
          this.#sleepers.delete(sleeper);
          resolve();
        },
      };
      this.#sleepers.add(sleeper);
      signal?.addEventListener('abort', sleeper.wake, { once: true });
    });
  }

  async advance(ms: number): Promise<void> {
    this.#nowMs += ms;
    for (const sleeper of [...this.#sleepers]) if (sleeper.untilMs <= this.#nowMs) sleeper.wake();
    await settle();
  }
}

/** Runs everything that needs no passing of time. */
async function settle(): Promise<void> {
  for (let round = 0; round < 5; round++) await once();
}

async function once(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

const never = new AbortController().signal;

function setUp() {
  const clock = new TestClock();
  const told: string[] = [];
  const state = { down: true, calls: 0, atOnce: 0, mostAtOnce: 0 };
  const breaker = new Breaker({
    clock,
    failures: 3,
    firstWaitMs: 100,
    longestWaitMs: 1_000,
    onChange: (open, error) => told.push(open ? `open: ${(error as Error).message}` : 'closed'),
  });
  const work = async (): Promise<string> => {
    state.calls++;
    state.mostAtOnce = Math.max(state.mostAtOnce, ++state.atOnce);
    await once();
    state.atOnce--;
    if (state.down) throw new MillraceError('HOT_STORE_UNAVAILABLE', `down at ${clock.now()}`);
    return 'done';
  };
  return { clock, told, state, breaker, work };
}

test('a working store is called at once by every caller', async () => {
  const { breaker, state, work } = setUp();
  state.down = false;
  expect(await Promise.all([breaker.run(work, never), breaker.run(work, never)])).toEqual(['done', 'done']);
  expect(state.mostAtOnce).toBe(2);
  expect(breaker.open).toBe(false);
});

test('it opens after three consecutive failures, and reports the reason once', async () => {
  const { breaker, clock, told, state, work } = setUp();
  const done = breaker.run(work, never);
  await settle();
  expect([state.calls, breaker.open]).toEqual([1, false]);
  await clock.advance(100);
  expect([state.calls, breaker.open]).toEqual([2, false]);
  await clock.advance(200);
  expect([state.calls, breaker.open]).toEqual([3, true]);
  await clock.advance(400);
  expect(told).toEqual(['open: down at 300']);
  state.down = false;
  await clock.advance(800);
  expect(await done).toBe('done');
  expect(told).toEqual(['open: down at 300', 'closed']);
});

test('waits double up to the longest one', async () => {
  const { breaker, clock, state, work } = setUp();
  const done = breaker.run(work, never);
  await settle();
  for (const [i, waitMs] of [100, 200, 400, 800, 1_000, 1_000].entries()) {
    await clock.advance(waitMs - 1);
    expect(state.calls).toBe(i + 1);
    await clock.advance(1);
    expect(state.calls).toBe(i + 2);
  }
  state.down = false;
  await clock.advance(1_000);
  await done;
});

test('while it is open one caller tries and the others wait; its success releases all of them', async () => {
  const { breaker, clock, state, work } = setUp();
  const first = breaker.run(work, never);
  await settle();
  await clock.advance(100);
  await clock.advance(200);
  const others = [1, 2, 3].map(() => breaker.run(work, never));
  state.mostAtOnce = 0;
  const { calls } = state;
  await clock.advance(400);
  expect([state.calls, state.mostAtOnce]).toEqual([calls + 1, 1]);
  state.down = false;
  await clock.advance(800);
  await settle();
  expect(await Promise.all([first, ...others])).toEqual(['done', 'done', 'done', 'done']);
});

test('calls that ran side by side and failed of one outage are one failure', async () => {
  const { breaker, clock, state, work } = setUp();
  const calls = [1, 2, 3, 4].map(() => breaker.run(work, never));
  await settle();
  expect([state.calls, breaker.open]).toEqual([4, false]);
  state.down = false;
  await clock.advance(100);
  await settle();
  expect(await Promise.all(calls)).toHaveLength(4);
});

test('an error about single rows is thrown at once, and counts as an answer', async () => {
  const { breaker, clock, told, work } = setUp();
  const ending = new AbortController();
  const first = breaker.run(work, ending.signal).catch((error: unknown) => error);
  await settle();
  await clock.advance(100);
  await clock.advance(200);
  expect(breaker.open).toBe(true);
  ending.abort();
  await first;
  const refuses = async (): Promise<string> => {
    throw new MillraceError('BAD_RECORD', 'no');
  };
  const refused = breaker.run(refuses, never).catch((error: unknown) => error);
  await clock.advance(400);
  expect([await refused, told.at(-1)]).toEqual([expect.objectContaining({ code: 'BAD_RECORD' }), 'closed']);
});

test('a waiting caller ends with its task, with the failure that it waited for', async () => {
  const { breaker, clock, state, work } = setUp();
  const ending = new AbortController();
  const waiting = breaker.run(work, ending.signal);
  const outcome = waiting.catch((error: unknown) => error);
  await settle();
  await clock.advance(100);
  await clock.advance(200);
  ending.abort();
  expect(await outcome).toMatchObject({ code: 'HOT_STORE_UNAVAILABLE', message: 'down at 300' });
  const { calls } = state;
  await expect(breaker.run(work, ending.signal)).rejects.toMatchObject({ message: 'down at 300' });
  expect(state.calls).toBe(calls);
});

test('a task that ends tries once while the store works', async () => {
  const { breaker, state, work } = setUp();
  state.down = false;
  expect(await breaker.run(work, AbortSignal.abort())).toBe('done');
});
