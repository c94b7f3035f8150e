import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { Groups } from '../../log/groups.ts';
import type { Log } from '../../log/log.ts';
import { newestRecord } from '../../log/position.ts';
import { defineProcessor, type Processor } from '../../processor/define.ts';
import { groupOf } from '../../runtime/runner.ts';
import { changelogTopic, taskKey } from '../../state/changelog/changelog.ts';
import { Driver } from '../../testing/driver.ts';
import { MemoryLog } from '../../testing/memory-log.ts';
import { type Change, change, counter, input, output } from '../fixtures/counter.ts';
import { parseTarget, planReset, reset } from '../reset.ts';
import { positionsOfProcessor } from './positions.ts';
import { planRestore, type RestoreAction, restoreOffsets } from './restore.ts';

let members: string[];
const groups: Groups = { members: async () => members, offsetsAt: async () => [] };
const group = groupOf('counter');
const positions = positionsOfProcessor('counter', [input]);

let driver: Driver<Change>;

beforeEach(async () => {
  members = [];
  driver = await Driver.open(counter({ amount: 1_000n }), { partitions: 2 });
});
afterEach(async () => {
  await driver[Symbol.asyncDispose]();
});

async function sums(): Promise<(bigint | undefined)[]> {
  return (await driver.outputs<object, { sum: bigint }>(output)).map(({ value }) => value?.sum);
}

/** The task has state, is stopped, and Kafka has deleted its offsets. */
async function expire(): Promise<void> {
  driver.send(change('a', 1n));
  driver.send(change('a', 2n));
  await driver.run();
  driver.crash();
  driver.log.forget(group);
  driver.send(change('a', 4n));
}

const plan = () => planRestore({ log: driver.log, groups, positions });
const actions = async (): Promise<RestoreAction[]> => (await plan()).tasks.flat().map(({ action }) => action);
const restore = async () => restoreOffsets({ log: driver.log, groups, positions }, await plan());

async function move(log: Log, topic: string, offset: bigint): Promise<void> {
  await using writer = await log.writer('somebody');
  await writer.transact({ records: [], offsets: { group, positions: [{ topic, partition: 0, offset }] } });
}

describe('a task whose group has lost its offsets', () => {
  test('stops before it takes a record, and goes on exactly there after a restore', async () => {
    await expire();
    await expect(driver.run()).rejects.toMatchObject({
      code: 'OFFSETS_EXPIRED',
      remedy: expect.stringContaining('millrace offsets restore counter'),
    });
    expect(await sums()).toEqual([1n, 3n]);
    await restore();
    await driver.run();
    expect(await sums()).toEqual([1n, 3n, 7n]);
  });

  test('stops, too, when its state was written without positions, and a reset is the way on', async () => {
    await expire();
    const at = { topic: changelogTopic('counter'), partition: 0 };
    const newest = await newestRecord(driver.log, at, ({ key }) => key?.equals(taskKey) === true);
    const { positions: written, ...old } = JSON.parse(String(newest?.value));
    expect(written).toEqual({ [input]: '2' });
    driver.log.append({ ...at, key: taskKey, value: Buffer.from(JSON.stringify(old)), timestamp: 0n });
    await expect(driver.run()).rejects.toMatchObject({
      code: 'OFFSETS_EXPIRED',
      remedy: expect.stringContaining('millrace offsets reset counter'),
    });
    await expect(restore()).rejects.toMatchObject({ code: 'OFFSET_OUT_OF_RANGE' });
  });

  test('without state begins at the earliest record', async () => {
    driver.send(change('a', 1n));
    driver.log.forget(group);
    await driver.run();
    expect(await sums()).toEqual([1n]);
  });
});

test('state of a release without positions goes on from the offset of the group', async () => {
  driver.send(change('a', 1n));
  await driver.run();
  driver.crash();
  const at = { topic: changelogTopic('counter'), partition: 0 };
  const newest = await newestRecord(driver.log, at, ({ key }) => key?.equals(taskKey) === true);
  const { positions: _, ...old } = JSON.parse(String(newest?.value));
  driver.log.append({ ...at, key: taskKey, value: Buffer.from(JSON.stringify(old)), timestamp: 0n });
  expect(await actions()).toEqual(['keep', 'keep']);
  driver.send(change('a', 2n));
  await driver.run();
  expect(await sums()).toEqual([1n, 3n]);
});

test.each([0n, 1n, 3n])('a group that was moved by hand to %p, away from the state, stops the task', async (offset) => {
  await expire();
  await move(driver.log, input, offset);
  await expect(driver.run()).rejects.toMatchObject({ code: 'POSITION_MISMATCH' });
  await restore();
  await driver.run();
  expect(await sums()).toEqual([1n, 3n, 7n]);
});

describe('a restore', () => {
  test('tells what it would do, changes nothing before it is carried out, and nothing when it is repeated', async () => {
    await expire();
    const { tasks } = await plan();
    expect(tasks.flat()).toMatchObject([
      { topic: input, partition: 0, committed: undefined, own: 2n, start: 0n, end: 3n, action: 'restore', target: 2n },
      { topic: input, partition: 1, committed: undefined, own: undefined, action: 'keep' },
    ]);
    expect(await driver.log.committed(group, input)).toEqual([]);
    await restore();
    expect(await driver.log.committed(group, input)).toMatchObject([{ partition: 0, offset: 2n }]);
    const before = driver.log.transactions.length;
    expect(await actions()).toEqual(['keep', 'keep']);
    await restore();
    expect(driver.log.transactions.length).toBe(before);
  });

  test('is refused while the group has members', async () => {
    await expire();
    members = ['millrace at /127.0.0.1'];
    await expect(restore()).rejects.toMatchObject({ code: 'GROUP_ACTIVE' });
    expect(await driver.log.committed(group, input)).toEqual([]);
  });

  test('is refused where retention has taken records that were not taken, with their number', async () => {
    await expire();
    for (let i = 0; i < 4; i++) driver.send(change('a', 1n));
    driver.log.trim({ topic: input, partition: 0 }, 5n);
    await expect(restore()).rejects.toMatchObject({
      code: 'OFFSET_OUT_OF_RANGE',
      message: expect.stringContaining('3 offsets from 2 on'),
      remedy: expect.stringContaining('millrace offsets reset counter'),
    });
    expect(await driver.log.committed(group, input)).toEqual([]);
  });

  test('is refused where the topic was made anew', async () => {
    await expire();
    const log = new MemoryLog();
    for (const topic of [input, changelogTopic('counter')]) log.create(topic, 1);
    for (const record of driver.log.records(changelogTopic('counter'), 0)) {
      log.append({ ...record, topic: changelogTopic('counter'), partition: 0 });
    }
    const task = { log, groups, positions };
    await expect(restoreOffsets(task, await planRestore(task))).rejects.toMatchObject({
      message: expect.stringContaining('the topic was made anew'),
    });
  });

  test('finds nothing to do after a reset, which moves position and state together', async () => {
    await expire();
    const task = {
      ...{ log: driver.log, schemas: driver.schemas, groups, processor: 'counter', inputs: [input] },
      ...{ outputs: [output, 'counter.dead'], target: parseTarget('1') },
    };
    await reset({ ...task, partition: 0 }, await planReset({ ...task, partition: 0 }), 9_000n);
    expect(await actions()).toEqual(['keep', 'keep']);
    await driver.run();
    expect(await sums()).toEqual([1n, 3n, 2n, 6n]);
  });
});

interface Numbered {
  readonly n: bigint;
}

/** Adds up what comes from two topics. */
function joined(...inputs: readonly [string, ...string[]]): Processor<Numbered> {
  const schema = { type: 'record', name: 'Numbered', fields: [{ name: 'n', type: 'long' }] };
  const [first, ...others] = inputs.map((topic) => ({ topic, schema, kind: 'derived' }) as const);
  return defineProcessor<Numbered>({
    name: 'counter',
    version: '1',
    inputs: [first as { topic: string; schema: object; kind: 'derived' }, ...others],
    outputs: [{ topic: output, keySchema: null, valueSchema: schema }],
    stores: [{ name: 'sum', schema: { type: 'long' } }],
    create: (context) => ({
      record({ value }) {
        const sum = (context.store<bigint>('sum').get('all') ?? 0n) + value.n;
        context.store<bigint>('sum').set('all', sum);
        context.emit(output, null, { n: sum });
      },
    }),
  });
}

test('of several inputs each has its position, and a restore gives all of them back', async () => {
  await using both = await Driver.open(joined('left', 'right'));
  const all = async () => (await both.outputs<null, Numbered>(output)).map(({ value }) => value?.n);
  for (const topic of ['left', 'right', 'right']) both.send({ n: 1n }, { topic });
  await both.run();
  both.crash();
  both.log.forget(group);
  both.send({ n: 10n }, { topic: 'right' });
  await expect(both.run()).rejects.toMatchObject({ code: 'OFFSETS_EXPIRED' });
  await move(both.log, 'left', 1n);
  await expect(both.run()).rejects.toMatchObject({ code: 'OFFSETS_EXPIRED' });
  const task = { log: both.log, groups, positions: positionsOfProcessor('counter', ['left', 'right']) };
  const planned = await planRestore(task);
  expect(planned.tasks.flat().map(({ action, target }) => [action, target])).toEqual([
    ['keep', undefined],
    ['restore', 2n],
  ]);
  await restoreOffsets(task, planned);
  await both.run();
  expect(await all()).toEqual([1n, 2n, 3n, 13n]);
});

describe('the newest record of a partition', () => {
  const at = { topic: 't', partition: 0 };

  test.each([
    ['none', []],
    ['only markers', Array.from({ length: 200 }, () => undefined)],
  ])('is undefined: %s', async (_, slots: readonly undefined[]) => {
    const log = new MemoryLog();
    log.create('t', 1);
    for (const _slot of slots) log.appendMarker(at);
    expect(await newestRecord(log, at)).toBeUndefined();
  });

  test.each([0, 1, 63, 64, 65, 400])('is found behind %p markers, and not below the start', async (markers) => {
    const log = new MemoryLog();
    log.create('t', 1);
    for (const key of ['a', 'b']) log.append({ ...at, key: Buffer.from(key), value: null, timestamp: 0n });
    for (let i = 0; i < markers; i++) log.appendMarker(at);
    expect((await newestRecord(log, at))?.offset).toBe(1n);
    expect((await newestRecord(log, at, ({ key }) => String(key) === 'a'))?.offset).toBe(0n);
    log.trim(at, 1n);
    expect(await newestRecord(log, at, ({ key }) => String(key) === 'a')).toBeUndefined();
  });
});
