import { describe, expect, test } from '@jest/globals';
import fc from '../../../test/support/property.ts';
import { Bench, candle, type Fields, SETTINGS } from './fixture.ts';

const SPIKE = { volume: '31', close: '106' };
const twenty = Array.from({ length: 20 }, (_, at) => candle({ at }));
const revised = (fields: Fields) => candle({ status: 'REVISED', revision: 2, ...fields });

describe('a revised candle', () => {
  test('that is none any more retracts its anomaly, and raises it again when it is one again', async () => {
    await using bench = await Bench.open();
    bench.candles(...twenty, candle({ at: 20, ...SPIKE }));
    bench.candles(revised({ at: 20, ...SPIKE, volume: '30' }), revised({ at: 20, ...SPIKE, revision: 3 }));
    expect(await bench.said()).toEqual([
      'volume_spike@20 RAISED 1',
      'volume_spike@20 RETRACTED 2',
      'volume_spike@20 RAISED 3',
    ]);
    const [, retracted] = await bench.anomalies();
    expect(retracted?.value?.explanation).toBe(
      'volume 30 is 3 × the mean 10 of the 20 candles before (limit 3 ×), and the price moved by +6 % (limit 5 %)',
    );
  });

  test('with other figures revises its anomaly', async () => {
    await using bench = await Bench.open();
    bench.candles(...twenty, candle({ at: 20, ...SPIKE }), revised({ at: 20, ...SPIKE, volume: '40' }));
    expect(await bench.said()).toEqual(['volume_spike@20 RAISED 1', 'volume_spike@20 REVISED 2']);
  });

  test('with the same figures says nothing', async () => {
    await using bench = await Bench.open();
    bench.candles(...twenty, candle({ at: 20, ...SPIKE }), { ...revised({ at: 20, ...SPIKE }), low: 1n });
    expect(await bench.said()).toEqual(['volume_spike@20 RAISED 1']);
  });

  test('that has become an anomaly raises it', async () => {
    await using bench = await Bench.open();
    bench.candles(...twenty, candle({ at: 20 }), candle({ at: 21 }), revised({ at: 20, ...SPIKE }));
    expect(await bench.said()).toEqual(['volume_spike@20 RAISED 1']);
  });

  test('without trades left retracts its anomaly and leaves the baselines', async () => {
    await using bench = await Bench.open();
    bench.candles(...twenty, candle({ at: 20, ...SPIKE, volume: '400' }), revised({ at: 20, open: null, volume: '0' }));
    bench.candles(candle({ at: 21, ...SPIKE }));
    expect(await bench.said()).toEqual([
      'volume_spike@20 RAISED 1',
      'volume_spike@20 RETRACTED 2',
      'volume_spike@21 RAISED 1',
    ]);
  });

  test('in a baseline has every candle that is compared with it judged again', async () => {
    await using bench = await Bench.open();
    const spikes = [25, 39, 40].map((at) => candle({ at, ...SPIKE, volume: '60' }));
    const all = Array.from(
      { length: 41 },
      (_, at) => spikes.find(({ window_start }) => window_start === BigInt(at) * 60_000_000n) ?? candle({ at }),
    );
    bench.candles(...all);
    expect(await bench.said()).toEqual([
      'volume_spike@25 RAISED 1',
      'volume_spike@39 RAISED 1',
      'volume_spike@40 RAISED 1',
    ]);
    // Part of the baselines of 25 and 39, and not of that of 40.
    bench.candles(revised({ at: 19, volume: '2000' }));
    expect((await bench.said()).slice(3)).toEqual(['volume_spike@25 RETRACTED 2', 'volume_spike@39 RETRACTED 2']);
  });

  test('of a window that did not exist joins the baselines after it', async () => {
    await using bench = await Bench.open();
    const all = twenty.map((each, at) => (at < 10 ? each : candle({ at: at + 1 })));
    bench.candles(
      ...all,
      candle({ at: 21, ...SPIKE }),
      candle({ at: 10, volume: '2000', status: 'REVISED', revision: 2 }),
    );
    expect(await bench.said()).toEqual(['volume_spike@21 RAISED 1', 'volume_spike@21 RETRACTED 2']);
  });

  test('beyond those that are judged again is in the late topic, and changes baselines only', async () => {
    await using bench = await Bench.open({ settings: { lookback: 3, revisable: 2 } });
    bench.candles(...twenty.slice(0, 10));
    const old = revised({ at: 6, ...SPIKE });
    bench.candles(old);
    expect(await bench.said()).toEqual([]);
    expect(await bench.late()).toEqual([old]);
    bench.candles(revised({ at: 7, ...SPIKE, volume: '60' }));
    expect(await bench.said()).toEqual(['volume_spike@7 RAISED 1']);
  });

  test('that leaves a baseline too short, because older candles are not kept, leaves what was said of it', async () => {
    await using bench = await Bench.open({ settings: { lookback: 3, revisable: 2 } });
    bench.candles(...twenty.slice(0, 7), candle({ at: 7, ...SPIKE }), candle({ at: 8 }), candle({ at: 9 }));
    bench.candles(revised({ at: 5, open: null, volume: '0' }));
    expect(await bench.said()).toEqual(['volume_spike@7 RAISED 1']);
  });

  test('of which no revision can come any more is forgotten with all that was said of it', async () => {
    await using bench = await Bench.open({ settings: { lookback: 3, revisable: 2 } });
    bench.candles(
      ...twenty.slice(0, 4),
      candle({ at: 4, ...SPIKE }),
      ...[5, 6, 7, 8, 9, 10].map((at) => candle({ at })),
    );
    expect(await bench.said()).toEqual(['volume_spike@4 RAISED 1']);
    const live = new Map<string, boolean>();
    for (const { key, value } of bench.driver.log.records('anomaly.changelog', 0)) live.set(`${key}`, value !== null);
    const left = [...live].filter(([, present]) => present).map(([key]) => key.split('\u0000')[0]);
    expect(left.filter((store) => store === 'candles')).toHaveLength(6);
    expect(left.filter((store) => store === 'said')).toHaveLength(0);
  });

  test.each([
    ['no newer revision', candle({ at: 19, ...SPIKE, volume: '5000' })],
    ['a window before all that are known', candle({ at: -1, ...SPIKE, volume: '5000' })],
  ])('is in the late topic and counts nowhere if it is %s', async (_, late) => {
    await using bench = await Bench.open();
    bench.candles(...twenty, late, candle({ at: 20, ...SPIKE }));
    expect(await bench.said()).toEqual(['volume_spike@20 RAISED 1']);
    expect(await bench.late()).toEqual([late]);
  });
});

test('after any revisions in any order, the anomalies are those of the last revisions', async () => {
  const figures = fc.record({ volume: fc.nat(40), close: fc.integer({ min: 90, max: 110 }) });
  const firsts = fc.array(figures, { minLength: 8, maxLength: 25 });
  const later = fc.array(fc.record({ at: fc.nat(24), empty: fc.nat(5), ...{ figures } }), { maxLength: 25 });
  await fc.assert(
    fc.asyncProperty(
      firsts,
      later,
      fc.integer({ min: 1, max: 9 }),
      fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 4 }),
      async (all, changes, commitRecords, crashes) => {
        await using bench = await Bench.open({ settings: { lookback: 4 }, commitRecords });
        const now = all.map((each) => ({ ...each, revision: 1, empty: false }));
        bench.candles(...all.map(({ volume, close }, at) => candle({ at, volume: `${volume}`, close: `${close}` })));
        for (const {
          at: wanted,
          empty,
          figures: { volume, close },
        } of changes) {
          const at = wanted % now.length;
          const revision = (now[at]?.revision ?? 0) + 1;
          now[at] = { volume, close, revision, empty: empty === 0 };
          bench.candles(
            revised({ at, volume: `${volume}`, close: `${close}`, revision, ...(empty === 0 && { open: null }) }),
          );
        }
        for (const records of crashes) {
          await bench.driver.run({ records });
          bench.driver.crash();
        }
        await bench.driver.run();
        const standing = new Map<bigint, string>();
        const revisions = new Map<bigint, number>();
        for (const { value } of await bench.anomalies()) {
          const { window_start = 0n, status = '', revision = 0 } = value ?? {};
          expect(revision).toBe((revisions.get(window_start) ?? 0) + 1);
          revisions.set(window_start, revision);
          if (status === 'RETRACTED') standing.delete(window_start);
          else standing.set(window_start, value?.explanation ?? '');
        }
        await using fresh = await Bench.open({ settings: { ...SETTINGS, lookback: 4 } });
        fresh.candles(
          ...now.flatMap(({ volume, close, empty }, at) =>
            empty ? [] : [candle({ at, volume: `${volume}`, close: `${close}` })],
          ),
        );
        await fresh.driver.run();
        const expected = (await fresh.anomalies()).map(({ value }) => [value?.window_start, value?.explanation]);
        expect([...standing].sort(([a], [b]) => (a < b ? -1 : 1))).toEqual(expected);
      },
    ),
    { numRuns: 40 },
  );
});
