import { expect, test } from '@jest/globals';
import { Owners } from '../fixture.ts';
import { type CommittedPartition, readCommitted, Shower, summarize } from './committed.ts';

const long = { type: 'long' };
const price = { type: 'bytes', logicalType: 'decimal', precision: 38, scale: 2 };
const counts = { name: 'counts', schema: long };
const prices = { name: 'prices', schema: price };

async function history(): Promise<Owners> {
  const owners = new Owners([counts, prices]);
  const first = await owners.next();
  first.reach(5_000n);
  first.store<bigint>().set('a', 1n);
  first.store<bigint>().set('b', 1n);
  first.store<bigint>('prices').set('a', 1_050n);
  await first.commit();
  owners.definitions = [{ ...counts, version: 2, migrations: { 1: { schema: long, migrate: (old) => old } } }, prices];
  const second = await owners.next();
  second.reach(7_000n);
  second.store<bigint>().set('a', 2n);
  second.store<bigint>().delete('b');
  second.store<bigint>().set('c', 3n);
  await second.commit();
  second.store<bigint>().set('c', 4n);
  await second.abort();
  return owners;
}

async function read(owners: Owners, query: object = {}): Promise<readonly CommittedPartition[]> {
  const partitions: CommittedPartition[] = [];
  for await (const each of readCommitted(owners.log, { processor: 'counter', ...query })) partitions.push(each);
  return partitions;
}

test('the newest committed value of each key is read, whether a task runs or not', async () => {
  const owners = await history();
  const shower = new Shower(owners.definitions);
  const [partition] = await read(owners);
  const shown = partition?.entries.map((each) => [each.store, each.key, shower.show(each).value, each.timestamp]);
  expect(shown).toEqual([
    ['counts', 'a', '2', 7n],
    ['counts', 'c', '3', 7n],
    ['prices', 'a', '10.50', 5n],
  ]);
});

test('one key is found in every store that has it, or in the one that is named', async () => {
  const owners = await history();
  const stores = async (query: object) => (await read(owners, query))[0]?.entries.map(({ store }) => store);
  expect(await stores({ key: 'a' })).toEqual(['counts', 'prices']);
  expect(await stores({ key: 'a', store: 'prices' })).toEqual(['prices']);
  expect(await stores({ key: 'b' })).toEqual([]);
  expect(await read(owners, { partition: 1 })).toEqual([]);
});

test('the summary tells how many entries each version of a schema still has', async () => {
  const owners = await history();
  const third = await owners.next();
  third.store<bigint>('prices').set('b', 1n);
  await third.commit();
  const [partition] = await read(owners);
  expect(summarize(partition as CommittedPartition)).toMatchObject([
    { partition: 0, store: 'counts', entries: 2, versions: { 2: 2 } },
    { partition: 0, store: 'prices', entries: 2, versions: { 1: 2 } },
  ]);
});
