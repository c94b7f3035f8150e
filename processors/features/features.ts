import { underNewNames } from '../../core/base/renames.ts';
import { defineProcessor, type Processor } from '../../core/processor/define.ts';
import { schemas } from '../../schemas/gen/index.ts';
import type { TradeChange } from '../../schemas/gen/trade_change.ts';
import { trades } from '../trade-change.ts';
import { FeaturesFold } from './fold.ts';
import { type FeaturesSettings, toRules } from './settings.ts';
import { barStore, refusedStore, shapeStore, symbolStore } from './state.ts';

/** Version in each row's provenance. Raise it when equal trades would give another row. */
const VERSION = '3';

/**
 * Processor from trades to features: for each venue and symbol, one row per step of event time with a trade in its longest window.
 *
 * A row is point-in-time correct. It is computed when the symbol's watermark reaches its instant, from trades with an earlier event time
 * that are in the log by then. It is never revised. Later changes go to `features.late` and count in later rows.
 *
 * @throws MillraceError CONFIG_INVALID: names the setting.
 */
export function features(settings: FeaturesSettings): Processor<TradeChange> {
  const rules = toRules(settings);
  return defineProcessor<TradeChange>({
    name: 'features',
    version: VERSION,
    inputs: [trades],
    outputs: [
      { topic: 'market.features', keySchema: schemas.features_key, valueSchema: schemas.features },
      { topic: 'features.late', keySchema: schemas.trade_key, valueSchema: schemas.late_trade },
    ],
    stores: [symbolStore, barStore, refusedStore(rules), shapeStore],
    timers: 'derived',
    inputRetentionMs: settings.allowedLatenessMs,
    settings: { value: settings, remake: (value) => features(underNewNames('features', value)) },
    create: (context) => new FeaturesFold(rules, context),
  });
}
