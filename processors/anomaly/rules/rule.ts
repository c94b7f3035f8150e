import type { Severity } from '../../../schemas/gen/anomaly.ts';
import type { Measure } from './measure.ts';

/** Direction of the moves that fire. */
export type Direction = 'any' | 'up' | 'down';

interface Common {
  readonly id: string;
  readonly severity: Severity;
  readonly enabled: boolean;
  /** Venues of the rule; empty for all. */
  readonly venues: ReadonlySet<string>;
  readonly symbols: ReadonlySet<string>;
}

interface OnCandles extends Common {
  readonly intervals: ReadonlySet<string>;
}

/** Volume > multiple × mean of the baseline, and |close − open| / open > change. Both unscaled at scale 8. */
export interface VolumeSpike extends OnCandles {
  readonly type: 'volume_spike';
  readonly volumeMultiple: bigint;
  readonly priceChange: bigint;
  /** Number of earlier candles in the baseline. */
  readonly lookback: number;
  readonly direction: Direction;
}

/** |close − previous close| / previous close > move, unscaled at scale 8. */
export interface PriceJump extends OnCandles {
  readonly type: 'price_jump';
  readonly move: bigint;
  readonly direction: Direction;
}

/** More than `score` (unscaled at scale 8) standard deviations from the mean of the baseline. */
export interface ZScore extends OnCandles {
  readonly type: 'z_score';
  readonly of: Measure;
  readonly score: bigint;
  readonly lookback: number;
  readonly direction: Direction;
}

/** Fires once beyond `limit`, and again only after a candle beyond `clear` on the other side. Unscaled at scale 8. */
export interface Threshold extends OnCandles {
  readonly type: 'threshold';
  readonly of: Measure;
  readonly side: 'above' | 'below';
  readonly limit: bigint;
  readonly clear: bigint;
}

/** No trade of a symbol for a time, measured in log time. */
export interface StaleFeed extends Common {
  readonly type: 'stale_feed';
  /** Length of the silence, microseconds. */
  readonly after: bigint;
}

/** Venue sequence numbers of a symbol are missing. */
export interface SequenceGap extends Common {
  readonly type: 'sequence_gap';
  /** Least number of missing values that makes a gap. */
  readonly missing: bigint;
  /** Whether the venue's numbers restart with each UTC day of event time. */
  readonly restarts: 'never' | 'daily';
}

export type CandleRule = VolumeSpike | PriceJump | ZScore | Threshold;
export type TradeRule = StaleFeed | SequenceGap;
export type Rule = CandleRule | TradeRule;

/** A rule with its version for anomalies: the offset in the topic `rules`, or -1 for the built-in rule. */
export interface Active<R extends Rule = Rule> {
  readonly rule: R;
  readonly version: bigint;
}

export function isOnCandles(rule: Rule): rule is CandleRule {
  return 'intervals' in rule;
}

/** Whether the rule applies to this symbol. */
export function concerns(rule: Rule, { venue, symbol }: { readonly venue: string; readonly symbol: string }): boolean {
  return (rule.venues.size === 0 || rule.venues.has(venue)) && (rule.symbols.size === 0 || rule.symbols.has(symbol));
}

/** Number of candles before the judged one that a verdict reads. */
export function lookbackOf(rule: Rule): number {
  switch (rule.type) {
    case 'volume_spike':
    case 'z_score':
      return rule.lookback;
    case 'price_jump':
      return 1;
    default:
      return 0;
  }
}
