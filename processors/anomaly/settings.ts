import { isError, MillraceError } from '../../core/base/errors.ts';
import { PRICE_SCALE, parseDecimal } from '../../core/values/decimal.ts';
import type { Rule, VolumeSpike } from './rules/rule.ts';

export interface AnomalySettings {
  /** Built-in rule: the volume must exceed this multiple of the baseline's mean. Decimal text, up to 8 fraction digits. */
  readonly volumeMultiple: string;
  /** Built-in rule: the price must move by more than this fraction of the open; `0.05` is 5 %. Decimal text, up to 8 fraction digits. */
  readonly priceChange: string;
  /** Built-in rule: number of earlier candles in the baseline. */
  readonly lookback: number;
  /** Built-in rule: direction of the moves that fire. */
  readonly direction: 'any' | 'up' | 'down';
  /** Number of newest candles of a symbol and interval that can be judged again after a revision. */
  readonly revisable: number;
}

/** Id of the built-in rule. A rule with this id in the topic `rules` replaces it. */
export const BUILT_IN = 'volume_spike';

/**
 * Rules that apply while the topic `rules` has none.
 *
 * @throws MillraceError CONFIG_INVALID: names the setting.
 */
export function builtInRules(settings: AnomalySettings): readonly Rule[] {
  const { lookback, direction } = settings;
  requireWhole('lookback', lookback, 1);
  if (direction !== 'any' && direction !== 'up' && direction !== 'down') {
    throw invalid(`direction has to be any, up or down, not ${JSON.stringify(direction)}`);
  }
  const rule: VolumeSpike = {
    id: BUILT_IN,
    type: 'volume_spike',
    enabled: true,
    severity: 'HIGH',
    venues: new Set(),
    symbols: new Set(),
    intervals: new Set(),
    volumeMultiple: limit('volumeMultiple', settings.volumeMultiple),
    priceChange: limit('priceChange', settings.priceChange),
    lookback,
    direction,
  };
  return [Object.freeze(rule)];
}

/** @throws MillraceError CONFIG_INVALID */
export function revisableCandles({ revisable }: AnomalySettings): number {
  requireWhole('revisable', revisable, 0, 100_000);
  return revisable;
}

function requireWhole(name: string, value: number, least: number, most = 1_000): void {
  if (!Number.isInteger(value) || value < least || value > most) {
    throw invalid(`${name} has to be a whole number from ${least} to ${most}, not ${value}`);
  }
}

function limit(name: string, text: string): bigint {
  let value: bigint;
  try {
    value = parseDecimal(text, PRICE_SCALE);
  } catch (cause) {
    if (!isError(cause, 'BAD_RECORD')) throw cause;
    throw invalid(`${name}: ${cause.message}`, cause);
  }
  if (value < 0n || value >= 10n ** 20n) throw invalid(`${name} has to be from 0 to below 10^12, not ${text}`);
  return value;
}

function invalid(message: string, cause?: unknown): MillraceError {
  return new MillraceError('CONFIG_INVALID', `anomaly: ${message}`, { cause });
}
