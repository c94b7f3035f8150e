import { underNewNames } from '../../core/base/renames.ts';
import { defineProcessor, type Processor, type Table } from '../../core/processor/define.ts';
import { windowStores } from '../../core/processor/windows/windowed.ts';
import { schemas } from '../../schemas/gen/index.ts';
import type { TradeChange } from '../../schemas/gen/trade_change.ts';
import { trades } from '../trade-change.ts';
import { candles } from './candle.ts';
import { OhlcvFold } from './fold.ts';
import { type OhlcvSettings, toRules } from './settings.ts';
import { heldStore } from './state.ts';

/** Goes into each candle's provenance. Raised when the same trades would give another candle. */
const VERSION = '4';

/** Orders to rebuild candles. */
export const rebuilds: Table = {
  topic: 'ohlcv.rebuilds',
  keySchema: schemas.trade_key,
  schema: schemas.rebuild_order,
};

/**
 * Trades to candles: one candle per venue, symbol and interval for each window that has trades, and for empty ones where that is set.
 *
 * A window opens with its first trade and closes, once, when its symbol's watermark reaches its end. Late trades, updates and deletes revise
 * it up to the allowed lateness. What did not simply join an open window is in `ohlcv.late` with its effect; what is no trade is in `ohlcv.dead`.
 *
 * @throws MillraceError CONFIG_INVALID naming the setting.
 */
export function ohlcv(settings: OhlcvSettings): Processor<TradeChange> {
  const rules = toRules(settings);
  const memoryMs = Math.ceil(rules.memory / 1000);
  return defineProcessor<TradeChange>({
    name: 'ohlcv',
    version: VERSION,
    inputs: [trades],
    tables: [rebuilds],
    outputs: [
      { topic: 'market.candles', keySchema: schemas.candle_key, valueSchema: schemas.candle },
      { topic: 'ohlcv.late', keySchema: schemas.trade_key, valueSchema: schemas.late_trade },
    ],
    stores: [...windowStores(candles), heldStore(memoryMs)],
    inputRetentionMs: memoryMs,
    settings: { value: settings, remake: (value) => ohlcv(underNewNames('ohlcv', value)) },
    create: (context) => new OhlcvFold(rules, context),
  });
}
