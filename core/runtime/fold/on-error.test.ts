import { describe, expect, test } from '@jest/globals';
import { MillraceError } from '../../base/errors.ts';
import { type Context, defineProcessor, type Fold, type InputRecord, type Processor } from '../../processor/define.ts';
import { Driver, type DriverOptions } from '../../testing/driver.ts';

interface Step {
  readonly key: string;
  readonly number: number;
  readonly does: string;
}
const step = {
  type: 'record',
  name: 'Step',
  fields: [
    { name: 'key', type: 'string' },
    { name: 'number', type: 'int' },
    { name: 'does', type: 'string' },
  ],
};
const name = { type: 'record', name: 'Name', fields: [{ name: 'key', type: 'string' }] };
const sum = { type: 'record', name: 'Sum', fields: [{ name: 'sum', type: 'int' }] };

/** Adds up numbers by key, tells the sum at once and again when it is due; and does everything halfway before it fails. */
class Adding implements Fold<Step> {
  readonly #context: Context<Step>;
  readonly #due = new Map<string, bigint>();

  constructor(context: Context<Step>) {
    this.#context = context;
  }

  restored(): void {
    this.#due.clear();
    for (const [key, at] of this.#context.store<bigint>('due').entries()) this.#due.set(key, at);
  }

  record({ value: { key, number, does }, logTime, topic, offset }: InputRecord<Step>): void {
    const sums = this.#context.store<{ sum: number }>('sums');
    const kept = sums.get(key) ?? { sum: 0 };
    kept.sum += number;
    if (does === 'throws before it is set') JSON.parse('{');
    sums.set(key, kept);
    this.#context.store<bigint>('due').set(key, logTime + 1_000_000n);
    this.#due.set(key, logTime + 1_000_000n);
    this.#context.emit('sums', { key }, kept);
    if (does === 'throws') JSON.parse('{');
    if (does === 'refuses') throw new MillraceError('BAD_RECORD', 'too late for that');
    if (does === 'emits nonsense') this.#context.emit('sums', { key }, { sum: 'many' });
    if (does === 'sets nonsense') sums.set(key, { sum: 0.5 });
    if (does === 'reads again') {
      this.#context.reread(
        { topic, from: 0n, to: offset + 1n },
        () => sums.set(key, { sum: -1 }),
        () => JSON.parse('{'),
      );
    }
  }

  deadline(): bigint | undefined {
    return [...this.#due.values()].sort((a, b) => Number(a - b))[0];
  }

  advance(): void {
    for (const [key, at] of [...this.#due].sort(([a], [b]) => (a < b ? -1 : 1))) {
      if (at > this.#context.logTime) continue;
      this.#due.delete(key);
      this.#context.store<bigint>('due').delete(key);
      const kept = this.#context.store<{ sum: number }>('sums').get(key);
      if (kept !== undefined && kept.sum >= 1_000) throw new RangeError('too many');
      this.#context.emit('sums', { key: `${key} is due` }, { sum: kept?.sum ?? 0 });
    }
  }
}

const adding = (onError?: Processor<Step>['onError']): Processor<Step> =>
  defineProcessor<Step>({
    name: 'adding',
    version: '1',
    inputs: [{ topic: 'steps', schema: step, kind: 'derived' }],
    outputs: [{ topic: 'sums', keySchema: name, valueSchema: sum }],
    stores: [
      { name: 'sums', schema: sum },
      { name: 'due', schema: { type: 'long' } },
    ],
    ...(onError === undefined ? {} : { onError }),
    create: (context) => new Adding(context),
  });

type Sent = readonly [key: string, number: number, does: string];

async function told(driver: Driver<Step>): Promise<string[]> {
  const outputs = await driver.outputs<{ key: string }, { sum: number }>('sums');
  return outputs.map(({ key, value, timestamp }) => `${timestamp} ${key?.key}: ${value?.sum}`);
}

async function run(sent: readonly Sent[], options?: DriverOptions, crashes = false): Promise<string[]> {
  await using driver = await Driver.open(adding('deadLetter'), options);
  for (const [i, [key, number, does]] of sent.entries()) {
    driver.send({ key, number, does }, { timestamp: BigInt(i * 300) });
    if (crashes) await driver.run(i % 2 === 0 ? {} : { records: 1 });
    if (crashes) driver.crash();
  }
  await driver.beat(10_000_000n);
  const letters = (await driver.dead()).map(({ value }) => `${value?.origin.offset} ${value?.reason}`);
  return [...(await told(driver)), ...letters];
}

const failures = ['throws before it is set', 'throws', 'refuses', 'emits nonsense', 'sets nonsense', 'reads again'];

describe('with onError deadLetter', () => {
  test.each(failures)('a record whose fold %s is a dead letter, and leaves no other trace', async (does) => {
    const good: Sent[] = [
      ['a', 1, ''],
      ['b', 2, ''],
    ];
    const last: Sent = ['a', 3, ''];
    const outcome = await run([...good, ['a', 100, does], last]);
    const code = does === 'refuses' ? 'BAD_RECORD' : does.includes('nonsense') ? 'ENCODE_FAILED' : 'FOLD_FAILED';
    expect(outcome).toEqual(['0 a: 1', '300 b: 2', '900 a: 4', '10000 a is due: 4', '10000 b is due: 2', `2 ${code}`]);
  });

  test('the letter has the record and says what was thrown', async () => {
    await using driver = await Driver.open(adding('deadLetter'));
    driver.send({ key: 'a', number: 1, does: 'throws' });
    await driver.run();
    const [letter] = await driver.dead();
    expect(letter?.value).toMatchObject({
      processor: 'adding',
      origin: { topic: 'steps', partition: 0, offset: 0n },
      reason: 'FOLD_FAILED',
      error: expect.stringContaining('SyntaxError'),
    });
    expect(letter?.value?.value).not.toBeNull();
  });

  test('each of several in a row has its letter, also after bytes that are no record', async () => {
    await using driver = await Driver.open(adding('deadLetter'));
    driver.sendBytes(Buffer.from('poison'));
    for (const does of ['throws', 'refuses', 'emits nonsense', 'throws', ''])
      driver.send({ key: 'a', number: 1, does });
    await driver.run();
    const letters = (await driver.dead()).map(({ value }) => `${value?.origin.offset} ${value?.reason}`);
    expect(letters).toEqual(['0 BAD_MAGIC', '1 FOLD_FAILED', '2 BAD_RECORD', '3 ENCODE_FAILED', '4 FOLD_FAILED']);
    expect(await told(driver)).toEqual(['0 a: 1']);
  });

  test('crashes, portions and commits anywhere change nothing', async () => {
    const sent = Array.from(
      { length: 40 },
      (_, i): Sent => [`k${i % 3}`, i, i % 4 === 1 ? (failures[i % failures.length] as string) : ''],
    );
    const plain = await run(sent);
    expect(plain.filter((line) => / (FOLD_FAILED|BAD_RECORD|ENCODE_FAILED)$/.test(line))).toHaveLength(10);
    for (const options of [{ chunk: 1 }, { commitRecords: 1 }, { chunk: 3, commitRecords: 2 }]) {
      expect(await run(sent, options)).toEqual(plain);
      expect(await run(sent, options, true)).toEqual(plain);
    }
  });

  test('a refusal while the input is read again leaves no trace in the memory of the fold', async () => {
    class Remembering implements Fold<Step> {
      readonly #context: Context<Step>;
      #last = 0;
      constructor(context: Context<Step>) {
        this.#context = context;
      }
      record({ value: { key, number, does }, topic, offset }: InputRecord<Step>): void {
        const before = this.#last;
        this.#last = number;
        if (does === '') {
          this.#context.emit('sums', { key }, { sum: before });
          return;
        }
        const refuse = () => {
          throw new MillraceError('BAD_RECORD', 'no');
        };
        this.#context.reread({ topic, from: 0n, to: offset + 1n }, refuse, () => undefined);
      }
    }
    const create = (context: Context<Step>) => new Remembering(context);
    await using driver = await Driver.open(defineProcessor<Step>({ ...adding('deadLetter'), create }));
    driver.send({ key: 'a', number: 7, does: 'reads again' });
    driver.send({ key: 'a', number: 1, does: '' });
    await driver.run();
    expect((await driver.dead()).map(({ value }) => value?.reason)).toEqual(['BAD_RECORD']);
    expect(await told(driver)).toEqual(['0 a: 0']);
  });

  test('an error of a timer stops: it is not about the record that brought the time', async () => {
    await using driver = await Driver.open(adding('deadLetter'));
    driver.send({ key: 'a', number: 1_000, does: '' }, { timestamp: 0n });
    driver.send({ key: 'b', number: 1, does: '' }, { timestamp: 5_000n });
    await expect(driver.run()).rejects.toMatchObject({
      code: 'FOLD_FAILED',
      message: expect.stringMatching(/advance.*RangeError: too many.*adding, steps\/0, offset 1/),
    });
  });
});

describe('without it', () => {
  test.each([
    ['throws', 'FOLD_FAILED'],
    ['emits nonsense', 'ENCODE_FAILED'],
  ])('a fold that %s stops with the origin of its record', async (does, code) => {
    await using driver = await Driver.open(adding());
    driver.send({ key: 'a', number: 1, does: '' });
    driver.send({ key: 'a', number: 1, does });
    await expect(driver.run()).rejects.toMatchObject({
      code,
      disposition: 'stop',
      message: expect.stringContaining('[adding, steps/0, offset 1]'),
      origin: { processor: 'adding', topic: 'steps', partition: 0, offset: 1n },
    });
  });
});
