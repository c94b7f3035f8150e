import { expect, test } from '@jest/globals';
import fc from '../../test/support/property.ts';
import { MillraceError } from '../base/errors.ts';
import { type Context, defineProcessor, type Fold, type InputRecord } from '../processor/define.ts';
import { Driver, type DriverOptions } from './driver.ts';

/** Counts changes per word, and says at a deadline what it has counted. */
interface WordChange {
  op: string;
  before: null;
  after: { id: string; word: string };
  source: { ts_us: bigint; lsn: bigint | null; sequence: string | null };
}
interface Total {
  word: string;
  total: bigint;
}

const change = {
  type: 'record',
  name: 'Envelope',
  fields: [
    { name: 'op', type: 'string' },
    { name: 'before', type: 'null' },
    {
      name: 'after',
      type: {
        type: 'record',
        name: 'Word',
        fields: [
          { name: 'id', type: 'string' },
          { name: 'word', type: 'string' },
        ],
      },
    },
    {
      name: 'source',
      type: {
        type: 'record',
        name: 'Source',
        fields: [
          { name: 'ts_us', type: 'long' },
          { name: 'lsn', type: ['null', 'long'] },
          { name: 'sequence', type: ['null', 'string'] },
        ],
      },
    },
  ],
};
const key = { type: 'record', name: 'TotalKey', fields: [{ name: 'word', type: 'string' }] };
const total = {
  type: 'record',
  name: 'Total',
  fields: [
    { name: 'word', type: 'string' },
    { name: 'total', type: 'long' },
  ],
};
const minute = 60_000_000n;

class CountWords implements Fold<WordChange> {
  readonly #context: Context;

  constructor(context: Context) {
    this.#context = context;
  }

  record({ value, logTime }: InputRecord<WordChange>): void {
    const { word } = value.after;
    if (word === 'poison') throw new MillraceError('BAD_RECORD', 'poison');
    if (word === 'bug') throw new TypeError('a defect of the fold');
    const totals = this.#context.store<bigint>('totals');
    const next = (totals.get(word) ?? 0n) + 1n;
    totals.set(word, next);
    this.#context.emit('totals', { word }, { word, total: next });
    const timers = this.#context.store<bigint>('timer');
    if (timers.get('due') === undefined) timers.set('due', logTime + minute);
  }

  deadline(): bigint | undefined {
    return this.#context.store<bigint>('timer').get('due');
  }

  advance(): void {
    this.#context.store<bigint>('timer').delete('due');
    for (const [word, counted] of this.#context.store<bigint>('totals').entries()) {
      this.#context.emit('totals', { word }, { word: `${word}!`, total: counted });
    }
  }
}

const words = defineProcessor<WordChange>({
  name: 'words',
  version: '1',
  inputs: [{ topic: 'cdc.words', schema: change, kind: 'change', primaryKey: ['id'] }],
  outputs: [{ topic: 'totals', keySchema: key, valueSchema: total }],
  stores: [
    { name: 'totals', schema: { type: 'long' } },
    { name: 'timer', schema: { type: 'long' } },
  ],
  create: (context) => new CountWords(context),
});

let lsn = 0n;
function say(word: string, at = 1_000_000n, sequence?: string): WordChange {
  lsn += 1n;
  return {
    op: 'c',
    before: null,
    after: { id: `${lsn}`, word },
    source: { ts_us: at, lsn, sequence: sequence ?? `["1","${lsn}"]` },
  };
}

async function totals(driver: Driver<WordChange>): Promise<string[]> {
  const emitted = await driver.outputs<{ word: string }, Total>('totals');
  return emitted.map(({ value }) => `${value?.word}=${value?.total}`);
}

test('outputs appear with the commit, and state goes on from there', async () => {
  await using driver = await Driver.open(words);
  driver.send(say('a'));
  driver.send(say('b'));
  await driver.run();
  driver.send(say('a'));
  await driver.run();
  expect(await totals(driver)).toEqual(['a=1', 'b=1', 'a=2']);
});

test('after a crash the state is restored from the committed changelog and nothing is counted twice', async () => {
  await using driver = await Driver.open(words, { commitRecords: 2 });
  for (const word of ['a', 'b', 'a', 'a', 'b']) driver.send(say(word));
  await driver.run({ records: 3 });
  driver.crash();
  await driver.run();
  expect(await totals(driver)).toEqual(['a=1', 'b=1', 'a=2', 'a=3', 'b=2']);
});

test.each(['abort', 'unknown-committed', 'unknown-aborted'] as const)(
  'a transaction with outcome %s changes no output',
  async (fault) => {
    await using driver = await Driver.open(words, { commitRecords: 1 });
    for (const word of ['a', 'b', 'a']) driver.send(say(word));
    await driver.run({ records: 1 });
    driver.fault(0, fault);
    await driver.run();
    expect(await totals(driver)).toEqual(['a=1', 'b=1', 'a=2']);
  },
);

test('a bad record becomes a dead letter with its origin, and the partition moves on', async () => {
  await using driver = await Driver.open(words);
  driver.send(say('a'));
  driver.send(say('poison'));
  driver.sendBytes(Buffer.from('not avro'), { timestamp: 7n });
  driver.send(say('a'));
  await driver.run();
  const dead = await driver.outputs<null, { reason: string; origin: { offset: bigint }; value: Buffer }>('words.dead');
  expect(dead.map(({ value }) => [value?.reason, value?.origin.offset])).toEqual([
    ['BAD_RECORD', 1n],
    ['BAD_MAGIC', 2n],
  ]);
  expect(dead[1]?.value?.value.toString()).toBe('not avro');
  expect(await totals(driver)).toEqual(['a=1', 'a=2']);
});

test('a defect of the fold stops instead of skipping the record', async () => {
  await using driver = await Driver.open(words);
  driver.send(say('bug'));
  await expect(driver.run()).rejects.toThrow('a defect of the fold');
});

test('a change delivered again is recognised, also after a crash, and rows that share one LSN are not', async () => {
  await using driver = await Driver.open(words);
  const first = say('a', 1n, '["5","9"]');
  const second = say('a', 1n, '["5","9"]');
  driver.send(first);
  driver.send(second);
  driver.send(first);
  await driver.run();
  driver.crash();
  driver.send(second);
  driver.send(say('a', 1n, '["4","99"]'));
  driver.send(say('a', 1n, '["6","1"]'));
  await driver.run();
  expect(await totals(driver)).toEqual(['a=1', 'a=2', 'a=3']);
});

test('log time advances only with records and heartbeats, and an effective heartbeat is journalled', async () => {
  await using driver = await Driver.open(words);
  driver.send(say('a', 0n));
  await driver.beat(minute - 1n);
  expect(await totals(driver)).toEqual(['a=1']);
  expect(await driver.outputs('words.journal')).toEqual([]);
  await driver.beat(minute);
  expect(await totals(driver)).toEqual(['a=1', 'a!=1']);
  const journal = await driver.outputs<null, { next_offset: bigint; log_time: bigint }>('words.journal');
  expect(journal.map(({ value }) => [value?.next_offset, value?.log_time])).toEqual([[1n, minute]]);
});

test('an absurd commit time is a dead letter and does not move log time', async () => {
  await using driver = await Driver.open(words);
  driver.send(say('a', 9_007_199_254_740_993n));
  driver.send(say('b', 2_000_000n));
  await driver.run();
  const dead = await driver.outputs<null, { reason: string }>('words.dead');
  expect(dead.map(({ value }) => value?.reason)).toEqual(['BAD_RECORD']);
  expect((await driver.outputs('totals')).map(({ timestamp }) => timestamp)).toEqual([2_000n]);
});

test('output timestamps are the log time of what triggered them', async () => {
  await using driver = await Driver.open(words);
  driver.send(say('a', 5_000_999n));
  await driver.run();
  expect((await driver.outputs('totals'))[0]?.timestamp).toBe(5_000n);
});

test('any chunking, any commit size and any crash points give the same bytes', async () => {
  const inputs = Array.from({ length: 30 }, (_, i) => say('abc'[i % 3] as string, BigInt(i) * 10_000_000n));
  const bytes = async (options: DriverOptions, crashes: readonly number[]): Promise<string[]> => {
    await using driver = await Driver.open(words, options);
    for (const input of inputs) driver.send(input);
    for (const records of crashes) {
      await driver.run({ records });
      driver.crash();
    }
    await driver.run();
    return (await driver.outputs('totals')).map(
      ({ bytes: { key: k, value } }) => `${k?.toString('hex')}:${value?.toString('hex')}`,
    );
  };
  const expected = await bytes({}, []);
  expect(expected.length).toBeGreaterThan(30);
  await fc.assert(
    fc.asyncProperty(
      fc.record({ chunk: fc.integer({ min: 1, max: 40 }), commitRecords: fc.integer({ min: 1, max: 40 }) }),
      fc.array(fc.integer({ min: 1, max: 12 }), { maxLength: 6 }),
      async (options, crashes) => expect(await bytes(options, crashes)).toEqual(expected),
    ),
    { numRuns: 60 },
  );
});
