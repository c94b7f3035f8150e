import { defineProcessor, type Processor } from '../../core/processor/define.ts';
import { schemas } from '../../schemas/gen/index.ts';
import type { TradeChange } from '../../schemas/gen/trade_change.ts';
import { OhlcvFold } from './fold.ts';
import { type OhlcvSettings, toRules } from './settings.ts';
import { symbolStore, windowStore } from './state.ts';

/** Goes into each candle's provenance. Raised when the same trades would give another candle. */
const VERSION = '1';

/**
 * Trades to candles: one candle per venue, symbol and interval for each window that has trades.
 *
 * A window opens with its first trade and closes, once, when its symbol's watermark reaches its end. What cannot join an open window
 * is in `ohlcv.late` with its reason; what is no trade is in `ohlcv.dead`.
 *
 * @throws MillraceError CONFIG_INVALID naming the setting.
 */
export function ohlcv(settings: OhlcvSettings): Processor<TradeChange> {
  const rules = toRules(settings);
  return defineProcessor<TradeChange>({
    name: 'ohlcv',
    version: VERSION,
    inputs: [
      {
        topic: 'cdc.public.trades',
        schema: schemas.trade_change,
        kind: 'change',
        primaryKey: ['venue', 'symbol', 'trade_id'],
      },
    ],
    outputs: [
      { topic: 'market.candles', keySchema: schemas.candle_key, valueSchema: schemas.candle },
      { topic: 'ohlcv.late', keySchema: schemas.trade_key, valueSchema: schemas.late_trade },
    ],
    stores: [symbolStore, windowStore],
    create: (context) => new OhlcvFold(rules, context),
  });
}
