/** What is gone from the bucket or damaged is put back byte for byte; what is good is never touched; what nobody can make again is named. */
import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { readDays } from '../../core/archive/listing/days.ts';
import type { MemoryStore } from '../../core/archive/s3/memory.ts';
import { MillraceError } from '../../core/base/errors.ts';
import { archivedTopics } from '../../schemas/topics.ts';
import { CompactionHarness } from '../../sinks/compaction/fixtures/harness.ts';
import { compactedOf, rebuildCompacted } from '../../sinks/compaction/rewrite/rebuild.ts';
import { examineDays, repairDay } from '../../sinks/manifests/repair.ts';
import { Harness, trade } from '../../sinks/parquet/fixtures/harness.ts';
import { type Examined, examine } from '../../sinks/parquet/repair/examine.ts';
import { type Outcome, repair } from '../../sinks/parquet/repair/repair.ts';

const topic = 'cdc.public.trades';
const scratchDir = mkdtempSync(join(tmpdir(), 'millrace-repair-'));
afterAll(() => rm(scratchDir, { recursive: true, force: true }));

interface Archive {
  readonly log: Harness['log'];
  readonly schemas: Harness['schemas'];
  readonly store: MemoryStore;
}

const sourcesOf = ({ log, schemas, store }: Archive) => ({ log, schemas, store, signal: new AbortController().signal });
const look = (archive: Archive, over: { day?: string; keys?: ReadonlySet<string> } = {}): Promise<Examined> =>
  examine({
    ...sourcesOf(archive),
    topics: archivedTopics,
    compactedOf: (object) => compactedOf(sourcesOf(archive), object),
    ...over,
  });

async function mend(archive: Archive, { findings }: Pick<Examined, 'findings'>): Promise<readonly Outcome[]> {
  const sources = sourcesOf(archive);
  return repair({
    ...sources,
    findings,
    compacted: (object, inputs) => rebuildCompacted(sources, object, inputs, scratchDir),
  });
}

/** Every object's bytes, as text that is quickly compared. */
const contents = ({ store }: Archive) =>
  [...store.objects].map(([key, { bytes }]) => `${key} ${bytes.toString('base64')}`).sort();

function damage({ store }: Archive, key: string): void {
  const { bytes, metadata } = store.objects.get(key) as { bytes: Buffer; metadata: Record<string, string> };
  const other = Buffer.from(bytes);
  other.writeUInt8(other.readUInt8(200) ^ 1, 200);
  store.objects.set(key, { bytes: other, metadata });
}

/** Two partitions, three days, several cuts: rows, updates, refused records, transaction markers. */
async function sunk(settings: Parameters<typeof Harness.open>[0] = {}): Promise<Archive> {
  const harness = await Harness.open({ partitions: 2, settings: { changeLogTopics: [topic] }, ...settings });
  for (let i = 0; i < 60; i++) {
    const executed_at = `2013-11-2${5 + (i % 3)}T10:00:00.0000${String(i).padStart(2, '0')}Z`;
    const row = trade({ trade_id: `t${i}`, executed_at, price: BigInt(i) * 12_345_678n });
    harness.send(topic, i % 7 === 0 ? { ...row, op: 'u', before: row.after } : row, i % 2);
    if (i % 11 === 0) harness.send(topic, Buffer.from('poison'), i % 2);
    if (i % 13 === 0) harness.log.appendMarker({ topic, partition: i % 2 });
    if (i % 20 === 19) {
      await harness.run(topic, { partition: 0 });
      await harness.run(topic, { partition: 1 });
      // A cut without a row: the next objects have it in their range.
      harness.send(topic, Buffer.from('poison'), 0);
      await harness.run(topic, { partition: 0 });
    }
  }
  return { log: harness.log, schemas: harness.schemas, store: harness.memory };
}

describe('a repair', () => {
  test('puts back what is gone and what is damaged, byte for byte, and finds nothing then', async () => {
    const archive = await sunk();
    const before = contents(archive);
    const keys = [...archive.store.objects.keys()];
    expect(keys).toHaveLength(18);
    expect((await look(archive)).findings).toEqual([]);
    const gone = keys.filter((_key, i) => i % 3 === 0);
    const bad = keys.filter((_key, i) => i % 3 === 1);
    for (const key of gone) archive.store.objects.delete(key);
    for (const key of bad) damage(archive, key);
    const found = await look(archive);
    expect(found.objects).toBe(18);
    const states = new Map(found.findings.map(({ object, state, source }) => [object.key, `${state} ${source}`]));
    expect(states).toEqual(
      new Map([...gone.map((key) => [key, 'missing log']), ...bad.map((key) => [key, 'damaged log'])] as never),
    );
    const outcomes = await mend(archive, found);
    expect(new Set(outcomes.map(({ result }) => result))).toEqual(new Set(['repaired']));
    expect(contents(archive)).toEqual(before);
    expect((await look(archive)).findings).toEqual([]);
  });

  test('of one day, or of some files, leaves the others', async () => {
    const archive = await sunk();
    const keys = [...archive.store.objects.keys()];
    archive.store.objects.clear();
    const { objects, findings } = await look(archive, { day: '2013-11-26' });
    expect([objects, findings.length]).toEqual([6, 6]);
    await mend(archive, { findings });
    expect([...archive.store.objects.keys()].every((key) => key.includes('/day=26/'))).toBe(true);
    const one = new Set([keys.find((key) => key.includes('/day=25/')) as string]);
    expect((await look(archive, { keys: one })).findings.map(({ object }) => object.key)).toEqual([...one]);
  });

  test('writes over no good object, also one that was put back meanwhile', async () => {
    const archive = await sunk();
    const [key = ''] = archive.store.objects.keys();
    const stored = archive.store.objects.get(key) as { bytes: Buffer; metadata: Record<string, string> };
    archive.store.objects.delete(key);
    const found = await look(archive);
    archive.store.objects.set(key, { ...stored, metadata: { by: 'hand' } });
    expect(await mend(archive, found)).toEqual([{ key, result: 'good' }]);
    expect(archive.store.objects.get(key)?.metadata).toEqual({ by: 'hand' });
  });

  test('that was interrupted after the damaged object went away is done by the next one', async () => {
    const archive = await sunk();
    const before = contents(archive);
    const [key = ''] = archive.store.objects.keys();
    damage(archive, key);
    archive.store.fault({ kind: 'before', error: new MillraceError('S3_UNREACHABLE', 'no answer') });
    await expect(mend(archive, await look(archive))).rejects.toMatchObject({ code: 'S3_UNREACHABLE' });
    expect(archive.store.objects.has(key)).toBe(false);
    await mend(archive, await look(archive));
    expect(contents(archive)).toEqual(before);
  });

  test('of what an earlier writer wrote has that writer’s columns', async () => {
    const harness = await Harness.open({ partitions: 2 });
    harness.send(topic, trade());
    await harness.plan(topic, { end: 1n, schemaId: 1, writerVersion: 1 });
    await harness.run(topic);
    const archive = { log: harness.log, schemas: harness.schemas, store: harness.memory };
    const before = contents(archive);
    archive.store.objects.clear();
    await mend(archive, await look(archive));
    expect(contents(archive)).toEqual(before);
  });

  test('of what the log has deleted changes nothing, and says so in the plan and afterwards', async () => {
    const archive = await sunk();
    const keys = [...archive.store.objects.keys()];
    archive.log.trim({ topic, partition: 0 }, 12n);
    archive.log.trim({ topic, partition: 1 }, 100n);
    for (const key of keys) damage(archive, key);
    const damaged = new Map(contents(archive).map((each) => each.split(' ') as [string, string]));
    const found = await look(archive);
    const lost = found.findings.filter(({ source }) => source === 'none');
    expect(lost.length).toBeGreaterThan(9);
    expect(lost[0]?.why).toMatch(/cdc\.public\.trades\/\d is kept from offset 1\d+ on/);
    const outcomes = await mend(archive, found);
    for (const { object } of lost) {
      const outcome = outcomes.find(({ key }) => key === object.key);
      expect(outcome).toMatchObject({ result: 'failed', error: { code: 'REPAIR_IMPOSSIBLE' } });
      expect(archive.store.objects.get(object.key)?.bytes.toString('base64')).toBe(damaged.get(object.key));
    }
    expect(outcomes.filter(({ result }) => result === 'repaired')).toHaveLength(18 - lost.length);
  });

  test('does not store what the log gives when it is not what the record says', async () => {
    const archive = await sunk();
    archive.store.objects.clear();
    const [finding] = (await look(archive)).findings;
    if (finding === undefined) throw new TypeError();
    const object = { ...finding.object, schema_id: finding.object.schema_id + 1 };
    const forged = { ...finding, object };
    expect(await mend(archive, { findings: [forged] })).toMatchObject([
      { result: 'failed', error: { code: 'REPAIR_IMPOSSIBLE' } },
    ]);
    expect(archive.store.objects.size).toBe(0);
  });
});

describe('a repair after compactions', () => {
  const day = '2013-11-25';

  /** A compacted day, and one that was compacted, got a late row, and was compacted again. */
  async function compacted(): Promise<CompactionHarness> {
    const harness = await CompactionHarness.open();
    await harness.archive(day, ['12:00:00', '09:00:00'], { symbol: 'ETH-USD' });
    await harness.archive(day, ['11:00:00', '23:59:59.999999']);
    await harness.archive('2013-11-26', ['08:00:00']);
    await harness.settle();
    await harness.compact();
    await harness.archive(day, ['07:00:00']);
    await harness.settle();
    await harness.compact();
    await harness.settle();
    return harness;
  }

  const archiveOf = ({ manifests, store }: CompactionHarness): Archive => ({
    log: manifests.archive.log,
    schemas: manifests.archive.schemas,
    store,
  });

  test('makes the whole bucket again: compacted files, small ones, manifests and marks, and nothing else', async () => {
    await using harness = await compacted();
    const archive = archiveOf(harness);
    await harness.sweep(-1);
    const listed = (await harness.listed()).map(({ key }) => key);
    expect(listed).toHaveLength(2);
    const all = new Map(archive.store.objects);
    archive.store.objects.clear();
    const found = await look(archive);
    expect(found.findings.map(({ source }) => source).sort()).toEqual(['compaction', 'log']);
    expect(new Set((await mend(archive, found)).map(({ result }) => result))).toEqual(new Set(['repaired']));
    const days = await examineDays(sourcesOf(archive), archivedTopics);
    for (const each of days) await repairDay(sourcesOf(archive), each);
    expect(days).toHaveLength(4);
    for (const [key, { bytes }] of archive.store.objects)
      expect([key, all.get(key)?.bytes.equals(bytes)]).toEqual([key, true]);
    expect([...archive.store.objects.keys()].sort()).toEqual([...listed, ...days.map(({ key }) => key)].sort());
    expect((await look(archive)).findings).toEqual([]);
    expect(await examineDays(sourcesOf(archive), archivedTopics)).toEqual([]);
    await harness.settle();
  });

  test('takes what was compacted from the bucket while it is there', async () => {
    await using harness = await compacted();
    const archive = archiveOf(harness);
    const end = (await archive.log.ends(topic))[0] ?? 0n;
    const key = (await harness.listed(day)).map((object) => object.key)[0] as string;
    damage(archive, key);
    archive.log.trim({ topic, partition: 0 }, end);
    expect(await mend(archive, await look(archive))).toEqual([{ key, result: 'repaired' }]);
    expect((await look(archive)).findings).toEqual([]);
  });

  test('leaves alone what was replaced since it was looked at', async () => {
    await using harness = await CompactionHarness.open();
    await harness.archive(day, ['12:00:00']);
    await harness.archive(day, ['13:00:00']);
    await harness.settle();
    const archive = archiveOf(harness);
    const [first] = await harness.listed();
    const stored = archive.store.objects.get(first?.key ?? '');
    archive.store.objects.delete(first?.key ?? '');
    const found = await look(archive);
    archive.store.objects.set(first?.key ?? '', stored as never);
    await harness.compact();
    archive.store.objects.delete(first?.key ?? '');
    expect(await mend(archive, found)).toEqual([{ key: first?.key, result: 'unlisted' }]);
    expect(archive.store.objects.has(first?.key ?? '')).toBe(false);
  });

  test('puts a manifest and a mark back that were changed', async () => {
    await using harness = await compacted();
    const archive = archiveOf(harness);
    const before = contents(archive);
    for (const key of archive.store.objects.keys())
      if (key.endsWith('.json')) archive.store.objects.set(key, { bytes: Buffer.from('{}'), metadata: {} });
    const days = await examineDays(sourcesOf(archive), [topic], day);
    expect(days.map(({ state }) => state)).toEqual(['damaged', 'damaged']);
    for (const each of await examineDays(sourcesOf(archive), [topic])) await repairDay(sourcesOf(archive), each);
    const standing = await readDays(archive.log, archive.schemas);
    const newest = new Set(standing.flatMap(({ manifest_key, success_key }) => [manifest_key, success_key]));
    const kept = (all: string[]) =>
      all.filter((each) => !each.includes('.json ') || newest.has(each.split(' ')[0] as string));
    expect(kept(contents(archive))).toEqual(kept(before));
  });
});
