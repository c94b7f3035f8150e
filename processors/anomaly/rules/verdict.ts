import { formatTrimmed, PRICE_SCALE } from '../../../core/values/decimal.ts';
import { formatTimestamp } from '../../../core/values/time.ts';
import type { Anomaly, Figure } from '../../../schemas/gen/anomaly.ts';
import type { Traded } from './measure.ts';

/** Verdict of a rule about a candle. */
export interface Verdict {
  readonly fires: boolean;
  /** Computed only when an anomaly is written. */
  details(): Details;
}

/** Figures of a verdict, whether it fires or not. */
export interface Details {
  readonly explanation: string;
  readonly figures: readonly Figure[];
  /** Compared candles, oldest first. */
  readonly baseline: readonly Traded[];
  readonly spike?: Pick<Anomaly, 'mean_volume' | 'volume_ratio' | 'price_change' | 'thresholds'>;
}

/** Decimal text of units at scale 8. */
export function decimal(units: bigint): string {
  return formatTrimmed(units, PRICE_SCALE);
}

/** Display text of a fraction at scale 8, such as `+6.25 %`. */
export function signedPercent(fraction: bigint): string {
  return `${fraction > 0n ? '+' : ''}${formatTrimmed(fraction * 100n, PRICE_SCALE)} %`;
}

export function percentText(fraction: bigint): string {
  return `${formatTrimmed(fraction * 100n, PRICE_SCALE)} %`;
}

/** Display text of a time, without trailing zeros in the fraction. */
export function timeText(micros: bigint): string {
  return formatTimestamp(micros)
    .replace(/\.?0+Z$/, 'Z')
    .replace('T', ' ');
}

export function absolute(value: bigint): bigint {
  return value < 0n ? -value : value;
}

export function agrees(direction: 'any' | 'up' | 'down', move: bigint): boolean {
  return direction === 'any' || (direction === 'up' ? move > 0n : move < 0n);
}

export function clamp(value: bigint, most: bigint): bigint {
  if (value > most) return most;
  return value < -most ? -most : value;
}
