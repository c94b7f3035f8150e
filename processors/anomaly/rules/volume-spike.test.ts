import { describe, expect, test } from '@jest/globals';
import fc from '../../../test/support/property.ts';
import { type AnomalySettings, builtInRules } from '../settings.ts';
import { kept, SETTINGS, units } from '../testing/fixture.ts';
import type { VolumeSpike } from './rule.ts';
import { volumeSpike } from './volume-spike.ts';

const toRule = (settings: Partial<AnomalySettings>) => builtInRules({ ...SETTINGS, ...settings })[0] as VolumeSpike;
const baseline = (volumes: readonly string[]) => volumes.map((volume, at) => kept(at, { volume }));
const TENS = baseline(Array.from({ length: 20 }, () => '10'));

/** Figures of a verdict that fires; otherwise undefined. */
function judge(open: string, close: string, volume: string, settings: Partial<AnomalySettings> = {}, earlier = TENS) {
  const verdict = volumeSpike(toRule(settings), kept(20, { open, close, volume }), earlier);
  return verdict?.fires === true ? verdict.details().spike : undefined;
}

describe('a volume spike', () => {
  test('is a volume above the multiple of the mean and a price change above the threshold', () => {
    expect(judge('100', '106', '31')).toMatchObject({
      mean_volume: units('10'),
      volume_ratio: units('3.1'),
      price_change: units('0.06'),
    });
  });

  test('is not a volume of exactly 3 times the mean', () => {
    expect(judge('100', '106', '30')).toBeUndefined();
    expect(judge('100', '106', '30.00000001')).toBeDefined();
  });

  test('is not a price change of exactly 5 %', () => {
    expect(judge('100', '105', '31')).toBeUndefined();
    expect(judge('100', '105.00000001', '31')).toBeDefined();
    expect(judge('100', '95', '31')).toBeUndefined();
    expect(judge('100', '94.99999999', '31')).toBeDefined();
  });

  test('is exact where the mean is not a finite decimal', () => {
    const thirds = baseline(['0.00000001', '0.00000001', '0.00000002']);
    const settings = { lookback: 3, volumeMultiple: '1.5' };
    // 1.5 × 4/3 = 2 units, although the rounded mean is 1 unit.
    expect(judge('100', '110', '0.00000002', settings, thirds)).toBeUndefined();
    expect(judge('100', '110', '0.00000003', settings, thirds)).toBeDefined();
  });

  test('needs both: neither volume nor price change alone', () => {
    expect(judge('100', '100', '1000')).toBeUndefined();
    expect(judge('100', '200', '10')).toBeUndefined();
  });

  test('counts the moves of the direction that was asked for', () => {
    expect(judge('100', '106', '31', { direction: 'up' })).toBeDefined();
    expect(judge('100', '94', '31', { direction: 'up' })).toBeUndefined();
    expect(judge('100', '94', '31', { direction: 'down' })?.price_change).toBe(units('-0.06'));
    expect(judge('100', '106', '31', { direction: 'down' })).toBeUndefined();
  });

  test('has no verdict with fewer candles than the lookback, without volume before, or with an open of zero', () => {
    expect(judge('100', '200', '1000', {}, TENS.slice(1))).toBeUndefined();
    expect(judge('100', '200', '1000', {}, baseline(TENS.map(() => '0')))).toBeUndefined();
    expect(judge('0', '200', '1000')).toBeUndefined();
    expect(judge('-1', '200', '1000')).toBeUndefined();
  });

  test('says the greatest figure that its field holds instead of failing on a greater one', () => {
    const spike = judge('0.00000001', '999999999999', '1000');
    expect(spike?.price_change).toBe(10n ** 20n - 1n);
  });

  test('is what the definition says, in rational numbers', () => {
    const volume = fc.bigInt(0n, 12n);
    const price = fc.bigInt(1n, 30n);
    fc.assert(
      fc.property(
        fc.array(volume, { minLength: 4, maxLength: 4 }),
        volume,
        price,
        price,
        (before, now, open, close) => {
          const rule = toRule({ volumeMultiple: '1.5', priceChange: '0.2', lookback: 4 });
          const earlier = before.map((each, at) => ({ ...kept(at), volume: each }));
          const total = before.reduce((sum, each) => sum + each, 0n);
          const move = close > open ? close - open : open - close;
          // now > 3/2 × total/4 and move/open > 1/5
          const expected = total > 0n && 8n * now > 3n * total && 5n * move > open;
          expect(volumeSpike(rule, { ...kept(4), open, close, volume: now }, earlier)?.fires ?? false).toBe(expected);
        },
      ),
    );
  });
});

describe('the settings of the rule', () => {
  test.each([
    ['lookback', { lookback: 0 }],
    ['lookback', { lookback: 2.5 }],
    ['volumeMultiple', { volumeMultiple: 'three' }],
    ['volumeMultiple', { volumeMultiple: '-1' }],
    ['priceChange', { priceChange: '0.000000001' }],
    ['direction', { direction: 'sideways' as never }],
  ])('name %s when it is wrong: %j', (name, change) => {
    expect(() => toRule(change)).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.stringContaining(name) }),
    );
  });
});
