import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { parseDecimal } from '../../core/decimal.ts';
import { Driver } from '../../core/testing/driver.ts';
import type { Anomaly } from '../../schemas/gen/anomaly.ts';
import type { Candle, CandleStatus } from '../../schemas/gen/candle.ts';
import { anomaly } from './anomaly.ts';
import type { AnomalySettings } from './settings.ts';

const SETTINGS: AnomalySettings = { volumeMultiple: '3', priceChange: '0.05', lookback: 20, direction: 'any' };
const MINUTE = 60_000_000n;

interface Fields {
  /** Minute of the window. */
  readonly at: number;
  readonly symbol?: string;
  readonly interval?: string;
  readonly volume?: string;
  readonly open?: string | null;
  readonly close?: string;
  readonly status?: CandleStatus;
}

function candle({ at, symbol = 'BTC/USD', interval = '1m', volume = '10', ...fields }: Fields): Candle {
  const open = fields.open === null ? null : parseDecimal(fields.open ?? '100', 8);
  const close = fields.open === null ? null : parseDecimal(fields.close ?? '100', 8);
  const time = BigInt(at) * MINUTE;
  return {
    venue: 'bitstamp',
    symbol,
    interval,
    window_start: time,
    window_end: time + MINUTE,
    open,
    high: open,
    low: open,
    close,
    vwap: open,
    volume: parseDecimal(volume, 8),
    notional: 0n,
    trade_count: 1n,
    first_trade_id: 'a',
    last_trade_id: 'a',
    open_time: time,
    high_time: time,
    low_time: time,
    close_time: time,
    status: fields.status ?? 'CLOSED',
    revision: 1,
    reason: 'WATERMARK',
    provenance: null,
  };
}

const SPIKE = { volume: '31', close: '106' };
const twenty = (fields: Omit<Fields, 'at'> = {}) => Array.from({ length: 20 }, (_, at) => candle({ ...fields, at }));

async function run(candles: readonly Candle[], settings: Partial<AnomalySettings> = {}) {
  await using driver = await Driver.open(anomaly({ ...SETTINGS, ...settings }));
  for (const [at, each] of candles.entries()) driver.send(each, { timestamp: BigInt(at) });
  await driver.run();
  const anomalies = await driver.outputs<object, Anomaly>('market.anomalies');
  const late = await driver.outputs<object, Candle>('anomaly.late');
  return { anomalies, windows: anomalies.map(({ value }) => Number((value?.window_start ?? 0n) / MINUTE)), late };
}

describe('an anomaly', () => {
  test('of one spike and one near miss is raised for the spike, with the figures and the candles that caused it', async () => {
    const near = candle({ at: 20, volume: '30', close: '106' });
    const spike = candle({ at: 21, ...SPIKE, volume: '40' });
    const { anomalies } = await run([...twenty(), near, spike]);
    const place = { venue: 'bitstamp', symbol: 'BTC/USD', interval: '1m', window_start: 21n * MINUTE };
    expect(anomalies).toHaveLength(1);
    expect(anomalies[0]?.key).toEqual({ ...place, type: 'volume_spike' });
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

  test.each(['PARTIAL', 'REVISED', 'FILLED'] as const)(
    'is neither caused nor prevented by %s candles',
    async (status) => {
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
    },
  );
});

describe('a candle that is not newer than the ones before', () => {
  test('is in the late topic, and neither judged nor in the baseline', async () => {
    const again = candle({ at: 19, ...SPIKE, volume: '5000' });
    const older = candle({ at: 3, ...SPIKE, volume: '5000' });
    const { windows, late } = await run([...twenty(), again, older, candle({ at: 20, ...SPIKE })]);
    expect(windows).toEqual([20]);
    expect(late.map(({ value }) => value)).toEqual([again, older]);
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
      await using driver = await Driver.open(anomaly({ ...SETTINGS, lookback: 5 }), { commitRecords });
      for (const [at, { symbol, volume, close }] of all.entries()) {
        driver.send(candle({ at, symbol, volume: `${volume}`, close: `${close}` }));
      }
      for (const records of crashes) {
        await driver.run({ records });
        driver.crash();
      }
      await driver.run();
      const raised = (await driver.outputs<object, Anomaly>('market.anomalies')).map(
        ({ value }) => value?.window_start,
      );
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
