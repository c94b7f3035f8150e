import { PRICE_SCALE, pow10 } from '../../../core/values/decimal.ts';
import type { KeptCandle } from '../state.ts';

/** Values of a candle that a rule can use. `range` is high − low, `change` is close − open, `trades` is the trade count. */
export const measures = ['close', 'vwap', 'volume', 'trades', 'range', 'change'] as const;

export type Measure = (typeof measures)[number];

/** A candle that has trades. */
export interface Traded extends KeptCandle {
  readonly open: bigint;
  readonly high: bigint;
  readonly low: bigint;
  readonly close: bigint;
}

export function isTraded(candle: KeptCandle): candle is Traded {
  return candle.open !== null && candle.close !== null;
}

/** Value of the candle, unscaled at scale 8. Undefined for the vwap of a candle without volume. */
export function measure(of: Measure, candle: Traded): bigint | undefined {
  switch (of) {
    case 'close':
      return candle.close;
    case 'vwap':
      return candle.vwap ?? undefined;
    case 'volume':
      return candle.volume;
    case 'trades':
      return candle.trade_count * pow10(PRICE_SCALE);
    case 'range':
      return candle.high - candle.low;
    case 'change':
      return candle.close - candle.open;
  }
}
