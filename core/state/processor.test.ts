import { expect, test } from '@jest/globals';
import fc from '../../test/support/property.ts';
import { type Context, defineProcessor, type Fold, type InputRecord } from '../processor/define.ts';
import { Driver, type DriverOptions } from '../testing/driver.ts';
import { MemoryDisks } from '../testing/memory-disk.ts';

interface Seen {
  readonly word: string;
}
interface Said {
  readonly word: string;
  readonly times: bigint;
  readonly remembered: boolean;
}

const seen = { type: 'record', name: 'Seen', fields: [{ name: 'word', type: 'string' }] };
const said = {
  type: 'record',
  name: 'Said',
  fields: [
    { name: 'word', type: 'string' },
    { name: 'times', type: 'long' },
    { name: 'remembered', type: 'boolean' },
  ],
};
const ttlMs = 1_000;

/** Counts words, tells which were heard within the last second of log time, and forgets a word that is said as "not …". */
class Counting implements Fold<Seen> {
  readonly #context: Context;

  constructor(context: Context) {
    this.#context = context;
  }

  record({ value: { word } }: InputRecord<Seen>): void {
    const counts = this.#context.store<bigint>('counts');
    const recent = this.#context.store<boolean>('recent');
    if (word.startsWith('not ')) {
      counts.delete(word.slice(4));
      return;
    }
    const times = (counts.get(word) ?? 0n) + 1n;
    this.#context.emit('said', { word }, { word, times, remembered: recent.get(word) === true });
    counts.set(word, times);
    recent.set(word, true);
  }
}

function counting(disk: 'disk' | 'memory') {
  const keys = ({ value: { word } }: InputRecord<Seen>) => [word.replace('not ', '')];
  const place = disk === 'disk' ? { disk: { keys } } : {};
  return defineProcessor<Seen>({
    name: 'counting',
    version: '1',
    inputs: [{ topic: 'seen', schema: seen, kind: 'derived' }],
    outputs: [{ topic: 'said', keySchema: seen, valueSchema: said }],
    stores: [
      { name: 'counts', schema: { type: 'long' }, ...place },
      { name: 'recent', schema: { type: 'boolean' }, ttlMs, ...place },
    ],
    create: (context) => new Counting(context),
  });
}

type Step = { readonly word: string; readonly later: number } | 'run' | 'run some' | 'crash' | 'abort' | 'unknown';

async function outputs(disk: 'disk' | 'memory', steps: readonly Step[], options: DriverOptions): Promise<string[]> {
  await using driver = await Driver.open(counting(disk), options);
  let at = 1_000_000n;
  for (const step of steps) {
    if (step === 'run') await driver.run();
    else if (step === 'run some') await driver.run({ records: 2 });
    else if (step === 'crash') driver.crash();
    else if (step === 'abort') driver.fault(0, 'abort');
    else if (step === 'unknown') driver.fault(0, 'unknown-committed');
    else {
      at += BigInt(step.later);
      driver.send({ word: step.word }, { timestamp: at });
    }
  }
  await driver.run();
  return (await driver.outputs<Seen, Said>('said')).map(
    ({ bytes }) => `${bytes.key?.toString('hex')} ${bytes.value?.toString('hex')}`,
  );
}

test('what a store is kept in, commits, crashes and times to live change no byte of the outputs', async () => {
  const word = fc.constantFrom('a', 'b', 'c', 'not a', 'not b');
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ word, later: fc.constantFrom(0, 300, 999, 1_000, 5_000) }) },
    { weight: 3, arbitrary: fc.constantFrom<Step[]>('run', 'run some', 'crash', 'abort', 'unknown') },
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 40, size: 'max' }),
      fc.integer({ min: 1, max: 5 }),
      async (steps, commitRecords) => {
        const sent = steps.filter((each) => typeof each === 'object');
        const expected = await outputs('memory', sent, {});
        expect(await outputs('memory', steps, { commitRecords })).toEqual(expected);
        expect(await outputs('disk', steps, { commitRecords, disks: new MemoryDisks() })).toEqual(expected);
      },
    ),
    { numRuns: 60 },
  );
});

test('a word is remembered until a second of log time has passed since it was last said', async () => {
  await using driver = await Driver.open(counting('memory'));
  for (const timestamp of [1_000n, 1_999n, 2_998n, 3_998n]) driver.send({ word: 'a' }, { timestamp });
  await driver.run();
  const remembered = (await driver.outputs<Seen, Said>('said')).map(({ value }) => value?.remembered);
  expect(remembered).toEqual([false, true, true, false]);
});

test('what has expired by the log time of the last commit is gone before a fold is restored', async () => {
  const found: number[] = [];
  const processor = counting('memory');
  const restoring = defineProcessor<Seen>({
    ...processor,
    create: (context) => {
      const fold = new Counting(context);
      const restored = () => found.push(context.store('recent').size);
      return { record: (record) => fold.record(record), restored };
    },
  });
  await using driver = await Driver.open(restoring);
  driver.send({ word: 'a' }, { timestamp: 1_000n });
  await driver.run();
  driver.log.append({
    topic: 'counting.changelog',
    partition: 0,
    key: Buffer.from('task'),
    value: Buffer.from('{"version":2,"logTime":"2000000","identities":{},"tables":{}}'),
    timestamp: 2_000n,
  });
  driver.crash();
  await driver.run();
  expect(found).toEqual([0, 0]);
});
