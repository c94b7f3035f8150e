import { expect, test } from '@jest/globals';
import { DAY } from '../../values/time.ts';
import { Owners } from '../fixture.ts';
import { Stores } from '../stores/stores.ts';
import { readSnapshot, snapshotReset } from './snapshots.ts';

const day = (days: bigint) => 20_000n * DAY + days * DAY;
const texts = { name: 'texts', schema: { type: 'string' } };
const query = { processor: 'counter', partition: 0, topic: 'input' };

async function history(): Promise<Owners> {
  const owners = new Owners([texts]);
  const owner = await owners.next();
  for (const [position, at] of [
    [10n, day(0n)],
    [20n, day(0n) + 5n],
    [30n, day(1n)],
    [40n, day(1n) + 5n],
    [50n, day(3n)],
  ] as const) {
    owner.reach(at);
    owner.store<string>('texts').set('position', `${position}`);
    owner.store<string>('texts').set(`long ${position}`, 'x'.repeat(200_000));
    await owner.commit({ position });
  }
  return owners;
}

test('the commit in which a UTC day of log time begins has the whole state with it; others have not', async () => {
  const { log } = await history();
  const closings = log.records('counter.snapshots').filter(({ key }) => key?.toString() === 'snapshot');
  expect(closings.map(({ timestamp }) => timestamp * 1000n)).toEqual([day(1n), day(3n)]);
});

test('a replay finds the newest snapshot of a position that it may begin at, and it is the state as it was then', async () => {
  const { log } = await history();
  const snapshot = await readSnapshot(log, { ...query, atMost: 49n });
  expect(snapshot).toMatchObject({ version: '1', positions: new Map([['input', 30n]]), task: { logTime: day(1n) } });
  const stores = new Stores([texts]);
  for (const { key, value } of snapshot?.entries ?? []) stores.load(key, value);
  const keys = [...stores.store<string>('texts').entries()].map(([key]) => key);
  expect(keys).toEqual(['long 10', 'long 20', 'long 30', 'position']);
  expect(stores.store('texts').get('position')).toBe('30');
  expect((await readSnapshot(log, { ...query, atMost: 50n }))?.positions.get('input')).toBe(50n);
  expect(await readSnapshot(log, { ...query, atMost: 29n })).toBeUndefined();
});

test('a snapshot of another version of the processor is passed over when a version is asked for', async () => {
  const { log } = await history();
  expect(await readSnapshot(log, { ...query, atMost: 50n, version: '2' })).toBeUndefined();
  expect((await readSnapshot(log, { ...query, atMost: 50n, version: '1' }))?.positions.get('input')).toBe(50n);
});

test('large state is written in chunks of at most 512 KiB', async () => {
  const { log } = await history();
  const sizes = log.records('counter.snapshots').map(({ value }) => value?.length ?? 0);
  expect(sizes.length).toBeGreaterThan(4);
  expect(Math.max(...sizes)).toBeLessThanOrEqual(512 * 1024);
});

test('what was before a reset is of another history', async () => {
  const { log } = await history();
  log.append(snapshotReset('counter', 0, 0n));
  expect(await readSnapshot(log, { ...query, atMost: 50n })).toBeUndefined();
});

test('the day of the last commit is known to the next owner: no day is missed and none is written twice', async () => {
  const owners = new Owners([texts]);
  const first = await owners.next();
  first.reach(day(0n));
  await first.commit();
  const second = await owners.next();
  second.reach(day(1n));
  await second.commit({ position: 1n });
  const third = await owners.next();
  third.reach(day(1n) + 1n);
  await third.commit({ position: 2n });
  expect(owners.log.records('counter.snapshots').length).toBe(1);
});

test('a processor with state on disk has no snapshots', async () => {
  const owners = new Owners([texts, { name: 'many', schema: { type: 'long' }, disk: { keys: () => [] } }]);
  const owner = await owners.next();
  for (const at of [day(0n), day(1n)]) {
    owner.reach(at);
    await owner.commit();
  }
  expect(owners.log.records('counter.snapshots')).toEqual([]);
});
