import { expect, test } from '@jest/globals';
import fc from '../../../test/support/property.ts';
import { MillraceError } from '../../base/errors.ts';
import { partitionOf } from '../../capture/routing.ts';
import {
  type Context,
  defineProcessor,
  type Fold,
  type InputRecord,
  type TableRecord,
} from '../../processor/define.ts';
import { Driver, type DriverOptions } from '../../testing/driver.ts';

/** Two inputs and a table: says each number with the price level of its moment and the unit that the table has for it. */
interface Entry {
  readonly name: string;
  readonly number: number;
}
const entry = {
  type: 'record',
  name: 'Entry',
  fields: [
    { name: 'name', type: 'string' },
    { name: 'number', type: 'int' },
  ],
};
const name = { type: 'record', name: 'Name', fields: [{ name: 'name', type: 'string' }] };
const unit = { type: 'record', name: 'Unit', fields: [{ name: 'unit', type: 'string' }] };
const said = { type: 'record', name: 'Said', fields: [{ name: 'text', type: 'string' }] };

class Say implements Fold<Entry> {
  readonly #context: Context<Entry>;

  constructor(context: Context<Entry>) {
    this.#context = context;
  }

  record({ topic, value }: InputRecord<Entry>): void {
    const levels = this.#context.store<number>('levels');
    if (topic === 'levels') {
      levels.set(value.name, value.number);
      return;
    }
    const text = `${value.number}@${levels.get(value.name) ?? '-'}${this.#context.store<string>('units').get(value.name) ?? ''}`;
    this.#context.emit('said', { name: value.name }, { text });
  }

  table({ key, value }: TableRecord): void {
    const units = this.#context.store<string>('units');
    const { name } = key as { name: string };
    if (value === null) {
      units.delete(name);
      return;
    }
    const { unit } = value as { unit: string };
    if (unit === '') throw new MillraceError('BAD_RECORD', 'a unit needs a name');
    units.set(name, unit);
  }
}

const say = defineProcessor<Entry>({
  name: 'say',
  version: '1',
  inputs: [
    { topic: 'numbers', schema: entry, kind: 'derived' },
    { topic: 'levels', schema: entry, kind: 'derived' },
  ],
  tables: [{ topic: 'units', keySchema: name, schema: unit }],
  outputs: [{ topic: 'said', keySchema: name, valueSchema: said }],
  stores: [
    { name: 'levels', schema: { type: 'int' } },
    { name: 'units', schema: { type: 'string' } },
  ],
  create: (context) => new Say(context),
});

const texts = async (driver: Driver<Entry>): Promise<(string | undefined)[]> =>
  (await driver.outputs<unknown, { text: string }>('said')).map(({ value }) => value?.text);
const journal = async (driver: Driver<Entry>) =>
  (
    await driver.outputs<null, { kind: string; topic: string; from_offset: bigint; to_offset: bigint }>('say.journal')
  ).map(({ value }) => `${value?.kind} ${value?.topic} ${value?.from_offset}-${value?.to_offset}`);

test('records of several inputs are taken in the order of their timestamps, and the order is journalled', async () => {
  await using driver = await Driver.open(say, { chunk: 1 });
  driver.send({ name: 'a', number: 1 }, { timestamp: 10n });
  driver.send({ name: 'a', number: 2 }, { timestamp: 30n });
  driver.send({ name: 'a', number: 7 }, { topic: 'levels', timestamp: 20n });
  driver.send({ name: 'a', number: 8 }, { topic: 'levels', timestamp: 40n });
  await driver.run();
  expect(await texts(driver)).toEqual(['1@-', '2@7']);
  expect(await journal(driver)).toEqual(['RUN numbers 0-1', 'RUN levels 0-1', 'RUN numbers 1-2', 'RUN levels 1-2']);
});

test('a table is taken before the first record, later changes where the journal says, and a restart does not read it again', async () => {
  await using driver = await Driver.open(say);
  driver.table('units', { name: 'a' }, { unit: 'kg' });
  driver.send({ name: 'a', number: 1 });
  await driver.run();
  driver.table('units', { name: 'a' }, { unit: 'lb' });
  driver.send({ name: 'a', number: 2 });
  await driver.run();
  driver.crash();
  driver.send({ name: 'a', number: 3 });
  await driver.run();
  driver.table('units', { name: 'a' }, null);
  driver.send({ name: 'a', number: 4 });
  await driver.run();
  expect(await texts(driver)).toEqual(['1@-kg', '2@-lb', '3@-lb', '4@-']);
  expect((await journal(driver)).filter((line) => line.startsWith('TABLE'))).toEqual([
    'TABLE units 0-1',
    'TABLE units 1-2',
    'TABLE units 2-3',
  ]);
});

test('an entry of the journal from before the first record has a time of its own: retention would take one of 1970 at once', async () => {
  await using driver = await Driver.open(say);
  driver.table('units', { name: 'a' }, { unit: 'kg' });
  await driver.run();
  expect((await driver.outputs('say.journal')).map(({ timestamp }) => timestamp > 0n)).toEqual([true]);
});

test('a bad record of a table is a dead letter with the table as its origin', async () => {
  await using driver = await Driver.open(say);
  driver.table('units', { name: 'a' }, { unit: '' });
  driver.send({ name: 'a', number: 1 });
  await driver.run();
  expect(await texts(driver)).toEqual(['1@-']);
  const dead = await driver.outputs<null, { reason: string; origin: { topic: string; offset: bigint } }>('say.dead');
  expect(dead.map(({ value }) => [value?.reason, value?.origin])).toMatchObject([
    ['BAD_RECORD', { topic: 'units', offset: 0n }],
  ]);
});

test('neither portions, commits nor crashes change what several inputs give', async () => {
  const numbers = fc.array(fc.record({ levels: fc.boolean(), number: fc.nat(9), timestamp: fc.nat(50) }), {
    maxLength: 25,
  });
  const give = async (sent: readonly Sent[], options: DriverOptions, crashAt: number) => {
    await using driver = await Driver.open(say, options);
    for (const { levels, number, timestamp } of sent) {
      driver.send({ name: 'a', number }, { topic: levels ? 'levels' : 'numbers', timestamp: BigInt(timestamp) });
    }
    await driver.run({ records: crashAt });
    driver.crash();
    await driver.run();
    return texts(driver);
  };
  await fc.assert(
    fc.asyncProperty(numbers, fc.integer({ min: 1, max: 5 }), fc.nat(25), async (sent, commitRecords, crashAt) => {
      // Time goes on in each input, as it does in a log.
      const rising = sent.toSorted((a, b) => a.timestamp - b.timestamp);
      const calm = await give(rising, { chunk: 1 }, 0);
      expect(await give(rising, { chunk: 1, commitRecords }, crashAt)).toEqual(calm);
    }),
    { numRuns: 40 },
  );
});

interface Sent {
  readonly levels: boolean;
  readonly number: number;
  readonly timestamp: number;
}

/** Adds numbers; a negative one asks what was added so far, from the log. */
const audit = defineProcessor<Entry>({
  name: 'audit',
  version: '1',
  inputs: [{ topic: 'numbers', schema: entry, kind: 'derived' }],
  outputs: [{ topic: 'said', keySchema: name, valueSchema: said, partitionBy: (key) => [(key as Entry).name] }],
  stores: [{ name: 'answers', schema: { type: 'int' } }],
  create: (context) => ({
    record({ value, topic, offset }) {
      if (value.number >= 0) {
        context.emit('said', { name: value.name }, { text: `+${value.number}` });
        return;
      }
      let sum = 0;
      context.reread(
        { topic, from: 0n, to: offset },
        (record) => {
          if (record.value.name === value.name && record.value.number > 0) sum += record.value.number;
        },
        () => {
          context.store<number>('answers').set(value.name, sum);
          context.emit('said', { name: value.name }, { text: `=${sum}` });
        },
      );
    },
  }),
});

test('a crowd of records that read again leaves others their turns', async () => {
  await using driver = await Driver.open(audit);
  for (let record = 0; record < 640; record++) driver.send({ name: 'a', number: record % 2 === 0 ? 1 : -1 });
  await driver.run({ records: 1 });
  let [turns, runs] = [0, true];
  const turn = (): void => {
    turns += 1;
    if (runs) setImmediate(turn);
  };
  setImmediate(turn);
  await driver.run();
  runs = false;
  expect(turns).toBeGreaterThanOrEqual(10);
});

test('a fold reads its input again before the next record; what cannot be read is left out', async () => {
  await using driver = await Driver.open(audit, { chunk: 2 });
  driver.send({ name: 'a', number: 1 });
  driver.sendBytes(Buffer.from('poison'));
  driver.send({ name: 'a', number: 2 });
  driver.send({ name: 'a', number: -1 });
  driver.send({ name: 'a', number: 3 });
  await driver.run();
  driver.send({ name: 'a', number: -1 });
  driver.crash();
  await driver.run();
  expect(await texts(driver)).toEqual(['+1', '+2', '=3', '+3', '=6']);
  expect(await driver.outputs('audit.dead')).toHaveLength(1);
});

test('a fold that follows its input gets what a re-read would give, each record before it is folded, until it stops', async () => {
  const seen: string[] = [];
  const watching = defineProcessor<Entry>({
    ...{ name: 'watching', version: '1', outputs: [], stores: [] },
    inputs: [{ topic: 'numbers', schema: entry, kind: 'derived' }],
    create: (context) => {
      let stop = (): void => undefined;
      return {
        record({ value, topic }) {
          seen.push(`folds ${value.number}`);
          if (value.number === 1) stop = context.follow(topic, (record) => seen.push(`sees ${record.value.number}`));
          if (value.number === 3) stop();
        },
      };
    },
  });
  await using driver = await Driver.open(watching);
  for (const number of [1, 2]) driver.send({ name: 'a', number });
  driver.sendBytes(Buffer.from('poison'));
  for (const number of [3, 4]) driver.send({ name: 'a', number });
  await driver.run();
  expect(seen).toEqual(['folds 1', 'sees 2', 'folds 2', 'sees 3', 'folds 3', 'folds 4']);
});

test('an explicit repartition sends a record where its values are routed to', async () => {
  await using driver = await Driver.open(audit, { partitions: 4 });
  const names = ['a', 'b', 'c', 'd', 'e'];
  for (const each of names) driver.send({ name: each, number: 1 }, { partition: 3 });
  await driver.run();
  const emitted = await driver.outputs<{ name: string }, unknown>('said');
  expect(Object.fromEntries(emitted.map(({ key, partition }) => [key?.name, partition]))).toEqual(
    Object.fromEntries(names.map((each) => [each, partitionOf([each], 4)])),
  );
});
