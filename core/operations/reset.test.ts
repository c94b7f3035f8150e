import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { schemas as contracts } from '../../schemas/gen/index.ts';
import type { JournalEntry } from '../../schemas/gen/journal_entry.ts';
import { AvroDecoder } from '../avro/decoder.ts';
import type { Groups } from '../log/groups.ts';
import { groupOf } from '../runtime/runner.ts';
import { Driver } from '../testing/driver.ts';
import { type Change, change, counter, input, output } from './fixtures/counter.ts';
import { parseTarget, planReset, type ResetOptions, reset } from './reset.ts';

let driver: Driver<Change>;
let members: string[];

beforeEach(async () => {
  members = [];
  driver = await Driver.open(counter({ amount: 1_000n }), { partitions: 2 });
});
afterEach(async () => {
  await driver[Symbol.asyncDispose]();
});

const groups: Groups = {
  members: async () => members,
  offsetsAt: async () => [1n, 1n],
};

const options = (to: string, partition?: number): ResetOptions => ({
  log: driver.log,
  schemas: driver.schemas,
  groups,
  processor: 'counter',
  inputs: [input],
  outputs: [output, 'counter.dead'],
  target: parseTarget(to),
  ...(partition === undefined ? {} : { partition }),
});

async function carryOut(to: string, partition?: number): Promise<void> {
  const task = options(to, partition);
  await reset(task, await planReset(task), 9_000n);
}

async function sums(): Promise<(bigint | undefined)[]> {
  return (await driver.outputs<object, { sum: bigint }>(output)).map(({ value }) => value?.sum);
}

async function sendAndRun(): Promise<void> {
  driver.send(change('a', 1n));
  driver.send(change('a', 2n));
  driver.send(change('b', 5n), { partition: 1 });
  await driver.run();
}

test('a plan tells positions and state, and changes nothing', async () => {
  await sendAndRun();
  const plan = await planReset(options('earliest'));
  expect(plan.tasks).toEqual([
    { partition: 0, inputs: [{ topic: input, start: 0n, end: 2n, committed: 2n, target: 0n }], stateEntries: 1 },
    { partition: 1, inputs: [{ topic: input, start: 0n, end: 1n, committed: 1n, target: 0n }], stateEntries: 1 },
  ]);
  driver.crash();
  driver.send(change('a', 4n));
  await driver.run();
  expect(await sums()).toEqual([1n, 3n, 7n, 5n]);
});

test('a processor that is reset to earliest makes the same of its input again, from empty state, duplicates recognised anew', async () => {
  await sendAndRun();
  driver.crash();
  await carryOut('earliest');
  await driver.run();
  expect(await sums()).toEqual([1n, 3n, 1n, 3n, 5n, 5n]);
});

test('only the chosen partition is reset', async () => {
  await sendAndRun();
  driver.crash();
  await carryOut('earliest', 1);
  driver.send(change('a', 10n));
  await driver.run();
  expect(await sums()).toEqual([1n, 3n, 13n, 5n, 5n]);
});

test('latest skips what is there, an offset and a time begin in the middle', async () => {
  await sendAndRun();
  driver.crash();
  driver.send(change('a', 100n));
  await carryOut('latest', 0);
  await driver.run();
  expect(await sums()).toEqual([1n, 3n, 5n]);
  driver.crash();
  await carryOut('1', 0);
  await driver.run();
  expect((await sums()).slice(0, -1)).toEqual([1n, 3n, 2n, 102n]);
  driver.crash();
  await carryOut('2025-06-02T12:00:00Z', 0);
  await driver.run();
  expect((await sums()).slice(4, -1)).toEqual([2n, 102n]);
});

test('a processor with members is refused, and stays as it was', async () => {
  await sendAndRun();
  members = ['millrace at /127.0.0.1'];
  await expect(carryOut('earliest')).rejects.toMatchObject({ code: 'GROUP_ACTIVE' });
  expect(await driver.log.committed(groupOf('counter'), input)).toMatchObject([{ offset: 2n }, { offset: 1n }]);
});

test.each(['abort', 'unknown-committed', 'unknown-aborted'] as const)(
  'a reset of more state than one transaction takes, interrupted by %s at any step, leaves old state, none, or a task that refuses to start',
  async (fault) => {
    const id = `${groupOf('counter')}.${input}.0`;
    for (let step = 0; step < 4; step++) {
      await using each = await Driver.open(counter({ amount: 1_000n }));
      for (let i = 0; i < 45; i++) each.send(change(`k${i}`, 1n));
      await each.run();
      each.crash();
      const before = each.log.records(output, 0).length;
      const task = { ...options('earliest'), log: each.log, schemas: each.schemas, tombstonesPerTransaction: 20 };
      const plan = await planReset(task);
      const faults = Array.from({ length: step }, () => 'none' as const);
      let calls = 0;
      const writer = each.log.writer.bind(each.log);
      each.log.writer = async (name) => {
        const opened = await writer(name);
        return {
          transact: (transaction) => {
            if (name === id && calls++ === faults.length) each.log.fault(id, fault);
            return opened.transact(transaction);
          },
          [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
        };
      };
      await expect(reset(task, plan, 9_000n)).rejects.toThrow();
      each.log.writer = writer;
      const outcome = await each.run().then(
        () => each.log.records(output, 0).length - before,
        (error: { code?: string }) => error.code,
      );
      expect(['STATE_CORRUPT', 0, 45]).toContain(outcome);
      if (step > 0 && step < 3) expect(outcome).toBe('STATE_CORRUPT');
      each.crash();
      const now = each.log.records(output, 0).length;
      await reset(task, await planReset(task), 9_000n);
      await each.run();
      expect(each.log.records(output, 0).length - now).toBe(45);
    }
  },
);

test('the journal tells of a reset, with the ends of the outputs', async () => {
  await sendAndRun();
  driver.crash();
  const [end] = await driver.log.ends(output);
  await carryOut('1', 0);
  const decoder = new AvroDecoder<JournalEntry>(driver.schemas, contracts.journal_entry);
  const values = driver.log.records('counter.journal', 0).map(({ value }) => value as Buffer);
  await decoder.prepare(decoder.missing(values));
  expect(values.map((value) => decoder.decode(value))).toMatchObject([
    { kind: 'RESET', topic: input, next_offset: 1n, output_ends: { [output]: end } },
  ]);
});

test.each([
  ['5', 'has offsets 0 to 2, not 5'],
  ['soon', 'is no place in a topic'],
])('the place %p is refused', async (to, message) => {
  await sendAndRun();
  await expect(async () => carryOut(to, 0)).rejects.toThrow(message);
});

test('a partition that is not there is refused', async () => {
  await expect(carryOut('earliest', 7)).rejects.toThrow('has no partition 7');
});

test('of a processor with several inputs one offset cannot mean all of them', async () => {
  driver.log.create('second', 2);
  const task = { ...options('0'), inputs: [input, 'second'] };
  await expect(planReset(task)).rejects.toThrow('one offset cannot mean both');
});
