import { PRICE_SCALE, parseDecimal } from '../../core/decimal.ts';
import { isError, MillraceError } from '../../core/errors.ts';

export interface AnomalySettings {
  /** The volume has to exceed this many times the mean volume of the baseline. Decimal text, up to 8 fraction digits. */
  readonly volumeMultiple: string;
  /** The price has to move by more than this fraction of the open: `0.05` is 5 %. Decimal text, up to 8 fraction digits. */
  readonly priceChange: string;
  /** Number of earlier candles in the baseline. */
  readonly lookback: number;
  /** Which moves count. */
  readonly direction: 'any' | 'up' | 'down';
}

/** Settings as the rule takes them: unscaled at scale 8. */
export interface Rule {
  readonly volumeMultiple: bigint;
  readonly priceChange: bigint;
  readonly lookback: number;
  readonly direction: 'any' | 'up' | 'down';
}

/** @throws MillraceError CONFIG_INVALID naming the setting. */
export function toRule(settings: AnomalySettings): Rule {
  const { lookback, direction } = settings;
  if (!Number.isInteger(lookback) || lookback < 1 || lookback > 1000) {
    throw invalid(`lookback has to be a whole number from 1 to 1000, not ${lookback}`);
  }
  if (direction !== 'any' && direction !== 'up' && direction !== 'down') {
    throw invalid(`direction has to be any, up or down, not ${JSON.stringify(direction)}`);
  }
  return Object.freeze({
    volumeMultiple: threshold('volumeMultiple', settings.volumeMultiple),
    priceChange: threshold('priceChange', settings.priceChange),
    lookback,
    direction,
  });
}

function threshold(name: string, text: string): bigint {
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
