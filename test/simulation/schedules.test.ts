import { availableParallelism } from 'node:os';
import { describe, expect, test } from '@jest/globals';
import { bugs } from './bugs.ts';
import { simulate } from './engine/simulation.ts';
import { explain, runApart, scenarios } from './runs.ts';

/** Twice what each planted bug is given, because the scenarios take turns. `npm run soak -- simulation` runs 10,000. */
const schedules = 300;

test(`${schedules} schedules of crashes, stalls, rebalances, lost and late answers keep every promise`, async () => {
  const report = await runApart({
    scenarios: Object.keys(scenarios),
    from: 1,
    count: schedules,
    processes: Math.min(2, availableParallelism()),
  });
  expect(report.failures.map(explain)).toEqual([]);
  expect(report.runs).toBe(schedules);
  // They were not idle: on average a run starts several processes.
  expect(report.processes).toBeGreaterThan(3 * schedules);
}, 900_000);

/** Weather in which rare bugs show sooner: twice as many schedules as the planted ones take. */
test.each(bugs.flatMap(({ name, scenario, climate }) => (climate === undefined ? [] : [{ name, scenario, climate }])))(
  'nor is a promise broken in the weather for this bug: $name',
  async ({ scenario, climate }) => {
    const report = await runApart({ scenarios: [scenario], from: 1, count: 24, climate, processes: 1 });
    expect(report.failures.map(explain)).toEqual([]);
    expect(report.runs).toBe(24);
  },
);

describe.each(Object.entries(scenarios))('%s', (_, make) => {
  test('a seed has one course, whatever ran before it', async () => {
    const first = await simulate(make, { seed: 7 });
    const other = await simulate(make, { seed: 8 });
    const again = await simulate(make, { seed: 7 });
    expect(again.hash).toBe(first.hash);
    expect(again.trace).toEqual(first.trace);
    expect(other.hash).not.toBe(first.hash);
  });
});
