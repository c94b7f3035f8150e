import { describe, expect, test } from '@jest/globals';
import { CompactionHarness, trades } from '../fixtures/harness.ts';

const [first, second, third] = ['2013-11-24', '2013-11-25', '2013-11-26'] as const;

async function threeDays(): Promise<CompactionHarness> {
  const harness = await CompactionHarness.open(2);
  for (const day of [first, second, third]) {
    for (const partition of [0, 1]) await harness.archive(day, ['12:00:00'], { partition });
  }
  await harness.settle();
  return harness;
}

describe('expiry', () => {
  test('unlists whole days: their next manifest is empty, and they are EXPIRED', async () => {
    await using harness = await threeDays();
    const { expiries, kept } = await harness.expire(third);
    expect(expiries.map(({ topic, day }) => [topic, day])).toEqual([
      [trades, first],
      [trades, second],
    ]);
    expect(kept).toEqual([]);
    expect((await harness.listed()).map(({ day }) => day)).toEqual([third, third]);
    await harness.settle();
    expect(await harness.manifests.history(first)).toEqual(['OPEN 1 1', 'COMPLETE 1 1', 'EXPIRED 2 2']);
    expect(await harness.day(first)).toMatchObject({ files: 0n, rows: 0n, success_key: null, passed: null });
    expect(harness.newestManifests().map(({ day, files }) => [day, files.length])).toEqual([
      [first, 0],
      [second, 0],
      [third, 2],
    ]);
    expect(await harness.day(third)).toMatchObject({ state: 'COMPLETE', revision: 1 });
  });

  test('finds nothing a second time', async () => {
    await using harness = await threeDays();
    await harness.expire(third);
    expect((await harness.expire(third)).expiries).toEqual([]);
    expect(await harness.steps()).toEqual(['EXPIRED', 'EXPIRED']);
  });

  test('removes the objects after the grace of readers, as any that are replaced', async () => {
    await using harness = await threeDays();
    await harness.expire(second);
    expect(await harness.sweep()).toEqual([]);
    await harness.settle();
    harness.store.nowMs += 1_000;
    expect(await harness.sweep()).toHaveLength(2);
    expect(await harness.rowsOf(await harness.listed())).toHaveLength(4);
  });

  test('keeps days that are not complete', async () => {
    await using harness = await threeDays();
    await harness.archive(first, ['13:00:00']);
    await harness.manifests.run();
    await harness.archive('2013-11-20', ['13:00:00']);
    const { expiries, kept } = await harness.expire(second);
    expect(expiries).toEqual([]);
    expect(kept).toEqual([
      { topic: trades, day: '2013-11-20', state: null },
      { topic: trades, day: first, state: 'REOPENED' },
    ]);
  });

  test('takes compacted days too, and a late row reopens the day with itself alone', async () => {
    await using harness = await threeDays();
    await harness.archive(first, ['12:00:01']);
    await harness.settle();
    await harness.compact();
    await harness.settle();
    await harness.expire(second);
    await harness.settle();
    await harness.archive(first, ['13:00:00']);
    await harness.settle();
    expect(await harness.day(first)).toMatchObject({ state: 'COMPLETE', rows: 1n });
    expect(harness.newestManifests()[0]?.files).toHaveLength(1);
    expect(await harness.listed(first)).toHaveLength(1);
  });

  test('unlists the objects listed at that moment, compacted since the plan was shown or not', async () => {
    await using harness = await threeDays();
    await harness.archive(first, ['12:00:01']);
    await harness.settle();
    const planned = [{ topic: trades, day: first }] as const;
    await harness.compact();
    await using compactor = await harness.open();
    expect(await compactor.expire(planned)).toMatchObject([{ day: first }]);
    expect(await harness.listed(first)).toEqual([]);
    expect(await compactor.expire(planned)).toEqual([]);
  });
});
