import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { MillraceError } from '../base/errors.ts';
import type { Transaction, Writer } from '../log/log.ts';
import { Metrics } from '../observability/metrics.ts';
import { MemoryLog } from '../testing/memory-log.ts';
import { Committer } from './commit.ts';

const at = { topic: 'in', partition: 0 };

/** A writer in front of the real one that takes its time, and can fail. */
async function committerOver(fail: (transaction: number) => boolean) {
  const log = new MemoryLog();
  log.create('in', 1);
  log.create('out', 1);
  const writer = await log.writer('id');
  const seen = { inFlight: 0, most: 0, started: 0 };
  const slow: Writer = {
    transact: async (transaction: Transaction) => {
      seen.started++;
      const number = seen.started;
      seen.most = Math.max(seen.most, ++seen.inFlight);
      await delay(10);
      seen.inFlight--;
      if (fail(number)) throw new MillraceError('COMMIT_UNKNOWN', 'no answer');
      return writer.transact(transaction);
    },
    [Symbol.asyncDispose]: () => writer[Symbol.asyncDispose](),
  };
  const metrics = new Metrics({ node: false }).task({ name: 'c', ...at });
  const input = { topic: at.topic, committed: undefined, start: 0n };
  const ownership = {
    ...at,
    ...input,
    inputs: [input],
    log,
    writer: slow,
    group: 'g',
    signal: new AbortController().signal,
    ending: new AbortController().signal,
  };
  const committer = new Committer(ownership, { commitIntervalMs: 0 }, metrics, Date.now);
  committer.begin(new Map([['in', 0n]]));
  const commit = async (offset: number): Promise<void> => {
    committer.count(1);
    const record = { topic: 'out', partition: 0, key: null, value: Buffer.from(`${offset}`), timestamp: 0n };
    await committer.commit(new Map([['in', BigInt(offset)]]), () => ({ outputs: [record], changelog: [] }));
  };
  return { log, committer, commit, seen };
}

test('folding goes on during a commit, but the next transaction waits for it', async () => {
  const { log, committer, commit, seen } = await committerOver(() => false);
  await commit(1);
  expect(seen.inFlight).toBe(1);
  await commit(2);
  await commit(3);
  await committer.settle();
  expect(seen.most).toBe(1);
  expect(log.records('out').map(({ value }) => `${value}`)).toEqual(['1', '2', '3']);
  expect(await log.committed('g', 'in')).toMatchObject([{ offset: 3n }]);
});

test('after a transaction that failed nothing more is sent, and the failure reaches the task', async () => {
  const { log, committer, commit, seen } = await committerOver((transaction) => transaction === 2);
  await commit(1);
  await commit(2);
  await expect(commit(3)).rejects.toMatchObject({ code: 'COMMIT_UNKNOWN' });
  expect(() => committer.check()).toThrow('no answer');
  expect(seen.started).toBe(2);
  expect(await log.committed('g', 'in')).toMatchObject([{ offset: 1n }]);
});

test('nothing is committed when nothing has happened', async () => {
  const { committer, seen } = await committerOver(() => false);
  await committer.commit(new Map([['in', 0n]]), () => ({ outputs: [], changelog: [] }));
  expect(seen.started).toBe(0);
});
