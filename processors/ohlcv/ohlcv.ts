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

/** Version in each candle's provenance. Raise it when equal trades would give another candle. */
const VERSION = '4';

/** Orders to rebuild candles. */
export const rebuilds: Table = {
  topic: 'ohlcv.rebuilds',
  keySchema: schemas.trade_key,
  schema: schemas.rebuild_order,
};

/**
 * Processor from trades to candles: for each venue, symbol and interval, one candle per window with trades. Empty windows get one if gap
 * filling is set.
 *
 * A window opens with its first trade and closes once, when its symbol's watermark reaches its end. Late trades, updates and deletes revise
 * it within the allowed lateness. Each change that does not simply join an open window is in `ohlcv.late` with its effect. Invalid trades
 * are in `ohlcv.dead`.
 *
 * @throws MillraceError CONFIG_INVALID: names the setting.
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
