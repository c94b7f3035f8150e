import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { DeadLetter } from '../../schemas/gen/dead_letter.ts';
import { schemas as contracts } from '../../schemas/gen/index.ts';
import { AvroEncoder } from '../avro/encoder.ts';
import { Driver } from '../testing/driver.ts';
import { parseFilter } from './filter.ts';
import { type CounterChange, change, counter, input, output } from './fixtures/counter.ts';
import { firstOrigin, type Letter, letterId, parseLetterId, readLetter, readLetters } from './letters.ts';
import { planRedrive, type RedriveOptions, redrive, type Verdict } from './redrive.ts';

let limit: { amount: bigint };
let driver: Driver<CounterChange>;

beforeEach(async () => {
  limit = { amount: 10n };
  driver = await Driver.open(counter(limit));
  driver.log.create('redrives', 1);
});
afterEach(async () => {
  await driver[Symbol.asyncDispose]();
});

const options = (conditions: readonly string[] = [], maxAttempts = 3): RedriveOptions => ({
  log: driver.log,
  schemas: driver.schemas,
  processor: 'counter',
  filter: parseFilter(conditions),
  maxAttempts,
});

async function run(conditions: readonly string[] = [], maxAttempts = 3): Promise<Verdict['action'][]> {
  const done: Verdict['action'][] = [];
  for await (const { verdict } of redrive({ ...options(conditions, maxAttempts), nowMicros: 5_000_000n })) {
    done.push(verdict.action);
  }
  return done;
}

async function plan(conditions: readonly string[] = [], maxAttempts = 3): Promise<Verdict[]> {
  const verdicts: Verdict[] = [];
  for await (const { verdict } of planRedrive(options(conditions, maxAttempts))) verdicts.push(verdict);
  return verdicts;
}

async function letters(): Promise<Letter[]> {
  const found: Letter[] = [];
  for await (const letter of readLetters(driver.log, driver.schemas, 'counter')) found.push(letter);
  return found;
}

async function sums(): Promise<bigint[]> {
  const emitted = await driver.outputs<object, { sum: bigint }>(output);
  return emitted.map(({ value }) => value?.sum ?? -1n);
}

describe('redriving', () => {
  beforeEach(async () => {
    driver.send(change('a', 50n));
    driver.send(change('a', 1n));
    driver.send(change('a', 70n));
    await driver.run();
  });

  test('folds a record whose cause was cured, although the change is far behind the newest one', async () => {
    limit.amount = 100n;
    expect(await run()).toEqual(['redrive', 'redrive']);
    await driver.run();
    expect(await sums()).toEqual([1n, 51n, 121n]);
  });

  test('sends each letter once, however often it is said', async () => {
    limit.amount = 100n;
    expect(await run(['offset=0'])).toEqual(['redrive']);
    expect(await run()).toEqual(['done', 'redrive']);
    expect(await run()).toEqual(['done', 'done']);
    await driver.run();
    expect(await sums()).toEqual([1n, 51n, 121n]);
    expect(await plan()).toEqual([
      { action: 'done', atMicros: 5_000_000n },
      { action: 'done', atMicros: 5_000_000n },
    ]);
  });

  test.each(['unknown-committed', 'unknown-aborted', 'abort'] as const)(
    'that ends in %s is said again and sends each letter once',
    async (fault) => {
      limit.amount = 100n;
      driver.log.fault('millrace.redrive', fault);
      await expect(run()).rejects.toThrow();
      await run();
      await driver.run();
      expect(await sums()).toEqual([1n, 51n, 121n]);
    },
  );

  test('of two at once only the later one goes on', async () => {
    limit.amount = 100n;
    const first = redrive({ ...options(), nowMicros: 1n });
    const opened = first.next();
    await Promise.resolve();
    const second = run();
    const outcomes = await Promise.allSettled([opened, second]);
    await first.return(undefined);
    await driver.run();
    expect(outcomes.some(({ status }) => status === 'fulfilled')).toBe(true);
    expect(await sums()).toEqual([1n, 51n, 121n]);
  });

  test('counts how often a record was tried, keeps its first origin, and gives up at the limit', async () => {
    await run(['offset=0']);
    await driver.run();
    const again = (await letters())[2] as Letter;
    expect(again.attempts).toBe(2);
    expect(again.origin.offset).toBeGreaterThan(2n);
    expect(firstOrigin(again)).toBe(`${input}/0/0`);
    expect(again.redriven?.letter).toBe('counter.dead/0/0');
    await run([`letter=${letterId(again)}`]);
    await driver.run();
    const third = (await letters())[3] as Letter;
    expect([third.attempts, firstOrigin(third)]).toEqual([3, `${input}/0/0`]);
    expect(await run([`letter=${letterId(third)}`])).toEqual(['refuse']);
    expect(await plan([`letter=${letterId(third)}`])).toEqual([
      { action: 'refuse', why: 'tried 3 times, and 3 is the limit' },
    ]);
    expect(await plan([`letter=${letterId(third)}`], 4)).toEqual([{ action: 'redrive' }]);
  });

  test('reaches only the processor that had refused the record: another one passes over it', async () => {
    limit.amount = 100n;
    await run();
    const other = await Driver.open({ ...counter(limit), name: 'other' });
    for (const { value, headers, timestamp } of driver.log.records(input, 0)) {
      other.log.append({ topic: input, partition: 0, key: null, value, timestamp, ...(headers && { headers }) });
    }
    await other.run();
    const emitted = await other.outputs<object, { sum: bigint }>(output);
    expect(emitted.map(({ value }) => value?.sum)).toEqual([50n, 51n, 121n]);
    await other[Symbol.asyncDispose]();
  });

  test('leaves alone a record of a batch that could not be read: there are no bytes to send', async () => {
    const { topic, partition, offset, redriven, ...letter } = (await letters())[0] as Letter;
    const encoder = await AvroEncoder.open<DeadLetter>(driver.schemas, `${topic}-value`, contracts.dead_letter);
    const value = encoder.encode({ ...letter, key: null, value: null });
    driver.log.append({ topic, partition, key: null, value, timestamp: 0n });
    expect([offset, redriven]).toEqual([0n, undefined]);
    expect(await run()).toEqual(['refuse', 'redrive', 'redrive']);
  });
});

describe('a filter', () => {
  const letter = {
    processor: 'p',
    topic: 'p.dead',
    partition: 1,
    offset: 7n,
    origin: { topic: 'in', partition: 1, offset: 42n, timestamp: 1_748_865_600_000n },
    reason: 'BAD_AVRO',
    error: 'the record ends too early',
    key: null,
    value: null,
    schema_id: null,
    lsn: null,
    attempts: 1,
    redriven: undefined,
  } satisfies Letter;

  test.each([
    [[], true],
    [['reason=BAD_AVRO', 'topic=in'], true],
    [['reason=BAD_AVRO', 'topic=out'], false],
    [['error=too early'], true],
    [['error=too late'], false],
    [['partition=1'], true],
    [['partition=0'], false],
    [['offset=42'], true],
    [['offset=40..42'], true],
    [['offset=43..50'], false],
    [['since=2025-06-02T12:00:00Z', 'until=2025-06-02T12:00:01Z'], true],
    [['until=2025-06-02T12:00:00Z'], false],
    [['since=2025-06-02', 'until=2025-06-03'], true],
    [['until=2025-06-02'], false],
    [['letter=0/7,1/7'], true],
    [['letter=0/7'], false],
  ])('%p takes the letter: %p', (conditions, taken) => {
    expect(parseFilter(conditions)(letter)).toBe(taken);
  });

  test.each(['reason', 'colour=red', 'offset=a', 'since=yesterday', 'partition=-1'])(
    'of %p is refused',
    (condition) => {
      expect(() => parseFilter([condition])).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
    },
  );
});

test('a letter is found by its partition and offset, and one that is not there is refused', async () => {
  driver.send(change('a', 50n));
  await driver.run();
  const { log, schemas } = driver;
  expect((await readLetter(log, schemas, 'counter', parseLetterId('0/0'))).error).toBe('50 is too much');
  for (const id of ['0/1', '0/99', '7/0']) {
    await expect(readLetter(log, schemas, 'counter', parseLetterId(id))).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
    });
  }
  expect(() => parseLetterId('17')).toThrow('names no dead letter');
});
