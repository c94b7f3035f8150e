import { divide, divideRounded, PRICE_SCALE, pow10 } from '../../../core/values/decimal.ts';
import { measure, type Traded } from './measure.ts';
import type { ZScore } from './rule.ts';
import { agrees, decimal, type Verdict } from './verdict.ts';

const ONE = pow10(PRICE_SCALE);

/**
 * How far a measure is from the mean of its baseline, in sample standard deviations of the baseline:
 *
 *   z = (x − S/n) / s,  s² = (n·Q − S²) / (n·(n − 1)),  S = Σ xᵢ,  Q = Σ xᵢ²
 *
 * |z| > k is decided without a root or a division, as (n·x − S)²·(n − 1) > k²·n·(n·Q − S²), so a score of exactly k does not fire. No verdict
 * with a baseline that is too short or does not vary, where a deviation means nothing.
 */
export function zScore(rule: ZScore, candle: Traded, baseline: readonly Traded[]): Verdict | undefined {
  const value = measure(rule.of, candle);
  if (value === undefined || baseline.length !== rule.lookback) return undefined;
  let sum = 0n;
  let squares = 0n;
  for (const earlier of baseline) {
    const each = measure(rule.of, earlier);
    if (each === undefined) return undefined;
    sum += each;
    squares += each * each;
  }
  const n = BigInt(rule.lookback);
  const spread = n * squares - sum * sum;
  if (spread === 0n) return undefined;
  const distance = n * value - sum;
  const left = distance * distance * (n - 1n);
  const right = n * spread;
  return {
    fires: agrees(rule.direction, distance) && left * ONE * ONE > rule.score * rule.score * right,
    details: () => {
      const z = roundedRoot(left, right) * (distance < 0n ? -1n : 1n);
      const mean = divideRounded(sum, n);
      const deviation = roundedRoot(spread, n * (n - 1n) * ONE * ONE);
      return {
        explanation:
          `${rule.of} ${decimal(value)} is ${decimal(z)} standard deviations (${decimal(deviation)}) from the mean ${decimal(mean)} ` +
          `of the ${rule.lookback} candles before (limit ${decimal(rule.score)})`,
        figures: [
          { name: rule.of, value: decimal(value), limit: null },
          { name: 'mean', value: decimal(mean), limit: null },
          { name: 'standard_deviation', value: decimal(deviation), limit: null },
          { name: 'z_score', value: decimal(z), limit: decimal(rule.score) },
        ],
        baseline,
      };
    },
  };
}

/** √(numerator / denominator) at scale 8, rounded. Neither is negative. */
function roundedRoot(numerator: bigint, denominator: bigint): bigint {
  return (root(divide(4n * numerator, 0, denominator, 0, 2 * PRICE_SCALE)) + 1n) / 2n;
}

/** The greatest integer whose square is not above `value`. */
export function root(value: bigint): bigint {
  if (value < 2n) return value;
  let guess = 1n << BigInt((value.toString(2).length + 1) >> 1);
  for (;;) {
    const next = (guess + value / guess) >> 1n;
    if (next >= guess) return guess;
    guess = next;
  }
}
