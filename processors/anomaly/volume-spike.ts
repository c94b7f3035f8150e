import { divide, divideRounded, PRICE_SCALE, pow10 } from '../../core/decimal.ts';
import type { Rule } from './settings.ts';

/** A candle that the others are compared with. */
export interface Earlier {
  /** Window start, microseconds. */
  readonly window_start: bigint;
  /** Unscaled at scale 8. */
  readonly volume: bigint;
}

/** What the rule looks at. Unscaled at scale 8. */
export interface Figures {
  readonly open: bigint;
  readonly close: bigint;
  readonly volume: bigint;
}

/** The figures that were compared, for people: rounded half away from zero, unscaled at scale 8. The comparison itself is exact. */
export interface Spike {
  readonly meanVolume: bigint;
  readonly volumeRatio: bigint;
  /** (close − open) / open, signed. */
  readonly priceChange: bigint;
}

const ONE = pow10(PRICE_SCALE);
/** Greatest of DECIMAL(20,8) and of DECIMAL(38,8), unscaled: figures for people stop here instead of stopping the task. */
const MAX_20 = pow10(20) - 1n;
const MAX_38 = pow10(38) - 1n;

/**
 * A volume spike: volume > multiple × mean volume of the baseline **and** |close − open| / open > change, in the direction asked for. Both
 * are compared by cross-multiplication of integers, so exactly 3.0 × or exactly 5 % does not fire.
 *
 * No verdict, which is `undefined` as well, where a ratio means nothing: a baseline that is too short or without volume, an open of zero or
 * below.
 */
export function volumeSpike(rule: Rule, candle: Figures, baseline: readonly Earlier[]): Spike | undefined {
  const { open, close, volume } = candle;
  const count = BigInt(rule.lookback);
  if (baseline.length !== rule.lookback || open <= 0n) return undefined;
  let total = 0n;
  for (const earlier of baseline) total += earlier.volume;
  if (total <= 0n) return undefined;

  const move = close - open;
  if ((rule.direction === 'up' && move <= 0n) || (rule.direction === 'down' && move >= 0n)) return undefined;
  if (volume * count * ONE <= rule.volumeMultiple * total) return undefined;
  if ((move < 0n ? -move : move) * ONE <= rule.priceChange * open) return undefined;
  return {
    meanVolume: divideRounded(total, count),
    volumeRatio: clamp(divide(volume * count, PRICE_SCALE, total, PRICE_SCALE, PRICE_SCALE), MAX_38),
    priceChange: clamp(divide(move, PRICE_SCALE, open, PRICE_SCALE, PRICE_SCALE), MAX_20),
  };
}

function clamp(value: bigint, max: bigint): bigint {
  if (value > max) return max;
  return value < -max ? -max : value;
}
