/** Days read from manifests, and totals read from days, equal the list itself after any history. */
import { expect, test } from '@jest/globals';
import { type DayObjects, readDayObjects } from '../../core/archive/listing/day-objects.ts';
import { readDays } from '../../core/archive/listing/days.ts';
import { type ListedObject, readListing } from '../../core/archive/listing/objects.ts';
import { readGivenUp, readTotals } from '../../core/archive/listing/totals.ts';
import { MillraceError } from '../../core/base/errors.ts';
import type { FetchPosition, Log } from '../../core/log/log.ts';
import { objectsTopic } from '../../schemas/topics.ts';
import { CompactionHarness, trades } from './fixtures/harness.ts';
import { readDueVolume } from './plan/due.ts';
import { dueGroups } from './plan/groups.ts';

const signal = new AbortController().signal;
const days = Array.from({ length: 12 }, (_, i) => `2013-11-${String(i + 10)}`);
const [first = '', second = '', third = ''] = days;

async function many(): Promise<CompactionHarness> {
  const harness = await CompactionHarness.open(2);
  for (const day of days) {
    for (const time of ['12:00:00', '13:00:00']) await harness.archive(day, [time]);
  }
  await harness.archive(second, ['14:00:00', '15:00:00'], { partition: 1 });
  return harness;
}

/** The log, and the offset from which each read of the objects topic began. */
function watched(log: Log): { readonly log: Log; readonly from: bigint[] } {
  const from: bigint[] = [];
  const fetcher: Log['fetcher'] = () => {
    const own = log.fetcher();
    return {
      fetch: (asked: readonly FetchPosition[], options) => {
        from.push(...asked.filter(({ topic }) => topic === objectsTopic(trades)).map(({ offset }) => offset));
        return own.fetch(asked, options);
      },
      [Symbol.asyncDispose]: () => own[Symbol.asyncDispose](),
    };
  };
  const get = (target: Log, name: string | symbol): unknown => {
    if (name === 'fetcher') return fetcher;
    const value: unknown = Reflect.get(target, name);
    return typeof value === 'function' ? value.bind(target) : value;
  };
  return { log: new Proxy(log, { get }), from };
}

async function dayOf(harness: CompactionHarness, day: string, store = harness.store): Promise<DayObjects | undefined> {
  const { log, schemas } = harness.manifests.archive;
  const found: DayObjects[] = [];
  const sources = { log, schemas, store, signal };
  for await (const each of readDayObjects(sources, trades, { days: (name) => name === day })) found.push(each);
  expect(found.length).toBeLessThanOrEqual(1);
  return found[0];
}

function plain(objects: Iterable<ListedObject & { readonly dead_letters?: bigint }>): readonly object[] {
  return Array.from(objects, ({ dead_letters: _, ...object }) => object);
}

/** Every query gives the same answer as the list itself. */
async function expectEqual(harness: CompactionHarness): Promise<void> {
  const { log, schemas } = harness.manifests.archive;
  const listing = await readListing(log, schemas, trades);
  const sums = new Map<string, { files: number; rows: bigint; bytes: bigint }>();
  const add = (id: string, { rows, bytes }: Pick<ListedObject, 'rows' | 'bytes'>): void => {
    const { files, ...sum } = sums.get(id) ?? { files: 0, rows: 0n, bytes: 0n };
    sums.set(id, { files: files + 1, rows: sum.rows + rows, bytes: sum.bytes + bytes });
  };
  for (const object of listing.objects) add(object.day, object);
  const totals = await readTotals({ log, schemas, signal }, trades);
  expect(totals.filter(({ listed }) => listed.files > 0).map(({ day, listed }) => [day, listed])).toEqual(
    [...sums].sort(([a], [b]) => (a < b ? -1 : 1)),
  );
  sums.clear();
  for (const object of listing.expired) add('expired', object);
  for (const object of listing.lost) add('lost', object);
  const none = { files: 0, rows: 0n, bytes: 0n };
  expect(await readGivenUp({ log, schemas, signal }, trades)).toEqual({
    expired: sums.get('expired') ?? none,
    lost: sums.get('lost') ?? none,
  });
  const stands = await readDays(log, schemas);
  const closed = new Set(
    stands.filter(({ state, written }) => state === 'COMPLETE' && written?.length !== 0).map(({ day }) => day),
  );
  const due = dueGroups(trades, [...listing.objects], (day) => closed.has(day), harness.targetBytes);
  const inputs = due.flatMap((group) => group.inputs);
  const { targetBytes, store } = harness;
  expect(await readDueVolume({ log, schemas, store, signal }, trades, totals, { targetBytes })).toEqual({
    files: inputs.length,
    rows: inputs.reduce((sum, { rows }) => sum + rows, 0n),
    bytes: inputs.reduce((sum, { bytes }) => sum + bytes, 0n),
  });
  for (const day of new Set([...days, ...totals.map((each) => each.day)])) {
    const own = listing.objects.filter((object) => object.day === day);
    expect(plain((await dayOf(harness, day))?.objects ?? [])).toEqual(plain(own));
    const { objects } = await readListing(log, schemas, trades, { days: (each) => each === day });
    expect([...objects]).toEqual(own);
  }
  for (const partition of [0, 1]) {
    const { objects } = await readListing(log, schemas, trades, { partition });
    expect([...objects]).toEqual(listing.objects.filter((object) => object.partition === partition));
  }
}

test('days and totals are those of the list: before manifests, after them, and while any of them are behind', async () => {
  await using harness = await many();
  await expectEqual(harness);
  await harness.settle();
  await expectEqual(harness);
  await harness.archive(first, ['16:00:00']);
  await harness.archive('2013-12-24', ['16:00:00'], { partition: 1 });
  await expectEqual(harness);
  await harness.settle();
  await harness.compact();
  await expectEqual(harness);
  await harness.archive(third, ['17:00:00']);
  await expectEqual(harness);
  await harness.settle();
  await harness.expire(second);
  await expectEqual(harness);
  await using compactor = await harness.open();
  const [lost] = await harness.listed(third);
  await compactor.giveUp(lost === undefined ? [] : [lost]);
  await expectEqual(harness);
  await harness.settle();
  await expectEqual(harness);
  await harness.archive(first, ['18:00:00']);
  await expectEqual(harness);
});

test('an object that the sink lists a second time, after it was replaced, is not listed again', async () => {
  await using harness = await many();
  const { log } = harness.manifests.archive;
  const [record] = log.records(objectsTopic(trades), 0);
  await harness.settle();
  await harness.compact();
  await harness.settle();
  log.append({ topic: objectsTopic(trades), partition: 0, key: null, value: record?.value ?? null, timestamp: 0n });
  await expectEqual(harness);
});

test('a day is read from its manifest, and from the log only what came after', async () => {
  await using harness = await many();
  for (let i = 0; i < 20; i++) await harness.archive(third, [`18:00:${String(i).padStart(2, '0')}`]);
  await harness.settle();
  const { schemas, store } = harness.manifests.archive;
  const { log, from } = watched(harness.manifests.archive.log);
  const sources = { log, schemas, store, signal };
  for await (const { objects } of readDayObjects(sources, trades, { days: (day) => day === first })) {
    expect(objects).toHaveLength(2);
  }
  await readTotals(sources, trades);
  expect(from).toEqual([]);
  await harness.archive(first, ['19:00:00']);
  for await (const { objects } of readDayObjects(sources, trades, { days: (day) => day === first })) {
    expect(objects).toHaveLength(3);
  }
  // Only the newest record before the end of the manifests is looked up.
  expect(Math.min(...from.map(Number))).toBeGreaterThan(20);
});

test('the log replaces a manifest that is missing, altered, or in a bucket that does not answer', async () => {
  await using harness = await many();
  await harness.settle();
  const { log, schemas } = harness.manifests.archive;
  const { objects: all } = await readListing(log, schemas, trades, { days: (day) => day === first });
  const stands = (await readDays(log, schemas)).find(({ day }) => day === first);
  const key = stands?.manifest_key ?? '';
  const stored = harness.store.objects.get(key);
  harness.store.objects.set(key, { bytes: Buffer.from('{}'), metadata: {} });
  expect(plain((await dayOf(harness, first))?.objects ?? [])).toEqual(plain(all));
  harness.store.objects.delete(key);
  expect(plain((await dayOf(harness, first))?.objects ?? [])).toEqual(plain(all));
  if (stored !== undefined) harness.store.objects.set(key, stored);
  const answer = harness.seen(
    (effect) => {
      if (effect.startsWith('get')) throw new MillraceError('S3_UNREACHABLE', 'no answer');
    },
    () => dayOf(harness, first),
  );
  expect(plain((await answer)?.objects ?? [])).toEqual(plain(all));
});

test('a step of the manifests that is being published is read whole', async () => {
  await using harness = await many();
  await harness.settle();
  const { log, schemas } = harness.manifests.archive;
  const whole = await readDays(log, schemas);
  const [end = 0n] = await log.ends('archive.partitions');
  for (let to = end - 1n; to > 0n; to--) {
    // The end is reported while the records of a transaction arrive one by one.
    const early: Log = Object.create(log, {
      ends: { value: async () => [to] },
      starts: { value: (topic: string) => log.starts(topic) },
      fetcher: { value: () => log.fetcher() },
    });
    expect(await readDays(early, schemas)).toEqual(whole);
  }
});
