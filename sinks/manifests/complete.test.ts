import { describe, expect, test } from '@jest/globals';
import type { TransactionFault } from '../../core/testing/memory-log.ts';
import fc from '../../test/support/property.ts';
import { ManifestHarness, trades } from './fixtures/harness.ts';
import { formatPlan, parsePlan } from './plan.ts';

const day = '2013-11-25';
const success = `cluster-1/${trades}/year=2013/month=11/day=25/_SUCCESS`;
const later = '2023-11-14T00:00:00Z';

/** A harness whose day has one object, listed in a manifest. */
async function listed(partitions = 1): Promise<ManifestHarness> {
  const harness = await ManifestHarness.open({ partitions });
  await harness.list(day);
  await harness.run();
  return harness;
}

const state = async (harness: ManifestHarness) => (await harness.day(day))?.state;

describe('a day is complete', () => {
  test('when log time has passed its end by the watermark delay, and not a microsecond before', async () => {
    const harness = await listed();
    await harness.run('2013-11-26T00:59:59.999999Z');
    expect(await state(harness)).toBe('OPEN');
    expect(harness.bytes(`${success}.json`)).toBeUndefined();
    await harness.run('2013-11-26T01:00:00Z');
    expect(await state(harness)).toBe('COMPLETE');
    expect(harness.bytes(`${success}.json`)).toBeDefined();
  });

  test('never without heartbeats: a capture that stands still is no quiet market', async () => {
    const harness = await listed();
    for (let i = 0; i < 3; i++) await harness.run();
    expect(await state(harness)).toBe('OPEN');
  });

  test('by heartbeats alone where nothing else happens, in partitions that never had a record, too', async () => {
    const harness = await listed(3);
    harness.archive.log.appendMarker({ topic: trades, partition: 0 });
    harness.archive.log.appendMarker({ topic: trades, partition: 2 });
    await harness.run(later);
    expect(await state(harness)).toBe('COMPLETE');
  });

  test('only when each partition is archived up to the heartbeat, also one that has nothing of the day', async () => {
    const harness = await listed(2);
    harness.send('2023-11-13', 1);
    const owner = await harness.own();
    await owner.step(later);
    expect(await state(harness)).toBe('OPEN');
    await harness.archive.run(trades, { partition: 1 });
    await owner.step();
    expect(await state(harness)).toBe('COMPLETE');
  });

  test('although more records keep arriving after the heartbeat', async () => {
    const harness = await listed();
    const owner = await harness.own();
    harness.send('2023-11-13');
    await owner.step(later);
    expect(await state(harness)).toBe('OPEN');
    await harness.archive.run(trades);
    harness.send('2023-11-13');
    await owner.step('2023-11-14T00:00:01Z');
    expect(await state(harness)).toBe('COMPLETE');
  });

  test('not while its objects are still coming in', async () => {
    const harness = await listed();
    await harness.list(day);
    const owner = await harness.own();
    await owner.step(later);
    expect(await state(harness)).toBe('OPEN');
    await owner.step();
    expect(await state(harness)).toBe('COMPLETE');
  });

  test('of candles only when the processor is past the heartbeat as well, and then the sink', async () => {
    const harness = await ManifestHarness.open();
    const { log } = harness.archive;
    const candles = 'market.candles';
    const [manifests, objects] = [`cluster-1/_manifest/${candles}/${day}/00000001.json`, `archive.${candles}.objects`];
    await harness.list(day);
    // The object record of a candle file, as the sink lists it.
    const [record] = log.records(`archive.${trades}.objects`);
    log.append({ topic: objects, partition: 0, key: null, value: record?.value ?? null, timestamp: 0n });
    const owner = await harness.own();
    await owner.step(later);
    await owner.step();
    expect(harness.bytes(manifests)).toBeDefined();
    const marks = (): number => harness.keys().filter((key) => key.startsWith(`cluster-1/${candles}/`)).length;
    expect(marks()).toBe(0);
    // ohlcv takes the trade and publishes a candle that the sink has not archived yet.
    const writer = await log.writer('ohlcv');
    log.append({ topic: candles, partition: 0, key: null, value: Buffer.from([0]), timestamp: 0n });
    const group = (name: string, topic: string, offset: bigint) => ({
      records: [],
      offsets: { group: `millrace.${name}`, positions: [{ topic, partition: 0, offset }] },
    });
    await writer.transact(group('ohlcv', trades, 1n));
    await owner.step();
    expect(marks()).toBe(0);
    await writer.transact(group('parquet', candles, 1n));
    await owner.step();
    expect(marks()).toBe(1);
  });
});

describe('late data', () => {
  test('reopens a complete day with a new revision, which is complete in its turn; the first mark stays as it was', async () => {
    const harness = await listed();
    await harness.run(later);
    const first = harness.bytes(`${success}.json`)?.toString();
    await harness.list(day);
    await harness.run();
    expect(await harness.day(day)).toMatchObject({
      state: 'REOPENED',
      revision: 2,
      manifest: 2,
      rows: 2n,
      success_key: null,
      passed: null,
    });
    expect(harness.bytes(`${success}.2.json`)).toBeUndefined();
    await harness.list(day);
    await harness.run();
    await harness.run(later);
    expect(await harness.history(day)).toEqual([
      'OPEN 1 1',
      'COMPLETE 1 1',
      'REOPENED 2 2',
      'REOPENED 2 3',
      'COMPLETE 2 3',
    ]);
    expect(harness.bytes(`${success}.json`)?.toString()).toBe(first);
    expect(JSON.parse(harness.bytes(`${success}.2.json`)?.toString() ?? '')).toMatchObject({
      revision: 2,
      manifest: 3,
      totals: { rows: '3' },
    });
  });
});

describe('the cold-storage lag', () => {
  const lag = async (harness: ManifestHarness): Promise<unknown> =>
    (await harness.archive.metrics.coldStorageLagSeconds.get()).values.find(({ labels }) => labels.topic === trades)
      ?.value;

  test('is the age of the oldest record that no object lists, of a partition that no sink has taken, too', async () => {
    const harness = await listed(2);
    const owner = await harness.own();
    await owner.step();
    expect(await lag(harness)).toBe(0);
    const ageMs = 400_000;
    harness.archive.log.append({
      topic: trades,
      partition: 1,
      key: null,
      value: Buffer.from([0]),
      timestamp: BigInt(Date.now() - ageMs),
    });
    await owner.step();
    expect(await lag(harness)).toBeGreaterThanOrEqual(ageMs / 1000);
    await harness.archive.run(trades, { partition: 1 });
    await owner.step();
    expect(await lag(harness)).toBe(0);
  });

  test('is no longer reported by an owner that has lost the task', async () => {
    const harness = await ManifestHarness.open();
    const owner = await harness.own();
    await owner.step();
    await owner.taken.handler[Symbol.asyncDispose]?.();
    expect(await lag(harness)).toBeUndefined();
  });
});

type Step =
  | { readonly kind: 'list'; readonly day: number }
  | { readonly kind: 'step'; readonly heartbeat: boolean; readonly faults: readonly TransactionFault[] };

const days = [day, '2013-11-26', '2013-11-27'];

const anyStep: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant('list' as const), day: fc.nat(days.length - 1) }),
  fc.record({
    kind: fc.constant('step' as const),
    heartbeat: fc.boolean(),
    faults: fc.array(fc.constantFrom<TransactionFault>('abort', 'unknown-committed', 'unknown-aborted'), {
      maxLength: 2,
    }),
  }),
);

test('after any lists and crashes, manifests are numbered without a gap, only grow, and end with exactly the listed objects', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyStep, { maxLength: 12 }), async (steps) => {
      const harness = await ManifestHarness.open();
      for (const step of steps) {
        if (step.kind === 'list') await harness.list(days[step.day] ?? '');
        else {
          harness.fault(...step.faults);
          await harness.run(step.heartbeat ? later : undefined);
        }
      }
      await harness.run(later);
      await harness.run(later);
      for (const each of days) {
        const objects = await harness.listed(each);
        const manifests = harness.manifests(each);
        expect(manifests.map(({ number }) => number)).toEqual(manifests.map((_, i) => i + 1));
        for (const [i, { files }] of manifests.entries()) {
          const before = manifests[i - 1]?.files ?? [];
          expect(files.slice(0, before.length)).toEqual(before);
          expect(files.length).toBeGreaterThan(before.length);
        }
        expect((manifests.at(-1)?.files ?? []).map(({ key }) => key)).toEqual(objects.map(({ key }) => key));
        const stands = await harness.day(each);
        expect(stands?.state).toBe(objects.length === 0 ? undefined : 'COMPLETE');
        if (stands === undefined) continue;
        const { totals } = JSON.parse(harness.bytes(stands.success_key ?? '')?.toString() ?? '') as {
          totals: { rows: string };
        };
        expect(totals.rows).toBe(String(objects.length));
      }
    }),
    { numRuns: 40 },
  );
});

test('a plan of many partitions fits into the metadata of an offset', () => {
  const plan = {
    topic: trades,
    ends: Array.from({ length: 150 }, () => 9_000_000_000_000_000_000n),
    replacements: 9_000_000_000_000_000_000n,
    complete: { passed: 1_700_000_000_000_000n, through: 1_699_996_400_000_000n },
    time: 1_700_000_000_000n,
  } as const;
  expect(formatPlan(plan).length).toBeLessThan(4096);
  expect(parsePlan(formatPlan(plan))).toEqual(plan);
  expect(parsePlan('')).toBeUndefined();
});
