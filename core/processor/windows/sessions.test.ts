import { expect, test } from '@jest/globals';
import fc from '../../../test/support/property.ts';
import { MillraceError } from '../../base/errors.ts';
import { Driver } from '../../testing/driver.ts';
import { defineProcessor } from '../define.ts';
import type { Aggregation } from './aggregation.ts';
import { Sessions, sessionStores } from './sessions.ts';

interface Click {
  readonly user: string;
  /** Seconds. */
  readonly at: number;
}

const clickSchema = {
  type: 'record',
  name: 'Click',
  fields: [
    { name: 'user', type: 'string' },
    { name: 'at', type: 'double' },
  ],
};

const counts: Aggregation<Click, { clicks: number }> = {
  schema: { type: 'record', name: 'Clicks', fields: [{ name: 'clicks', type: 'double' }] },
  time: ({ at }) => at * 1e6,
  create: () => ({ clicks: 1 }),
  add(into) {
    into.clicks += 1;
  },
  merge(into, other) {
    into.clicks += other.clicks;
  },
  copy: (of) => ({ ...of }),
  count: ({ clicks }) => clicks,
  check(into) {
    if ((into?.clicks ?? 0) >= 30) throw new MillraceError('BAD_RECORD', 'more clicks than an output holds');
  },
};

/** Sessions end after ten seconds of nothing; five seconds of lateness. */
const visits = defineProcessor<Click>({
  name: 'visits',
  version: '1',
  inputs: [{ topic: 'clicks', schema: clickSchema, kind: 'derived' }],
  outputs: [
    {
      topic: 'visits',
      keySchema: null,
      valueSchema: { type: 'record', name: 'Visit', fields: [{ name: 'text', type: 'string' }] },
    },
  ],
  stores: sessionStores(counts),
  create(context) {
    const say = (text: string) => context.emit('visits', null, { text });
    const sessions = new Sessions(
      {
        gap: 10e6,
        aggregation: counts,
        lateness: 5e6,
        maxFutureSkew: 60e6,
        emit: ({ key, start, end, value }) => say(`${key} ${start / 1e6}-${end / 1e6} ${value.clicks}`),
        late: (key, { at }, lateness) => say(`${key} ${at} late by ${lateness / 1e6}`),
      },
      context,
    );
    return {
      restored: () => sessions.restored(),
      deadline: () => sessions.deadline(),
      advance: () => sessions.advance(),
      record: (record) => sessions.add(record.value.user, record.value, record),
    };
  },
});

/** @param clicks with the second of their commit. */
async function run(clicks: readonly (readonly [at: number, log: number])[], crashes = false): Promise<string[]> {
  await using driver = await Driver.open(visits);
  for (const [at, log] of clicks) {
    driver.send({ user: 'u', at }, { timestamp: BigInt(log) * 1000n });
    if (!crashes) continue;
    await driver.run();
    driver.crash();
  }
  await driver.beat(100_000_000_000n);
  return (await driver.outputs<null, { text: string }>('visits')).map(({ value }) => value?.text ?? '');
}

test('a session ends when nothing has happened for the gap, half open', async () => {
  expect(
    await run([
      [1, 1],
      [10, 10],
      [20, 20],
      [29, 29],
    ]),
  ).toEqual(['u 1-20 2', 'u 20-39 2']);
});

test('two sessions become one when a record comes between them', async () => {
  expect(
    await run([
      [1, 1],
      [15, 15],
      [10, 15],
    ]),
  ).toEqual(['u 1-25 3']);
});

test('a record that would make one session of two that are too great together is refused, and they stay two', async () => {
  const clicks = (at: number): (readonly [number, number])[] => Array.from({ length: 15 }, () => [at, 15] as const);
  expect(await run([...clicks(1), ...clicks(15), [10, 15]])).toEqual(['u 1-11 15', 'u 15-25 15']);
});

test('a record that comes before a session begins it', async () => {
  expect(
    await run([
      [5, 5],
      [2, 6],
    ]),
  ).toEqual(['u 2-15 2']);
});

test('a record whose session would have closed is late, and one that an open session reaches is not', async () => {
  expect(
    await run([
      [1, 1],
      [30, 30],
      [3, 31],
      [24, 31],
    ]),
  ).toEqual(['u 1-11 1', 'u 3 late by 23', 'u 24-40 2']);
});

test('in any order within the lateness, with any crashes, the sessions are those of the definition', async () => {
  const click = fc.record({ at: fc.nat(120), delay: fc.nat(5) });
  await fc.assert(
    fc.asyncProperty(fc.array(click, { minLength: 1, maxLength: 25 }), fc.boolean(), async (all, crashes) => {
      const sent = all.map(({ at, delay }) => [at, at + delay] as const).sort((a, b) => a[1] - b[1]);
      const expected: { start: number; end: number; clicks: number }[] = [];
      for (const at of all.map((each) => each.at).sort((a, b) => a - b)) {
        const last = expected.at(-1);
        if (last !== undefined && at < last.end) {
          last.end = at + 10;
          last.clicks += 1;
        } else expected.push({ start: at, end: at + 10, clicks: 1 });
      }
      expect(await run(sent, crashes)).toEqual(expected.map(({ start, end, clicks }) => `u ${start}-${end} ${clicks}`));
    }),
    { numRuns: 40 },
  );
});
