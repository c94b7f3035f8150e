import { describe, expect, test } from '@jest/globals';
import fc from '../../../test/support/property.ts';
import { kept, rule } from '../testing/fixture.ts';
import { priceJump } from './price-jump.ts';
import type { PriceJump, ZScore } from './rule.ts';
import { root, zScore } from './z-score.ts';

describe('a price jump', () => {
  const jump = (before: string, close: string, fields: object = {}) =>
    priceJump(rule({ id: 'j', type: 'price_jump', move: '5%', ...fields }) as PriceJump, kept(1, { close }), [
      kept(0, { close: before }),
    ]);

  test('is a close further than the move from the close before: exactly the move is none', () => {
    expect(jump('100', '105')?.fires).toBe(false);
    expect(jump('100', '105.00000001')?.fires).toBe(true);
    expect(jump('100', '95')?.fires).toBe(false);
    expect(jump('100', '94.99999999')?.fires).toBe(true);
  });

  test('counts the direction that was asked for', () => {
    expect(jump('100', '90', { direction: 'up' })?.fires).toBe(false);
    expect(jump('100', '90', { direction: 'down' })?.fires).toBe(true);
  });

  test('has no verdict after a close of zero or below', () => {
    expect(jump('0', '5')).toBeUndefined();
    expect(jump('-1', '5')).toBeUndefined();
  });

  test('says what it compared', () => {
    expect(jump('100', '106.25')?.details()).toMatchObject({
      explanation: 'the close moved from 100 to 106.25, by +6.25 % (limit 5 %)',
      figures: [
        { name: 'close_before', value: '100', limit: null },
        { name: 'close', value: '106.25', limit: null },
        { name: 'price_change', value: '0.0625', limit: '0.05' },
      ],
    });
  });
});

describe('a z-score', () => {
  const score = (value: string, before: readonly string[], fields: object = {}) => {
    const z = rule({
      id: 'z',
      type: 'z_score',
      of: 'volume',
      score: '2',
      lookback: `${before.length}`,
      ...fields,
    }) as ZScore;
    return zScore(
      z,
      kept(9, { volume: value }),
      before.map((volume, at) => kept(at, { volume })),
    );
  };

  // Mean 5, sample variance ((−1)² + 0² + 1²) / 2 = 1.
  const FIVES = ['4', '5', '6'];

  test('fires beyond so many standard deviations of the baseline, and not at exactly so many', () => {
    expect(score('7', FIVES)?.fires).toBe(false);
    expect(score('7.00000001', FIVES)?.fires).toBe(true);
    expect(score('3', FIVES)?.fires).toBe(false);
    expect(score('2.99999999', FIVES)?.fires).toBe(true);
    expect(score('2.9', FIVES, { direction: 'up' })?.fires).toBe(false);
  });

  test('is exact where the deviation is no decimal', () => {
    // Variance 2 of 4, 4, 6, 6 … is 4/3: 2 deviations above 5 are 5 + √(16/3), which lies between these two.
    expect(score('7.30940107', ['4', '4', '6', '6'])?.fires).toBe(false);
    expect(score('7.30940108', ['4', '4', '6', '6'])?.fires).toBe(true);
  });

  test('has no verdict when nothing varies or too little is known', () => {
    expect(score('100', ['5', '5', '5'])).toBeUndefined();
    expect(score('100', FIVES.slice(1), { lookback: '3' })).toBeUndefined();
  });

  test('says what it compared, rounded for reading', () => {
    expect(score('2', ['4', '4', '6', '6'])?.details()).toMatchObject({
      explanation:
        'volume 2 is -2.59807621 standard deviations (1.15470054) from the mean 5 of the 4 candles before (limit 2)',
    });
  });

  test('is that of the definition, in floating point where that is far enough from the limit', () => {
    const volumes = fc.array(fc.nat(1000), { minLength: 5, maxLength: 5 });
    fc.assert(
      fc.property(volumes, fc.nat(3000), (before, now) => {
        const mean = before.reduce((sum, each) => sum + each, 0) / 5;
        const variance = before.reduce((sum, each) => sum + (each - mean) ** 2, 0) / 4;
        const z = Math.abs(now - mean) / Math.sqrt(variance);
        fc.pre(variance > 0 && Math.abs(z - 2) > 1e-6);
        expect(score(`${now}`, before.map(String))?.fires).toBe(z > 2);
      }),
    );
  });

  test('has a root that is the greatest integer below', () => {
    fc.assert(
      fc.property(fc.bigInt(0n, 10n ** 60n), (value) => {
        const result = root(value);
        expect(result * result <= value && (result + 1n) * (result + 1n) > value).toBe(true);
      }),
    );
  });
});
