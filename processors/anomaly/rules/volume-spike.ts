import { divide, divideRounded, PRICE_SCALE, pow10 } from '../../../core/values/decimal.ts';
import type { Traded } from './measure.ts';
import type { VolumeSpike } from './rule.ts';
import { absolute, agrees, clamp, type Details, decimal, percentText, signedPercent, type Verdict } from './verdict.ts';

const ONE = pow10(PRICE_SCALE);
/**
 * Greatest values of DECIMAL(20,8) and of DECIMAL(38,8), unscaled. Larger display figures are limited to them, so that they do not stop the
 * task.
 */
const MAX_20 = pow10(20) - 1n;
const MAX_38 = pow10(38) - 1n;
const DIRECTIONS = { any: 'BOTH', up: 'UP', down: 'DOWN' } as const;

/**
 * Volume spike: volume > multiple × mean volume of the baseline **and** |close − open| / open > change, in the configured direction. Both
 * are compared by cross-multiplication of integers, so exactly 3.0 × or exactly 5 % does not fire.
 *
 * No verdict (`undefined`) when a ratio has no meaning: the baseline is too short or without volume, or the open is zero or below.
 */
export function volumeSpike(rule: VolumeSpike, candle: Traded, baseline: readonly Traded[]): Verdict | undefined {
  const { open, close, volume } = candle;
  const count = BigInt(rule.lookback);
  if (baseline.length !== rule.lookback || open <= 0n) return undefined;
  let total = 0n;
  for (const earlier of baseline) total += earlier.volume;
  if (total <= 0n) return undefined;

  const move = close - open;
  const fires =
    agrees(rule.direction, move) &&
    volume * count * ONE > rule.volumeMultiple * total &&
    absolute(move) * ONE > rule.priceChange * open;
  return { fires, details: () => describe(rule, candle, baseline, total) };
}

function describe(
  rule: VolumeSpike,
  { open, close, volume }: Traded,
  baseline: readonly Traded[],
  total: bigint,
): Details {
  const count = BigInt(rule.lookback);
  const mean = divideRounded(total, count);
  const ratio = clamp(divide(volume * count, PRICE_SCALE, total, PRICE_SCALE, PRICE_SCALE), MAX_38);
  const change = clamp(divide(close - open, PRICE_SCALE, open, PRICE_SCALE, PRICE_SCALE), MAX_20);
  const { volumeMultiple, priceChange, lookback, direction } = rule;
  return {
    explanation:
      `volume ${decimal(volume)} is ${decimal(ratio)} × the mean ${decimal(mean)} of the ${lookback} candles before (limit ${decimal(volumeMultiple)} ×), ` +
      `and the price moved by ${signedPercent(change)} (limit ${percentText(priceChange)})`,
    figures: [
      { name: 'volume', value: decimal(volume), limit: null },
      { name: 'mean_volume', value: decimal(mean), limit: null },
      { name: 'volume_ratio', value: decimal(ratio), limit: decimal(volumeMultiple) },
      { name: 'price_change', value: decimal(change), limit: decimal(priceChange) },
    ],
    baseline,
    spike: {
      mean_volume: mean,
      volume_ratio: ratio,
      price_change: change,
      thresholds: {
        volume_multiple: volumeMultiple,
        price_change: priceChange,
        lookback,
        direction: DIRECTIONS[direction],
      },
    },
  };
}
