import { underNewNames } from '../../core/base/renames.ts';
import { defineProcessor, type Processor } from '../../core/processor/define.ts';
import { schemas } from '../../schemas/gen/index.ts';
import type { TradeChange } from '../../schemas/gen/trade_change.ts';
import { trades } from '../trade-change.ts';
import { FeaturesFold } from './fold.ts';
import { type FeaturesSettings, toRules } from './settings.ts';
import { barStore, refusedStore, shapeStore, symbolStore } from './state.ts';

/** Goes into each row's provenance. Raised when the same trades would give another row. */
const VERSION = '3';

/**
 * Trades to features: per venue and symbol one row for each step of event time that has a trade in reach of its windows.
 *
 * A row is point-in-time correct: it is made when the symbol's watermark reaches its instant, of trades whose event time is before it and that
 * were in the log by then, and it is never revised. What comes later is in `features.late` and counts in later rows.
 *
 * @throws MillraceError CONFIG_INVALID naming the setting.
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
