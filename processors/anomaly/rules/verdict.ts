import { formatTrimmed, PRICE_SCALE } from '../../../core/values/decimal.ts';
import { formatTimestamp } from '../../../core/values/time.ts';
import type { Anomaly, Figure } from '../../../schemas/gen/anomaly.ts';
import type { Traded } from './measure.ts';

/** What a rule says of a candle. */
export interface Verdict {
  readonly fires: boolean;
  /** Made only when an anomaly is written. */
  details(): Details;
}

/** The figures of a verdict, whichever way it went. */
export interface Details {
  readonly explanation: string;
  readonly figures: readonly Figure[];
  /** The candles it was compared with, oldest first. */
  readonly baseline: readonly Traded[];
  readonly spike?: Pick<Anomaly, 'mean_volume' | 'volume_ratio' | 'price_change' | 'thresholds'>;
}

/** Decimal text of units at scale 8. */
export function decimal(units: bigint): string {
  return formatTrimmed(units, PRICE_SCALE);
}

/** A fraction at scale 8 as people read it: `+6.25 %`. */
export function signedPercent(fraction: bigint): string {
  return `${fraction > 0n ? '+' : ''}${formatTrimmed(fraction * 100n, PRICE_SCALE)} %`;
}

export function percentText(fraction: bigint): string {
  return `${formatTrimmed(fraction * 100n, PRICE_SCALE)} %`;
}

/** A time for people: no more digits than it has. */
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
