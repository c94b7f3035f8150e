import { describe, expect, test } from '@jest/globals';
import { parseDecimal } from '../../core/values/decimal.ts';
import type { Candle } from '../../schemas/gen/candle.ts';
import fc from '../../test/support/property.ts';
import type { AnomalySettings } from './settings.ts';
import { Bench, candle, type Fields, MINUTE } from './testing/fixture.ts';

const SPIKE = { volume: '31', close: '106' };
const twenty = (fields: Omit<Fields, 'at'> = {}) => Array.from({ length: 20 }, (_, at) => candle({ ...fields, at }));

async function run(candles: readonly Candle[], settings: Partial<AnomalySettings> = {}) {
  await using bench = await Bench.open({ settings });
  bench.candles(...candles);
  await bench.driver.run();
  const anomalies = await bench.anomalies();
  const windows = anomalies.map(({ value }) => Number((value?.window_start ?? 0n) / MINUTE));
  return { anomalies, windows, late: await bench.late() };
}

describe('an anomaly', () => {
  test('of one spike and one near miss is raised for the spike, with the figures and the candles that caused it', async () => {
    const near = candle({ at: 20, volume: '30', close: '106' });
    const spike = candle({ at: 21, ...SPIKE, volume: '40' });
    const { anomalies } = await run([...twenty(), near, spike]);
    const place = { venue: 'bitstamp', symbol: 'BTC/USD', interval: '1m', window_start: 21n * MINUTE };
    expect(anomalies).toHaveLength(1);
    expect(anomalies[0]?.key).toEqual({ ...place, type: 'volume_spike', rule: 'volume_spike', event: '' });
    expect(anomalies[0]?.timestamp).toBe(21n);
    expect(anomalies[0]?.value).toEqual({
      ...place,
      type: 'volume_spike',
      severity: 'HIGH',
      status: 'RAISED',
      revision: 1,
      volume: parseDecimal('40', 8),
      mean_volume: parseDecimal('11', 8),
      volume_ratio: 363_636_364n,
      open: parseDecimal('100', 8),
      close: parseDecimal('106', 8),
      price_change: parseDecimal('0.06', 8),
      thresholds: {
        volume_multiple: parseDecimal('3', 8),
        price_change: parseDecimal('0.05', 8),
        lookback: 20,
        direction: 'BOTH',
      },
      candle: place,
      baseline: Array.from({ length: 20 }, (_, at) => BigInt(at + 1) * MINUTE),
      rule: 'volume_spike',
      rule_version: -1n,
      event: '',
      explanation:
        'volume 40 is 3.63636364 × the mean 11 of the 20 candles before (limit 3 ×), and the price moved by +6 % (limit 5 %)',
      figures: [
        { name: 'volume', value: '40', limit: null },
        { name: 'mean_volume', value: '11', limit: null },
        { name: 'volume_ratio', value: '3.63636364', limit: '3' },
        { name: 'price_change', value: '0.06', limit: '0.05' },
      ],
      causes: [{ topic: 'market.candles', offset: 21n, id: '1970-01-01T00:21:00.000000Z' }],
    });
  });

  test.each([
    ['exactly 3 times the mean volume', { volume: '30', close: '106' }],
    ['exactly 5 % up', { volume: '31', close: '105' }],
    ['exactly 5 % down', { volume: '31', close: '95' }],
  ])('is not raised by %s', async (_, fields) => {
    expect((await run([...twenty(), candle({ at: 20, ...fields })])).windows).toEqual([]);
  });

  test('needs twenty closed candles before', async () => {
    expect((await run([...twenty().slice(1), candle({ at: 20, ...SPIKE })])).windows).toEqual([]);
    expect((await run([...twenty(), candle({ at: 20, ...SPIKE })])).windows).toEqual([20]);
  });

  test('is compared with the candles that exist: windows without trades do not count as volume zero', async () => {
    const sparse = Array.from({ length: 20 }, (_, at) => candle({ at: at * 7 }));
    expect((await run([...sparse, candle({ at: 140, ...SPIKE })])).windows).toEqual([140]);
  });

  test('is compared within its venue, symbol and interval only', async () => {
    const others = [...twenty({ symbol: 'ETH/USD', volume: '1' }), ...twenty({ interval: '5m', volume: '1' })];
    const { windows } = await run([...others, ...twenty(), candle({ at: 20, volume: '30', close: '106' })]);
    expect(windows).toEqual([]);
  });

  test('has itself in the baseline of the next candle, not in its own', async () => {
    const { windows } = await run([...twenty(), candle({ at: 20, ...SPIKE }), candle({ at: 21, ...SPIKE })]);
    expect(windows).toEqual([20]);
  });

  test.each(['PARTIAL', 'FILLED'] as const)('is neither caused nor prevented by %s candles', async (status) => {
    const others = twenty({ status, volume: '1000' }).map((each) => ({
      ...each,
      window_start: each.window_start + 1n,
    }));
    const { windows } = await run([
      ...twenty(),
      ...others,
      candle({ at: 20, ...SPIKE, status }),
      candle({ at: 21, ...SPIKE }),
    ]);
    expect(windows).toEqual([21]);
  });
});

test('any chunking and any crash point give the same anomalies, and they are those of the definition', async () => {
  const volumes = fc.array(
    fc.record({ symbol: fc.constantFrom('A', 'B'), volume: fc.nat(40), close: fc.integer({ min: 90, max: 110 }) }),
    { minLength: 20, maxLength: 60 },
  );
  const cuts = fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(volumes, cuts, fc.integer({ min: 1, max: 9 }), async (all, crashes, commitRecords) => {
      await using bench = await Bench.open({ settings: { lookback: 5 }, commitRecords });
      bench.candles(
        ...all.map(({ symbol, volume, close }, at) => candle({ at, symbol, volume: `${volume}`, close: `${close}` })),
      );
      for (const records of crashes) {
        await bench.driver.run({ records });
        bench.driver.crash();
      }
      await bench.driver.run();
      const raised = (await bench.anomalies()).map(({ value }) => value?.window_start);
      const expected = all.flatMap((each, at) => {
        const earlier = all.slice(0, at).filter(({ symbol }) => symbol === each.symbol);
        const five = earlier.slice(-5);
        const total = five.reduce((sum, { volume }) => sum + volume, 0);
        const spikes = five.length === 5 && total > 0 && each.volume * 5 > 3 * total && Math.abs(each.close - 100) > 5;
        return spikes ? [BigInt(at) * MINUTE] : [];
      });
      expect(raised).toEqual(expected);
    }),
    { numRuns: 40 },
  );
});
