import type { Context, InputRecord, Store } from '../../core/processor/define.ts';
import { formatTimestamp } from '../../core/values/time.ts';
import type { AnomalyKey } from '../../schemas/gen/anomaly_key.ts';
import type { Candle } from '../../schemas/gen/candle.ts';
import type { RuleBook } from './book.ts';
import { baselineOf, type CandleHistory, type Histories, position } from './history.ts';
import type { Anomalies, Facts } from './life.ts';
import { isTraded, type Traded } from './rules/measure.ts';
import { priceJump } from './rules/price-jump.ts';
import { type Active, type CandleRule, concerns, lookbackOf, type Threshold } from './rules/rule.ts';
import { levelOf, threshold } from './rules/threshold.ts';
import type { Details, Verdict } from './rules/verdict.ts';
import { volumeSpike } from './rules/volume-spike.ts';
import { zScore } from './rules/z-score.ts';
import type { HysteresisLevel, KeptCandle } from './state.ts';

export interface CandleJudgeOptions {
  readonly context: Context;
  readonly book: RuleBook;
  readonly histories: Histories;
  readonly anomalies: Anomalies;
  readonly levels: Store<HysteresisLevel>;
  /** Candles that can be judged again, in addition to those of a baseline. */
  readonly revisable: number;
}

const topic = 'market.candles';
const emptied: Details = { explanation: 'the window has no trades any more', figures: [], baseline: [] };

/**
 * The rules on candles. A closed candle is judged against earlier ones. A revision is judged again, with all later candles compared with
 * it. PARTIAL candles may still change, and FILLED ones have no trades: both are neither judged nor part of a baseline.
 */
export class CandleJudge {
  readonly #options: CandleJudgeOptions;

  constructor(options: CandleJudgeOptions) {
    this.#options = options;
  }

  record({ value: candle, offset }: InputRecord<Candle>): void {
    if (candle.status === 'PARTIAL') return;
    const { histories } = this.#options;
    const history = histories.of(candle);
    const { candles } = history;
    const found = candles[position(candles, candle.window_start)];
    const known = found?.window_start === candle.window_start ? found : undefined;
    const empty = candle.status === 'FILLED' || candle.open === null || candle.close === null;
    if (known === undefined && empty) return;
    const [oldest] = candles;
    const passed = oldest !== undefined && candle.window_start < oldest.window_start;
    if (passed || (known !== undefined && candle.revision <= known.revision)) {
      this.#late(candle);
      return;
    }
    const at = histories.put(history, {
      window_start: candle.window_start,
      revision: candle.revision,
      closed_at: known?.closed_at ?? offset,
      offset,
      first: known?.first ?? oldest === undefined,
      open: empty ? null : candle.open,
      high: empty ? null : candle.high,
      low: empty ? null : candle.low,
      close: empty ? null : candle.close,
      vwap: empty ? null : candle.vwap,
      volume: candle.volume,
      trade_count: candle.trade_count,
    });
    if (at < this.#revisableFrom(history)) this.#late(candle);
    this.#judgeFrom(history, at);
    this.#trim(history);
  }

  /** Position of the oldest candle that can be judged again. A revision before it changes baselines only. */
  #revisableFrom({ candles }: CandleHistory): number {
    return candles.length - 1 - this.#options.revisable;
  }

  /** Judges the candle at this position and the later candles that are compared with it. */
  #judgeFrom(history: CandleHistory, changed: number): void {
    const { book } = this.#options;
    const { candles } = history;
    const from = this.#revisableFrom(history);
    for (const id of book.ids()) {
      let between = 0;
      for (let at = changed; at < candles.length; at++) {
        const candle = candles[at] as KeptCandle;
        if (at > changed && isTraded(candle)) between++;
        const active = at < from ? undefined : book.at(id, candle.closed_at);
        if (active === undefined || !applies(active.rule, history)) continue;
        if (active.rule.type !== 'threshold' && between > lookbackOf(active.rule)) break;
        this.#judge(history, at, active);
      }
    }
  }

  #judge(history: CandleHistory, at: number, active: Active<CandleRule>): void {
    const candle = history.candles[at] as KeptCandle;
    const key = keyOf(history, candle, active.rule);
    const { anomalies } = this.#options;
    if (!isTraded(candle)) {
      anomalies.settle(key, false, () => facts(key, candle, active, emptied));
      return;
    }
    const baseline = baselineOf(history, at, lookbackOf(active.rule));
    // The rule needs candles that were not kept before it existed: no verdict yet.
    if (baseline === undefined) return;
    const verdict = this.#verdict(active, candle, baseline, history, at);
    const details = (): Details => verdict?.details() ?? { explanation: 'no verdict any more', figures: [], baseline };
    anomalies.settle(key, verdict?.fires ?? false, () => facts(key, candle, active, details()));
  }

  #verdict(
    active: Active<CandleRule>,
    candle: Traded,
    baseline: readonly Traded[],
    history: CandleHistory,
    at: number,
  ): Verdict | undefined {
    const { rule } = active;
    switch (rule.type) {
      case 'volume_spike':
        return volumeSpike(rule, candle, baseline);
      case 'price_jump':
        return priceJump(rule, candle, baseline);
      case 'z_score':
        return zScore(rule, candle, baseline);
      case 'threshold':
        return threshold(rule, candle, () => this.#wasActive(history, at, rule, active.version));
    }
  }

  /** Whether the threshold was active before the candle: the last candle beyond `limit` or `clear` decides. */
  #wasActive(history: CandleHistory, at: number, rule: Threshold, version: bigint): boolean {
    const { book, levels } = this.#options;
    for (let before = at - 1; before >= 0; before--) {
      const candle = history.candles[before] as KeptCandle;
      if (book.at(rule.id, candle.closed_at)?.version !== version) continue;
      const level = isTraded(candle) ? levelOf(rule, candle) : undefined;
      if (level !== undefined) return level === 'beyond';
    }
    const level = levels.get(levelKey(rule, history));
    return level?.version === version && level.active;
  }

  /** Deletes candles too old to be judged again. */
  #trim(history: CandleHistory): void {
    const { book, histories, anomalies, levels, revisable } = this.#options;
    const most = book.lookback() + revisable + 1;
    while (history.candles.length > most) {
      const oldest = histories.shift(history);
      if (oldest === undefined) return;
      for (const id of book.ids()) {
        const active = book.at(id, oldest.closed_at);
        if (active === undefined || !applies(active.rule, history)) continue;
        const { rule, version } = active;
        anomalies.forget(keyOf(history, oldest, rule));
        const level = rule.type === 'threshold' && isTraded(oldest) ? levelOf(rule, oldest) : undefined;
        if (level !== undefined) levels.set(levelKey(rule, history), { version, active: level === 'beyond' });
      }
    }
  }

  /** Reports a candle that is not judged. If it is older than all kept candles, or no newer revision, baselines do not change either. */
  #late(candle: Candle): void {
    const { venue, symbol, interval, window_start } = candle;
    this.#options.context.emit('anomaly.late', { venue, symbol, interval, window_start }, candle);
  }
}

function applies(rule: CandleRule, history: CandleHistory): boolean {
  return concerns(rule, history) && (rule.intervals.size === 0 || rule.intervals.has(history.interval));
}

function keyOf({ venue, symbol, interval }: CandleHistory, { window_start }: KeptCandle, rule: CandleRule): AnomalyKey {
  return { venue, symbol, interval, window_start, type: rule.type, rule: rule.id, event: '' };
}

function levelKey(rule: CandleRule, { venue, symbol, interval }: CandleHistory): string {
  return JSON.stringify([rule.id, venue, symbol, interval]);
}

function facts(key: AnomalyKey, candle: KeptCandle, { rule, version }: Active<CandleRule>, details: Details): Facts {
  const { venue, symbol, interval, window_start } = key;
  const { explanation, figures, baseline, spike } = details;
  return {
    ...key,
    severity: rule.severity,
    volume: candle.volume,
    mean_volume: null,
    volume_ratio: null,
    open: candle.open,
    close: candle.close,
    price_change: null,
    thresholds: null,
    ...spike,
    candle: { venue, symbol, interval, window_start },
    baseline: baseline.map((earlier) => earlier.window_start),
    rule_version: version,
    explanation,
    figures,
    causes: [{ topic, offset: candle.offset, id: formatTimestamp(window_start) }],
  };
}
