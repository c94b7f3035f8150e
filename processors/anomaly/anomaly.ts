import {
  type Context,
  defineProcessor,
  type Fold,
  type InputRecord,
  type Processor,
} from '../../core/processor/define.ts';
import type { Anomaly } from '../../schemas/gen/anomaly.ts';
import type { AnomalyKey } from '../../schemas/gen/anomaly_key.ts';
import type { Candle } from '../../schemas/gen/candle.ts';
import type { CandleKey } from '../../schemas/gen/candle_key.ts';
import { schemas } from '../../schemas/gen/index.ts';
import { type AnomalySettings, type Rule, toRule } from './settings.ts';
import { type Baseline, baselineKey, baselineStore } from './state.ts';
import { type Earlier, type Spike, volumeSpike } from './volume-spike.ts';

/** Raised when the same candles would give other anomalies. */
const VERSION = '1';

/** A volume that grew this much together with the price is always severe; finer grades are a matter of further rules. */
const SEVERITY = 'HIGH';

/**
 * Candles to anomalies. Only CLOSED candles are judged, each once, against the candles before it of the same venue, symbol and interval.
 *
 * PARTIAL candles may still change and FILLED ones never had a trade: neither is judged, nor in a baseline.
 *
 * @throws MillraceError CONFIG_INVALID naming the setting.
 */
export function anomaly(settings: AnomalySettings): Processor<Candle> {
  const rule = toRule(settings);
  return defineProcessor<Candle>({
    name: 'anomaly',
    version: VERSION,
    inputs: [{ topic: 'market.candles', schema: schemas.candle, kind: 'derived' }],
    outputs: [
      { topic: 'market.anomalies', keySchema: schemas.anomaly_key, valueSchema: schemas.anomaly },
      { topic: 'anomaly.late', keySchema: schemas.candle_key, valueSchema: schemas.candle },
    ],
    stores: [baselineStore],
    create: (context) => anomalyFold(rule, context),
  });
}

function anomalyFold(rule: Rule, context: Context): Fold<Candle> {
  const baselines = context.store<Baseline>(baselineStore.name);

  /** Judges a candle that is newer than all before it, then makes it part of the baseline. */
  function judge(candle: Candle, open: bigint, close: bigint): void {
    const key = baselineKey(candle);
    const earlier = baselines.get(key)?.candles ?? [];
    const newest = earlier.at(-1);
    if (newest !== undefined && candle.window_start <= newest.window_start) {
      // The baseline is in order of windows, and this place in it has passed: said, not counted.
      context.emit('anomaly.late', candleKey(candle), candle);
      return;
    }
    const compared = earlier.slice(-rule.lookback);
    const spike = volumeSpike(rule, { open, close, volume: candle.volume }, compared);
    if (spike !== undefined) {
      context.emit('market.anomalies', anomalyKey(candle), raised(rule, candle, { open, close }, spike, compared));
    }
    const candles = [...earlier, { window_start: candle.window_start, volume: candle.volume }];
    baselines.set(key, { candles: candles.slice(-rule.lookback) });
  }

  return {
    record({ value }: InputRecord<Candle>): void {
      // REVISED candles will revise or retract their anomaly; until then they change nothing here.
      if (value.status !== 'CLOSED' || value.open === null || value.close === null) return;
      judge(value, value.open, value.close);
    },
    gauges: () => ({ keys: baselines.size }),
  };
}

function raised(
  rule: Rule,
  candle: Candle,
  { open, close }: { open: bigint; close: bigint },
  spike: Spike,
  compared: readonly Earlier[],
): Anomaly {
  return {
    ...anomalyKey(candle),
    severity: SEVERITY,
    status: 'RAISED',
    revision: 1,
    volume: candle.volume,
    mean_volume: spike.meanVolume,
    volume_ratio: spike.volumeRatio,
    open,
    close,
    price_change: spike.priceChange,
    thresholds: {
      volume_multiple: rule.volumeMultiple,
      price_change: rule.priceChange,
      lookback: rule.lookback,
      direction: DIRECTIONS[rule.direction],
    },
    candle: candleKey(candle),
    baseline: compared.map((earlier) => earlier.window_start),
  };
}

const DIRECTIONS = { any: 'BOTH', up: 'UP', down: 'DOWN' } as const;

function candleKey({ venue, symbol, interval, window_start }: Candle): CandleKey {
  return { venue, symbol, interval, window_start };
}

function anomalyKey(candle: Candle): AnomalyKey {
  return { ...candleKey(candle), type: 'volume_spike' };
}
