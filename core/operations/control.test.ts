import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { Control } from '../runtime/control.ts';
import { Driver } from '../testing/driver.ts';
import { pause, readControl, resume } from './control.ts';
import { type CounterChange, counter } from './fixtures/counter.ts';

let driver: Driver<CounterChange>;

beforeEach(async () => {
  driver = await Driver.open(counter({ amount: 1n }));
  driver.log.create('control', 1);
});
afterEach(async () => {
  await driver[Symbol.asyncDispose]();
});

const order = (partition: number | null, reason: string | null = null) => ({
  name: 'counter',
  partition,
  reason,
  nowMicros: 1_000_000n,
});
const read = async () =>
  (await readControl(driver.log, driver.schemas)).map(({ partition, reason }) => [partition, reason]);

test('an order stands until it is taken back, and the newest of a partition holds', async () => {
  const { log, schemas } = driver;
  await pause(log, schemas, order(2, 'disk'));
  await pause(log, schemas, order(2, 'still disk'));
  await pause(log, schemas, order(null));
  expect(await read()).toEqual([
    [2, 'still disk'],
    [null, null],
  ]);
  expect(await resume(log, schemas, order(2))).toHaveLength(1);
  expect(await read()).toEqual([[null, null]]);
  expect(await resume(log, schemas, order(2))).toEqual([]);
});

test('resuming all partitions takes back every order of that name, and of no other', async () => {
  const { log, schemas } = driver;
  await pause(log, schemas, order(1));
  await pause(log, schemas, order(null));
  await pause(log, schemas, { ...order(1), name: 'other' });
  expect(await resume(log, schemas, order(null))).toHaveLength(2);
  expect((await readControl(log, schemas)).map(({ name }) => name)).toEqual(['other']);
});

test('a process that starts knows all orders before anything else, and hears of new ones', async () => {
  const { log, schemas } = driver;
  await pause(log, schemas, order(1));
  await using control = await Control.open({ log, schemas, onError: (error) => Promise.reject(error) });
  expect([control.isPaused('counter', 0), control.isPaused('counter', 1), control.isPaused('other', 1)]).toEqual([
    false,
    true,
    false,
  ]);
  const changed = new Promise<void>((resolve) => control.subscribe(resolve));
  await resume(log, schemas, order(1));
  await changed;
  expect(control.isPaused('counter', 1)).toBe(false);
});
