/** What nothing can make again is given up by a record: whoever reads the list goes on with the rest, and is told what is lost. */
import { describe, expect, test } from '@jest/globals';
import { readListing } from '../../core/archive/listing/objects.ts';
import { formatManifest, parseManifest } from '../../core/archive/manifest.ts';
import { readRange } from '../../core/log/log.ts';
import { parseTimestamp } from '../../core/values/time.ts';
import { ColdLog } from '../../proof/replay/cold/log.ts';
import { traceObject } from '../../proof/trace/object/trace.ts';
import { locate } from '../../proof/trace/row/located.ts';
import { Trail } from '../../proof/trace/trail.ts';
import type { ArchiveObject } from '../../schemas/gen/archive_object.ts';
import { schemas as contracts } from '../../schemas/gen/index.ts';
import { archivedTopics } from '../../schemas/topics.ts';
import { CompactionHarness, Crash, trades } from '../../sinks/compaction/fixtures/harness.ts';
import { compactedOf, rebuildCompacted } from '../../sinks/compaction/rewrite/rebuild.ts';
import { examineDays, repairDay } from '../../sinks/manifests/repair.ts';
import { examine } from '../../sinks/parquet/repair/examine.ts';
import { lostOf, repair } from '../../sinks/parquet/repair/repair.ts';

const [day, other] = ['2013-11-25', '2013-11-26'] as const;
const signal = new AbortController().signal;

const sourcesOf = ({ manifests, store }: CompactionHarness) => ({
  log: manifests.archive.log,
  schemas: manifests.archive.schemas,
  store,
  signal,
});

/** Two days, the first of three objects with a row each, the other of one with two; all complete. */
async function twoDays(): Promise<CompactionHarness> {
  const harness = await CompactionHarness.open();
  for (const time of ['10:00:00', '11:00:00', '12:00:00']) await harness.archive(day, [time]);
  await harness.archive(other, ['10:00:00', '11:00:00']);
  await harness.settle();
  return harness;
}

/** The log keeps nothing from before an offset. */
function expireLog(harness: CompactionHarness, start: bigint): void {
  harness.manifests.archive.log.trim({ topic: trades, partition: 0 }, start);
}

function look(harness: CompactionHarness) {
  const sources = sourcesOf(harness);
  return examine({ ...sources, topics: archivedTopics, compactedOf: (object) => compactedOf(sources, object) });
}

/** As the command does it: what can be put back is, the rest is given up. */
async function mend(harness: CompactionHarness) {
  const sources = sourcesOf(harness);
  const { findings } = await look(harness);
  const outcomes = await repair({
    ...sources,
    findings,
    compacted: (object, inputs) => rebuildCompacted(sources, object, inputs, harness.scratchDir),
  });
  const lost = lostOf(findings, outcomes);
  await using compactor = await harness.open();
  return { outcomes, given: await compactor.giveUp(lost) };
}

async function listing(harness: CompactionHarness) {
  const { log, schemas } = sourcesOf(harness);
  return readListing(log, schemas, trades);
}

const keysOf = (objects: Iterable<{ readonly key: string }>) => Array.from(objects, ({ key }) => key);

/** The first object of the day is gone, and the log does not have its row any more. */
async function oneLost(): Promise<{ harness: CompactionHarness; gone: ArchiveObject }> {
  const harness = await twoDays();
  const [gone] = await harness.listed(day);
  if (gone === undefined) throw new TypeError();
  harness.store.objects.delete(gone.key);
  expireLog(harness, gone.to_offset);
  return { harness, gone };
}

describe('giving up', () => {
  test('takes what nothing can make again off the list, and puts the rest back', async () => {
    const { harness, gone } = await oneLost();
    await using _ = harness;
    const [, second] = await harness.listed(day);
    const before = harness.store.objects.get(second?.key ?? '')?.bytes;
    harness.store.objects.delete(second?.key ?? '');
    const { outcomes, given } = await mend(harness);
    expect(outcomes.map(({ result }) => result)).toEqual(['failed', 'repaired']);
    expect(keysOf(given)).toEqual([gone.key]);
    expect(harness.store.objects.get(second?.key ?? '')?.bytes).toEqual(before);
    const { objects, lost, replaced, expired } = await listing(harness);
    expect([objects.length, keysOf(lost), keysOf(expired)]).toEqual([3, [gone.key], []]);
    expect(replaced.get(gone.key)?.kind).toBe('LOST');
    expect(await harness.rowsOf([...objects])).toHaveLength(4);
    expect((await look(harness)).findings).toEqual([]);
  });

  test('finds nothing a second time, and gives up nothing that is another object by now', async () => {
    const { harness, gone } = await oneLost();
    await using _ = harness;
    await mend(harness);
    await using compactor = await harness.open();
    expect(await compactor.giveUp([gone])).toEqual([]);
    const [left] = await harness.listed(day);
    expect(await compactor.giveUp([{ ...(left as ArchiveObject), sha256: 'other' }])).toEqual([]);
    expect(await harness.steps()).toEqual(['LOST']);
  });

  test('that is killed at any effect, before or after it, is done by the next one', async () => {
    for (const moment of ['before', 'after'] as const) {
      const { harness, gone } = await oneLost();
      await using _ = harness;
      const killed = harness.seen(
        (effect, when) => {
          if (effect === 'commit' && when === moment) throw new Crash('killed');
        },
        () => mend(harness),
      );
      await expect(killed).rejects.toThrow(Crash);
      await mend(harness);
      expect(await harness.steps()).toEqual(['LOST']);
      expect(keysOf((await listing(harness)).lost)).toEqual([gone.key]);
      await harness.settle();
      expect(await harness.day(day)).toMatchObject({ state: 'COMPLETE', rows: 2n, lost_rows: 1n });
    }
  });

  test('is refused to one that another has taken over from', async () => {
    const { harness, gone } = await oneLost();
    await using _ = harness;
    await using zombie = await harness.open();
    await using owner = await harness.open();
    await expect(zombie.giveUp([gone])).rejects.toMatchObject({ code: 'FENCED' });
    expect(keysOf(await owner.giveUp([gone]))).toEqual([gone.key]);
  });
});

describe('a day that has lost rows', () => {
  test('is reopened, says how many, and is complete without them in its next revision', async () => {
    const { harness } = await oneLost();
    await using _ = harness;
    expect(await harness.day(day)).toMatchObject({ state: 'COMPLETE', revision: 1, rows: 3n, lost_rows: 0n });
    await mend(harness);
    await harness.settle();
    expect(await harness.manifests.history(day)).toEqual(['OPEN 1 1', 'COMPLETE 1 1', 'REOPENED 2 2', 'COMPLETE 2 2']);
    const stands = await harness.day(day);
    expect(stands).toMatchObject({ state: 'COMPLETE', revision: 2, files: 2n, rows: 2n, lost_rows: 1n });
    const manifest = harness.newestManifests().find((each) => each.day === day);
    expect([manifest?.files.length, manifest?.lostRows]).toEqual([2, 1n]);
    const success = harness.store.objects.get(stands?.success_key ?? '')?.bytes.toString() ?? '{}';
    expect(JSON.parse(success)).toMatchObject({ revision: 2, lost_rows: '1' });
    expect(await harness.day(other)).toMatchObject({ state: 'COMPLETE', revision: 1, lost_rows: 0n });
  });

  test('goes on saying so when rows come late, and when its files are compacted', async () => {
    const { harness } = await oneLost();
    await using _ = harness;
    await mend(harness);
    await harness.settle();
    await harness.archive(day, ['13:00:00']);
    await harness.settle();
    expect((await harness.compact()).done).toHaveLength(1);
    await harness.settle();
    expect(await harness.day(day)).toMatchObject({ state: 'COMPLETE', files: 1n, rows: 3n, lost_rows: 1n });
    expect(await harness.rowsOf(await harness.listed(day))).toHaveLength(3);
  });

  test('of which nothing is left is no day that was given up', async () => {
    await using harness = await twoDays();
    const own = await harness.listed(day);
    for (const { key } of own) harness.store.objects.delete(key);
    expireLog(harness, own.at(-1)?.to_offset ?? 0n);
    await mend(harness);
    await harness.settle();
    expect(await harness.day(day)).toMatchObject({ state: 'COMPLETE', files: 0n, rows: 0n, lost_rows: 3n });
    const { expiries } = await harness.expire('2013-11-27');
    expect(expiries.map((each) => each.day)).toEqual([other]);
  });

  test('has a manifest and a mark that can be made again', async () => {
    const { harness } = await oneLost();
    await using _ = harness;
    await mend(harness);
    await harness.settle();
    const sources = sourcesOf(harness);
    const json = [...harness.store.objects.keys()].filter((key) => key.endsWith('.json'));
    const all = new Map(json.map((key) => [key, harness.store.objects.get(key)?.bytes]));
    for (const key of json) harness.store.objects.delete(key);
    const found = await examineDays(sources, archivedTopics);
    expect(found).toHaveLength(4);
    for (const each of found) {
      await repairDay(sources, each);
      expect(harness.store.objects.get(each.key)?.bytes).toEqual(all.get(each.key));
    }
    // The next manifest goes on from one that is gone as from one that is there.
    for (const { key } of found) harness.store.objects.delete(key);
    await harness.archive(day, ['14:00:00']);
    await harness.settle();
    expect(await harness.day(day)).toMatchObject({ rows: 3n, lost_rows: 1n });
  });

  test('is read from its manifest as it was written', () => {
    const head = { epoch: 'e', topic: trades, day, number: 3, covers: [1n], replacements: 2n, files: [] };
    const manifest = { ...head, lostRows: 2n ** 60n };
    expect(parseManifest(formatManifest(manifest))).toEqual(manifest);
    expect(formatManifest({ ...head, lostRows: 0n }).toString()).not.toContain('lost');
  });
});

describe('a compacted file', () => {
  async function compacted(): Promise<{ harness: CompactionHarness; file: ArchiveObject }> {
    const harness = await twoDays();
    await harness.compact();
    await harness.settle();
    const [file] = await harness.listed(day);
    if (file === undefined) throw new TypeError();
    harness.store.objects.delete(file.key);
    return { harness, file };
  }

  test('is lost only when neither the log nor the bucket has what it was made of', async () => {
    const { harness, file } = await compacted();
    await using _ = harness;
    expireLog(harness, file.to_offset);
    expect((await look(harness)).findings).toMatchObject([{ source: 'compaction' }]);
    await harness.sweep(-1);
    const [found] = (await look(harness)).findings;
    expect(found).toMatchObject({ source: 'none', why: expect.stringContaining('is kept from offset') });
    expect(keysOf((await mend(harness)).given)).toEqual([file.key]);
    expect((await look(harness)).findings).toEqual([]);
    await harness.settle();
    expect(await harness.day(day)).toMatchObject({ rows: 0n, lost_rows: 3n });
  });

  test('that a later compaction had taken in is asked what it was made of, too', async () => {
    const { harness, file } = await compacted();
    await using _ = harness;
    await mend(harness);
    await harness.archive(day, ['13:00:00']);
    await harness.settle();
    await harness.compact();
    await harness.settle();
    await harness.sweep(-1);
    const [second] = await harness.listed(day);
    expect(second?.rows).toBe(4n);
    harness.store.objects.delete(second?.key ?? '');
    expect((await look(harness)).findings).toMatchObject([{ source: 'compaction' }]);
    expireLog(harness, file.to_offset);
    expect((await look(harness)).findings).toMatchObject([
      { source: 'none', why: expect.stringContaining(`of what was compacted ${file.key} is gone`) },
    ]);
  });
});

test('a damaged object that was given up leaves the bucket as replaced ones do', async () => {
  const { harness, gone } = await oneLost();
  await using _ = harness;
  harness.store.objects.set(gone.key, { bytes: Buffer.from('other'), metadata: {} });
  await mend(harness);
  expect(await harness.sweep()).toEqual([]);
  await harness.settle();
  harness.store.nowMs += 1_000;
  expect(await harness.sweep()).toEqual([gone.key]);
});

test('a compaction whose input was lost under it is given up, and the next one goes on without', async () => {
  await using harness = await twoDays();
  const [gone] = await harness.listed(day);
  const killed = harness.seen(
    (effect, when) => {
      if (effect.startsWith('get ') && when === 'before') throw new Crash('killed');
    },
    () => harness.compact(),
  );
  await expect(killed).rejects.toThrow(Crash);
  harness.store.objects.delete(gone?.key ?? '');
  expireLog(harness, gone?.to_offset ?? 0n);
  expect(keysOf((await mend(harness)).given)).toEqual([gone?.key]);
  await harness.settle();
  expect((await harness.compact()).done).toHaveLength(1);
  expect(await harness.steps()).toEqual(['PLANNED', 'ABANDONED', 'LOST', 'PLANNED', 'COMPACTED']);
  expect(await harness.rowsOf(await harness.listed(day))).toHaveLength(2);
});

test('a replay from the archive names what is lost, and does not go past it', async () => {
  const { harness, gone } = await oneLost();
  await using _ = harness;
  await mend(harness);
  const sources = sourcesOf(harness);
  const [to = 0n] = await sources.log.ends(trades);
  expireLog(harness, to);
  await using cold = await ColdLog.open({
    ...sources,
    inputs: [{ topic: trades, schema: contracts.trade_change }],
  });
  const range = { topic: trades, partition: 0, from: 0n, to };
  const read = async () => {
    for await (const _records of readRange(cold, range, { maxWaitMs: 0, maxBytesPerPartition: 1 << 20 }));
  };
  await expect(read()).rejects.toMatchObject({
    code: 'REPLAY_IMPOSSIBLE',
    message: expect.stringContaining(`${gone.key} had rows of them, is lost`),
  });
});

test('a trace of a row says that it is lost, and is no difference', async () => {
  const { harness, gone } = await oneLost();
  await using _ = harness;
  await mend(harness);
  const { log, schemas, store } = sourcesOf(harness);
  const texts = { executed_at: String(parseTimestamp(`${day}T10:00:00Z`)) };
  const change = { offset: gone.first_offset, texts, source: 'log' } as unknown as Parameters<typeof locate>[3][number];
  const trail = new Trail();
  const sources = { log, schemas, store, bucket: 'b' } as unknown as Parameters<typeof locate>[0];
  const located = await locate(sources, trail, 0, [change], { committed: 5n, refused: new Set() });
  expect(located.get(gone.first_offset)).toMatchObject({ state: 'lost', object: null });
  expect(trail.ok).toBe(true);
  expect(JSON.stringify(trail.findings)).toContain(`${gone.key} had it`);
});

test('a trace of the object says that it is lost, and is no difference', async () => {
  const { harness, gone } = await oneLost();
  await using _ = harness;
  await mend(harness);
  const { log, schemas, store } = sourcesOf(harness);
  const name = { key: gone.key, topic: trades, partition: 0, day, epoch: 'cluster-1', firstOffset: gone.first_offset };
  const sources = { log, schemas, store, bucket: 'b' } as unknown as Parameters<typeof traceObject>[0];
  const { listed, ok, findings } = await traceObject(sources, name as Parameters<typeof traceObject>[1]);
  expect([listed, ok]).toEqual([null, true]);
  expect(JSON.stringify(findings)).toContain('its rows are lost');
});
