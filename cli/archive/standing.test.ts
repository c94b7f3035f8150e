import { expect, test } from '@jest/globals';
import { MillraceError } from '../../core/base/errors.ts';
import { archivedTopics } from '../../schemas/topics.ts';
import { CompactionHarness, trades } from '../../sinks/compaction/fixtures/harness.ts';
import { readReplaced, readStanding, standingRows, type TopicStanding } from './standing.ts';

const [first, second, third] = ['2013-11-24', '2013-11-25', '2013-11-26'] as const;
const signal = new AbortController().signal;

async function standing(harness: CompactionHarness, firstKeptDay?: string): Promise<TopicStanding> {
  const { log, schemas, store } = harness.manifests.archive;
  const options = { targetBytes: harness.targetBytes, firstKeptDay };
  const found = await readStanding({ log, schemas, store, signal }, options);
  expect(found.map(({ topic }) => topic)).toEqual([...archivedTopics]);
  return found.find(({ topic }) => topic === trades) as TopicStanding;
}

async function replaced(harness: CompactionHarness, readerGraceMs = 1_000) {
  const found = await readReplaced(harness.sweepOptions(readerGraceMs));
  return found.find(({ topic }) => topic === trades);
}

async function threeDays(): Promise<CompactionHarness> {
  const harness = await CompactionHarness.open(2);
  for (const day of [first, second, third]) {
    for (const time of ['12:00:00', '13:00:00']) await harness.archive(day, [time]);
  }
  await harness.archive(third, ['14:00:00', '15:00:00'], { partition: 1 });
  return harness;
}

test('tells files, rows and bytes that are listed, and the newest cut of each partition', async () => {
  await using harness = await threeDays();
  const { listed, cuts, days, unmanifested } = await standing(harness);
  const objects = await harness.listed();
  const bytes = objects.reduce((sum, object) => sum + object.bytes, 0n);
  expect(listed).toEqual({ files: 7, rows: 8n, bytes });
  const newest = (partition: number) => objects.filter((object) => object.partition === partition).at(-1);
  expect(cuts).toEqual(
    [0, 1].map((partition) => ({
      partition,
      from: newest(partition)?.from_offset,
      to: newest(partition)?.to_offset,
      at: expect.any(BigInt),
    })),
  );
  expect({ days, unmanifested }).toEqual({
    days: { OPEN: 0, COMPLETE: 0, REOPENED: 0, EXPIRED: 0, NONE: 3 },
    unmanifested: 7,
  });
});

test('tells the pending compaction: files of complete days, then replaced ones until they may go and are gone', async () => {
  await using harness = await threeDays();
  expect(await standing(harness)).toMatchObject({ due: { files: 0 } });
  await harness.settle();
  expect(await standing(harness)).toMatchObject({
    days: { COMPLETE: 3 },
    unmanifested: 0,
    due: { files: 6, rows: 6n },
  });
  expect(await replaced(harness)).toMatchObject({ removable: { files: 0 }, waiting: { files: 0 } });
  await harness.compact();
  expect(await standing(harness)).toMatchObject({ listed: { files: 4, rows: 8n }, due: { files: 0 } });
  expect(await replaced(harness)).toMatchObject({ removable: { files: 0 }, waiting: { files: 6 } });
  await harness.settle();
  harness.store.nowMs += 1_000;
  const owed = await replaced(harness);
  expect(owed).toMatchObject({ removable: { files: 6 }, waiting: { files: 0 } });
  expect(owed?.removable.bytes).toBeGreaterThan(0n);
  await harness.sweep();
  expect(await replaced(harness)).toMatchObject({ removable: { files: 0 }, waiting: { files: 0 } });
});

test('tells the pending expiry and the expired objects, and nothing if all days are kept', async () => {
  await using harness = await threeDays();
  expect(await standing(harness, third)).toMatchObject({ old: { days: 0, files: 0 } });
  await harness.settle();
  expect((await standing(harness)).old).toBeNull();
  expect(await standing(harness, third)).toMatchObject({ old: { days: 2, files: 4, rows: 4n } });
  await harness.expire(third);
  expect(await standing(harness, third)).toMatchObject({
    listed: { files: 3, rows: 4n },
    old: { days: 0, files: 0 },
    expired: { files: 4, rows: 4n },
  });
});

test('is told while the bucket does not answer, also of a day that got a file after its compaction', async () => {
  await using harness = await threeDays();
  await harness.settle();
  await harness.compact();
  await harness.archive(first, ['16:00:00']);
  await harness.settle();
  const due = { files: 2, rows: 3n };
  expect(await standing(harness)).toMatchObject({ listed: { files: 5, rows: 9n }, due });
  const down = harness.seen(
    (effect) => {
      if (effect.startsWith('get')) throw new MillraceError('S3_UNREACHABLE', 'no answer');
    },
    () => standing(harness),
  );
  expect(await down).toMatchObject({ listed: { files: 5, rows: 9n }, due });
});

test('is printed as a row per topic, with empty cells if the bucket did not answer', async () => {
  await using harness = await threeDays();
  await harness.settle();
  const own = await standing(harness, third);
  const volume = { files: 2, bytes: 5n };
  const known = [{ topic: trades, removable: volume, waiting: volume }] as const;
  const [row] = standingRows([own], known);
  expect(standingRows([{ ...own, lost: { files: 1, rows: 7n, bytes: 5n } }], known)[0]?.at(-1)).toBe('7 rows of 1');
  expect(row?.slice(5)).toEqual(['3 complete', '0', '6', '2, 2 in a while', '4 of 2 days', '']);
  const [unknown] = standingRows([{ ...own, cuts: [], old: null }], []);
  expect(unknown?.slice(4)).toEqual(['none', '3 complete', '0', '6', '', '', '']);
});
