import { expect, test } from '@jest/globals';
import { Driver } from '../testing/driver.ts';
import { readAliases, resolveTopic, setAliases } from './aliases.ts';
import { change, counter, input, output } from './fixtures/counter.ts';
import { aliased, variantOf, variantTopic } from './variant.ts';

const limit = { amount: 10n };
const sums = async (driver: Driver<never>, topic: string) =>
  (await driver.outputs<{ id: string }, { sum: bigint }>(topic)).map(({ key, value, partition }) => [
    partition,
    key?.id,
    value?.sum,
  ]);

test('a variant writes the same to topics of its own, with state of its own, over a crash, too', async () => {
  await using original = await Driver.open(counter(limit), { commitRecords: 1 });
  await using beside = await Driver.open(variantOf(counter(limit), 'green'), { commitRecords: 1 });
  for (const amount of [1n, 50n, 2n]) {
    const value = change('a', amount);
    for (const driver of [original, beside]) {
      driver.send(value);
      await driver.run();
      driver.crash();
    }
  }
  const expected = [
    [0, 'a', 1n],
    [0, 'a', 3n],
  ];
  expect(await sums(original as Driver<never>, output)).toEqual(expected);
  expect(await sums(beside as Driver<never>, 'sums.green')).toEqual(expected);
  expect(beside.log.records('counter-green.dead')).toHaveLength(1);
  expect(beside.log.records('counter-green.changelog').length).toBeGreaterThan(0);
  expect(beside.log.records('counter.changelog')).toEqual([]);
});

test('a variant with a route puts all records of a key into one partition, whatever task made them', async () => {
  await using driver = await Driver.open(variantOf(counter(limit), 'green', ['id']), { partitions: 3 });
  for (const id of ['a', 'b', 'c', 'd', 'e']) {
    for (const partition of [0, 1, 2]) driver.send(change(id, 1n), { partition });
  }
  await driver.run();
  const found = await sums(driver as Driver<never>, 'sums.green');
  const byKey = Map.groupBy(found, ([, id]) => id);
  for (const records of byKey.values()) expect(new Set(records.map(([partition]) => partition)).size).toBe(1);
  expect(found).toHaveLength(15);
  expect(new Set(found.map(([partition]) => partition)).size).toBeGreaterThan(1);
});

test('a variant reads the tables of the original, but no orders that are given to the original by name', () => {
  const table = (topic: string) => ({ topic, keySchema: { type: 'string' }, schema: { type: 'string' } });
  const original = { ...counter(limit), tables: [table('rules'), table('counter.orders')] };
  expect(variantOf(original, 'green').tables?.map(({ topic }) => topic)).toEqual(['rules']);
});

test('a processor that is given another topic for its input knows it by the name it declared', async () => {
  const seen: string[] = [];
  const watching = { ...counter(limit) };
  const { create } = watching;
  const declared = {
    ...watching,
    create: (context: Parameters<typeof create>[0]) => {
      const fold = create(context);
      return {
        ...fold,
        record: (record: Parameters<typeof fold.record>[0]) => {
          seen.push(record.topic);
          context.reread(
            { topic: record.topic, from: 0n, to: 1n },
            (again) => seen.push(`again ${again.topic}`),
            () => {},
          );
          fold.record(record);
        },
      };
    },
  };
  await using driver = await Driver.open(aliased(declared, new Map([[input, 'other']])));
  driver.send(change('a', 1n), { topic: 'other' });
  await driver.run();
  expect(seen).toEqual([input, `again ${input}`]);
  expect(driver.log.records('other')).toHaveLength(1);
  expect(aliased(declared, new Map([['elsewhere', 'other']]))).toBe(declared);
});

test('names of topics of a variant', () => {
  expect(variantTopic('ohlcv', 'market.candles', 'green')).toBe('market.candles.green');
  expect(variantTopic('ohlcv', 'ohlcv.late', 'green')).toBe('ohlcv-green.late');
});

test('an alias stands until it is taken back', async () => {
  await using driver = await Driver.open(counter(limit));
  const { log, schemas } = driver;
  log.create('aliases', 1);
  expect(await resolveTopic(log, schemas, 'a')).toBe('a');
  const aliases = [
    { name: 'a', target: 'a.green' },
    { name: 'b', target: 'b.green' },
  ];
  await setAliases(log, schemas, aliases, 1n);
  expect([await resolveTopic(log, schemas, 'a'), await resolveTopic(log, schemas, 'c')]).toEqual(['a.green', 'c']);
  await setAliases(log, schemas, [{ name: 'a', target: 'a' }], 2n);
  expect([...(await readAliases(log, schemas)).keys()]).toEqual(['b']);
});
