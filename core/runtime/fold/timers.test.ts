import { describe, expect, test } from '@jest/globals';
import fc from '../../../test/support/property.ts';
import { MillraceError } from '../../base/errors.ts';
import {
  type Context,
  defineProcessor,
  type Fold,
  type InputRecord,
  type Processor,
  type StoreDefinition,
} from '../../processor/define.ts';
import { Driver, type DriverOptions } from '../../testing/driver.ts';
import { MemoryDisks } from '../../testing/memory-disk.ts';

interface Step {
  readonly key: string;
  /** Seconds of log time; null deletes, and a NaN leaves the timer as it is. */
  readonly at: number | null;
}
const step = {
  type: 'record',
  name: 'Step',
  fields: [
    { name: 'key', type: 'string' },
    { name: 'at', type: ['null', 'double'] },
  ],
};
const said = { type: 'record', name: 'Said', fields: [{ name: 'text', type: 'string' }] };
const second = 1_000_000n;
const micros = (seconds: number): bigint => BigInt(Math.round(seconds * 1e6));

type Options = Partial<Pick<Processor<Step>, 'timers' | 'onError'>> & {
  /** What a timer does beside telling. */
  readonly onTimer?: (context: Context<Step>, key: string, at: bigint) => void;
  /** After the timer of a record is set. */
  readonly record?: (context: Context<Step>, key: string) => void;
};

/** Sets and deletes timers as its records say, and tells when they fire. */
function alarms({ timers = 'stored', onError, ...options }: Options = {}): Processor<Step> {
  return defineProcessor<Step>({
    name: 'alarms',
    version: '1',
    inputs: [{ topic: 'steps', schema: step, kind: 'derived' }],
    outputs: [{ topic: 'said', keySchema: null, valueSchema: said }],
    stores: timers === 'derived' ? [{ name: 'due', schema: { type: 'long' } }] : [],
    timers,
    ...(onError === undefined ? {} : { onError }),
    create(context): Fold<Step> {
      const due = timers === 'derived' ? context.store<bigint>('due') : undefined;
      return {
        restored() {
          for (const [key, at] of due?.entries() ?? []) context.timers.set(key, at);
        },
        record({ value: { key, at } }) {
          if (at === null) {
            context.timers.delete(key);
            due?.delete(key);
          } else if (!Number.isNaN(at)) {
            context.timers.set(key, micros(at));
            due?.set(key, micros(at));
          }
          options.record?.(context, key);
        },
        onTimer(key, at) {
          due?.delete(key);
          context.emit('said', null, { text: `${key} ${Number(at) / 1e6} at ${Number(context.logTime) / 1e6}` });
          options.onTimer?.(context, key, at);
        },
        gauges: () => ({ timers: context.timers.size }),
      };
    },
  });
}

const open = (options: Options = {}, driver: DriverOptions = {}): Promise<Driver<Step>> =>
  Driver.open(alarms(options), driver);

const send = (driver: Driver<Step>, log: number, key: string, at: number | null = Number.NaN): void => {
  driver.send({ key, at }, { timestamp: BigInt(Math.round(log * 1_000)) });
};

const beat = (driver: Driver<Step>, log: number): Promise<void> => driver.beat(micros(log));

const texts = async (driver: Driver<Step>): Promise<string[]> =>
  (await driver.outputs<null, { text: string }>('said')).map(({ value }) => value?.text ?? '');

/** Timers as the changelog leaves them. */
function stored(driver: Driver<Step>): string[] {
  const state = new Set<string>();
  for (const { key, value } of driver.log.records('alarms.changelog')) {
    const [store, name] = `${key}`.split('\u0000');
    if (store !== 'timers' || name === undefined) continue;
    if (value === null) state.delete(name);
    else state.add(name);
  }
  return [...state].sort();
}

describe.each(['stored', 'derived'] as const)('a timer, %s,', (timers) => {
  test('fires once, when log time has reached it, and tells when it was set for', async () => {
    await using driver = await open({ timers });
    send(driver, 1, 'a', 5);
    await beat(driver, 4.999999);
    expect(await texts(driver)).toEqual([]);
    await beat(driver, 5);
    await beat(driver, 6);
    send(driver, 7, 'b');
    await driver.run();
    expect(await texts(driver)).toEqual(['a 5 at 5']);
  });

  test('fires before the record that brings its time, and under the log time of that record', async () => {
    await using driver = await open({ timers });
    send(driver, 1, 'a', 5);
    send(driver, 8, 'a', 9);
    send(driver, 20, 'b');
    await driver.run();
    expect(await texts(driver)).toEqual(['a 5 at 8', 'a 9 at 20']);
    expect((await driver.outputs('said')).map(({ timestamp }) => timestamp)).toEqual([8_000n, 20_000n]);
  });

  test('fires in the order of its time, then of its key, whenever it was set', async () => {
    await using driver = await open({ timers });
    for (const [key, at] of [
      ['10', 3],
      ['9', 3],
      ['c', 2],
      ['b', 4],
      ['a', 3],
    ] as const)
      send(driver, 1, key, at);
    await beat(driver, 10);
    expect(await texts(driver)).toEqual(['c 2 at 10', '10 3 at 10', '9 3 at 10', 'a 3 at 10', 'b 4 at 10']);
  });

  test('that is set again is replaced: put off, or brought forward', async () => {
    await using driver = await open({ timers });
    send(driver, 1, 'off', 5);
    send(driver, 1, 'forward', 9);
    send(driver, 2, 'off', 8);
    send(driver, 2, 'forward', 4);
    for (const log of [4, 5, 8, 9]) await beat(driver, log);
    expect(await texts(driver)).toEqual(['forward 4 at 4', 'off 8 at 8']);
  });

  test('that was deleted does not fire, and can be set anew', async () => {
    await using driver = await open({ timers });
    send(driver, 1, 'a', 5);
    send(driver, 2, 'a', null);
    send(driver, 2, 'never', null);
    await beat(driver, 6);
    expect(await texts(driver)).toEqual([]);
    send(driver, 6, 'a', 7);
    await beat(driver, 7);
    expect(await texts(driver)).toEqual(['a 7 at 7']);
  });

  test('for a time that has passed fires before the next record, or at the next heartbeat', async () => {
    await using driver = await open({ timers });
    send(driver, 10, 'a', 3);
    await driver.run();
    expect(await texts(driver)).toEqual([]);
    send(driver, 10, 'b', 4);
    await driver.run();
    expect(await texts(driver)).toEqual(['a 3 at 10']);
    await beat(driver, 10);
    expect(await texts(driver)).toHaveLength(1);
    await beat(driver, 11);
    expect(await texts(driver)).toEqual(['a 3 at 10', 'b 4 at 11']);
  });

  test('may set timers: those for a time that has come fire in the same turn, in their order, others later', async () => {
    await using driver = await open({
      timers,
      onTimer(context, key, at) {
        if (key === 'again' && at < 8n * second) context.timers.set(key, at + 2n * second);
        if (key === 'others') {
          context.timers.set('now', context.logTime);
          context.timers.set('earlier', 1n * second);
          context.timers.set('later', 20n * second);
          context.timers.delete('gone');
        }
      },
    });
    for (const [key, at] of [
      ['again', 4],
      ['others', 5],
      ['gone', 6],
    ] as const)
      send(driver, 1, key, at);
    await beat(driver, 10);
    expect(await texts(driver)).toEqual([
      ...['again 4 at 10', 'others 5 at 10', 'earlier 1 at 10', 'again 6 at 10', 'again 8 at 10', 'now 10 at 10'],
    ]);
    await beat(driver, 20);
    expect((await texts(driver)).at(-1)).toBe('later 20 at 20');
  });

  test('survives a crash, and fires once all the same', async () => {
    await using driver = await open({ timers }, { commitRecords: 1 });
    send(driver, 1, 'a', 5);
    send(driver, 1, 'b', 9);
    await driver.run();
    driver.crash();
    await beat(driver, 6);
    driver.crash();
    await beat(driver, 7);
    await beat(driver, 9);
    driver.crash();
    await beat(driver, 10);
    expect(await texts(driver)).toEqual(['a 5 at 6', 'b 9 at 9']);
  });

  test('that a failed commit set or fired is as it was before', async () => {
    await using driver = await open({ timers });
    send(driver, 1, 'a', 5);
    await driver.run();
    driver.fault(0, 'abort');
    send(driver, 6, 'a', 9);
    await driver.run();
    expect(await texts(driver)).toEqual(['a 5 at 6']);
    await beat(driver, 9);
    expect(await texts(driver)).toEqual(['a 5 at 6', 'a 9 at 9']);
  });

  test('that fails stops the process, also by refusing: no record is to blame', async () => {
    for (const error of [new RangeError('on purpose'), new MillraceError('BAD_RECORD', 'on purpose')]) {
      await using driver = await open({
        timers,
        onTimer() {
          throw error;
        },
      });
      send(driver, 1, 'a', 5);
      send(driver, 6, 'b');
      await expect(driver.run()).rejects.toMatchObject({
        code: 'FOLD_FAILED',
        message: expect.stringContaining('at onTimer'),
        origin: { offset: 1n },
      });
      expect(await driver.dead()).toEqual([]);
    }
  });

  test('that a failed record set, put off or deleted is as it was before', async () => {
    for (const error of [new RangeError('on purpose'), new MillraceError('BAD_RECORD', 'on purpose')]) {
      await using driver = await open({
        timers,
        onError: 'deadLetter',
        record(context, key) {
          if (key !== 'bad') return;
          context.timers.delete('a');
          context.timers.set('b', 1n);
          context.timers.set('c', 99n * second);
          throw error;
        },
      });
      for (const key of ['a', 'b', 'c']) send(driver, 1, key, 5);
      send(driver, 2, 'bad');
      send(driver, 3, 'd', 6);
      await beat(driver, 10);
      expect(await texts(driver)).toEqual(['a 5 at 10', 'b 5 at 10', 'c 5 at 10', 'd 6 at 10']);
      expect(await driver.dead()).toHaveLength(1);
    }
  });

  test('what crashes, portions and commits there are changes no byte of the outputs', async () => {
    const key = fc.constantFrom('a', 'b', 'c', 'd');
    const record = fc.record({ key, later: fc.integer({ min: 0, max: 3 }), in: fc.integer({ min: -4, max: 6 }) });
    const moves = fc.constantFrom('run', 'run some', 'crash', 'abort', 'unknown-committed', 'delete', 'beat');
    type Move = string | { readonly key: string; readonly later: number; readonly in: number };
    const play = async (all: readonly Move[], disturbed: boolean, options: DriverOptions): Promise<string[]> => {
      await using driver = await open({ timers }, options);
      let log = 10;
      for (const move of all) {
        if (move === 'beat') await beat(driver, ++log);
        else if (move === 'delete') send(driver, log, 'a', null);
        else if (typeof move !== 'string') {
          log += move.later;
          send(driver, log, move.key, log + move.in);
        } else if (!disturbed) continue;
        else if (move === 'run') await driver.run();
        else if (move === 'run some') await driver.run({ records: 1 });
        else if (move === 'crash') driver.crash();
        else driver.fault(0, move as 'abort');
      }
      await beat(driver, log + 20);
      return (await driver.outputs('said')).map(
        ({ timestamp, bytes }) => `${timestamp} ${bytes.value?.toString('hex')}`,
      );
    };
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof({ weight: 3, arbitrary: record }, { weight: 2, arbitrary: moves }), { maxLength: 30 }),
        fc.integer({ min: 1, max: 4 }),
        async (all, commitRecords) => {
          const expected = await play(all, false, {});
          expect(await play(all, true, { commitRecords, chunk: commitRecords })).toEqual(expected);
        },
      ),
      { numRuns: 40 },
    );
  });
});

describe('stored timers', () => {
  test('are in the changelog until they have fired or are deleted', async () => {
    await using driver = await open();
    for (const key of ['a', 'b', 'c']) send(driver, 1, key, 5);
    await driver.run();
    expect(stored(driver)).toEqual(['a', 'b', 'c']);
    send(driver, 2, 'b', null);
    await driver.run();
    expect(stored(driver)).toEqual(['a', 'c']);
    await beat(driver, 5);
    expect(stored(driver)).toEqual([]);
  });

  test('that are set and fire between two commits leave no trace there, and none is written that was set to the same time', async () => {
    await using driver = await open();
    send(driver, 1, 'brief', 2);
    send(driver, 1, 'same', 9);
    send(driver, 3, 'same', 9);
    await driver.run();
    send(driver, 4, 'same', 9);
    await driver.run();
    const keys = driver.log.records('alarms.changelog').map(({ key }) => `${key}`.replace('\u0000', ' '));
    expect(keys.filter((key) => key.startsWith('timers'))).toEqual(['timers same']);
  });

  test('survive beside a store on disk, which cannot list its keys', async () => {
    const keys = ({ value: { key } }: InputRecord<Step>) => [key];
    const processor = alarms();
    const seen: StoreDefinition<Step> = { name: 'seen', schema: { type: 'boolean' }, disk: { keys } };
    const onDisk = defineProcessor<Step>({ ...processor, stores: [...processor.stores, seen] });
    await using driver = await Driver.open(onDisk, { disks: new MemoryDisks() });
    send(driver, 1, 'a', 5);
    await driver.run();
    driver.crash();
    await beat(driver, 6);
    driver.crash();
    await beat(driver, 7);
    expect(await texts(driver)).toEqual(['a 5 at 6']);
  });

  test('are one of the stores, once, however often the declaration is checked', () => {
    const processor = alarms();
    expect(processor.stores.map(({ name }) => name)).toEqual(['timers']);
    expect(defineProcessor({ ...processor }).stores).toHaveLength(1);
    const own = { ...alarms({ timers: 'derived' }), timers: 'stored', stores: [{ name: 'timers', schema: 'long' }] };
    expect(() => defineProcessor(own as unknown as Processor<Step>)).toThrow('two stores have the same name');
  });
});

test('timers that nobody declared cannot be set, and declared ones need their onTimer', async () => {
  const { timers: _, ...without } = alarms({ timers: 'derived' });
  await using undeclared = await Driver.open(defineProcessor(without as Processor<Step>));
  send(undeclared, 1, 'a', 5);
  await expect(undeclared.run()).rejects.toThrow('alarms does not declare timers');
  const deaf = defineProcessor({ ...alarms(), create: () => ({ record: () => undefined }) });
  await using driver = await Driver.open(deaf);
  send(driver, 1, 'a', 5);
  await expect(driver.run()).rejects.toThrow('its fold has no onTimer');
});

test('a timer beyond the year 2255 is a bad record, not an inexact time', async () => {
  await using driver = await open();
  send(driver, 1, 'a', 1e11);
  await driver.run();
  expect((await driver.dead()).map(({ value }) => value?.reason)).toEqual(['BAD_RECORD']);
});
