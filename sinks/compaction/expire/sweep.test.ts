import { describe, expect, test } from '@jest/globals';
import { compactedKey, planOf } from '../../../core/archive/keys.ts';
import { CompactionHarness, Crash, trades } from '../fixtures/harness.ts';
import { readSweepable } from './sweep.ts';

const day = '2013-11-25';

async function compacted(): Promise<{ harness: CompactionHarness; old: readonly string[] }> {
  const harness = await CompactionHarness.open();
  for (const time of ['03:00:00', '01:00:00']) await harness.archive(day, [time]);
  await harness.settle();
  const old = (await harness.listed()).map(({ key }) => key);
  await harness.compact();
  return { harness, old };
}

describe('replaced objects', () => {
  test('stay until a manifest is without them, and then for the grace of readers', async () => {
    const { harness, old } = await compacted();
    await using _ = harness;
    harness.store.nowMs = 1_000_000;
    expect(await harness.sweep()).toEqual([]);
    await harness.settle();
    harness.store.nowMs += 999;
    expect(await harness.sweep()).toEqual([]);
    const { waiting } = await readSweepable(harness.sweepOptions(1_000), trades);
    expect(waiting.map(({ key }) => key)).toEqual(old);
    harness.store.nowMs += 1;
    expect(await harness.sweep()).toEqual(old);
    expect(await harness.sweep()).toEqual([]);
    expect(await harness.rowsOf(await harness.listed())).toHaveLength(2);
  });

  test('stay while the newest manifest of the day is missing, because its age is unknown', async () => {
    const { harness } = await compacted();
    await using _ = harness;
    await harness.settle();
    harness.store.nowMs += 1_000_000;
    harness.store.objects.delete((await harness.day(day))?.manifest_key ?? '');
    expect(await harness.sweep()).toEqual([]);
  });

  test('may be removed by several at a time', async () => {
    const { harness } = await compacted();
    await using _ = harness;
    await harness.settle();
    harness.store.nowMs += 1_000_000;
    await Promise.all([harness.sweep(), harness.sweep()]);
    expect(await harness.rowsOf(await harness.listed())).toHaveLength(2);
  });
});

describe('an object that is not listed', () => {
  test('is removed if its plan was abandoned', async () => {
    await using harness = await CompactionHarness.open();
    for (const time of ['03:00:00', '01:00:00']) await harness.archive(day, [time]);
    await harness.settle();
    const [input] = await harness.listed();
    let stored = false;
    const witness = (effect: string, moment: string): void => {
      stored ||= moment === 'after' && effect.startsWith('put ');
      if (stored) throw new Crash('killed');
    };
    await harness.seen(witness, () => harness.compact()).catch(() => undefined);
    // The plan is pending.
    expect(await harness.sweep()).toEqual([]);
    const kept = harness.store.objects.get(input?.key ?? '');
    harness.store.objects.delete(input?.key ?? '');
    expect((await harness.compact()).failed).toHaveLength(2);
    const orphans = await harness.sweep();
    expect(orphans.map(planOf)).toEqual([0n]);
    harness.store.objects.set(input?.key ?? '', kept as NonNullable<typeof kept>);
    expect((await harness.compact()).done).toHaveLength(1);
    expect(await harness.rowsOf(await harness.listed())).toHaveLength(2);
  });

  test('is left alone if its plan is finished while the bucket is read', async () => {
    await using harness = await CompactionHarness.open();
    for (const time of ['03:00:00', '01:00:00']) await harness.archive(day, [time]);
    await harness.settle();
    const witness = (effect: string, moment: string): void => {
      if (moment === 'after' && effect.startsWith('put ')) throw new Crash('killed');
    };
    await harness.seen(witness, () => harness.compact()).catch(() => undefined);
    const options = harness.sweepOptions(1_000);
    const list = async function* (prefix: string) {
      yield* harness.store.list(prefix);
      await harness.compact();
    };
    const store = new Proxy(options.store, {
      get: (target, name) => {
        const value: unknown = name === 'list' ? list : Reflect.get(target, name);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
    const { removable, waiting } = await readSweepable({ ...options, store }, trades);
    expect(removable).toEqual([]);
    expect(waiting).toHaveLength(2);
    expect(await harness.rowsOf(await harness.listed())).toHaveLength(2);
  });

  test('is left alone if it belongs to the sink, a future plan, another archive or another program', async () => {
    const { harness } = await compacted();
    await using _ = harness;
    await harness.settle();
    harness.store.nowMs += 1_000_000;
    await harness.sweep();
    const name = { prefix: '', epoch: 'cluster-1', topic: trades, day, partition: 0, firstOffset: 7n };
    const strangers = [
      compactedKey(name, 1n, 0).replace('+r1+0', ''),
      compactedKey(name, 99n, 0),
      compactedKey({ ...name, epoch: 'cluster-2' }, 0n, 0),
      `cluster-1/${trades}/year=2013/month=11/day=25/notes.txt`,
    ];
    for (const key of strangers) harness.store.objects.set(key, { bytes: Buffer.from('x'), metadata: {} });
    expect(await harness.sweep()).toEqual([]);
    const returned = compactedKey(name, 0n, 5);
    harness.store.objects.set(returned, { bytes: Buffer.from('x'), metadata: {} });
    // A zombie stored it after its plan had ended.
    expect(await harness.sweep()).toEqual([returned]);
  });
});
