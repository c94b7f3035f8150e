import type { Severity } from '../../../schemas/gen/anomaly.ts';
import type { Measure } from './measure.ts';

/** Which moves count. */
export type Direction = 'any' | 'up' | 'down';

interface Common {
  readonly id: string;
  readonly severity: Severity;
  readonly enabled: boolean;
  /** Only these; empty for all. */
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

/** |close − close of the candle before| / close of the candle before > move, unscaled at scale 8. */
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

/** Beyond `limit`, once, until it was beyond `clear` on the other side. Unscaled at scale 8. */
export interface Threshold extends OnCandles {
  readonly type: 'threshold';
  readonly of: Measure;
  readonly side: 'above' | 'below';
  readonly limit: bigint;
  readonly clear: bigint;
}

/** No trade of a symbol for so much log time. */
export interface StaleFeed extends Common {
  readonly type: 'stale_feed';
  /** Microseconds. */
  readonly after: bigint;
}

/** Venue sequence numbers of a symbol are missing. */
export interface SequenceGap extends Common {
  readonly type: 'sequence_gap';
  /** Least count of missing numbers that is a gap. */
  readonly missing: bigint;
  /** Whether numbers begin anew, with each UTC day of event time. */
  readonly restarts: 'never' | 'daily';
}

export type CandleRule = VolumeSpike | PriceJump | ZScore | Threshold;
export type TradeRule = StaleFeed | SequenceGap;
export type Rule = CandleRule | TradeRule;

/** A rule with the version that anomalies carry: its offset in the topic `rules`, or -1 for one that is built in. */
export interface Active<R extends Rule = Rule> {
  readonly rule: R;
  readonly version: bigint;
}

export function isOnCandles(rule: Rule): rule is CandleRule {
  return 'intervals' in rule;
}

/** Whether the rule looks at this symbol at all. */
export function concerns(rule: Rule, { venue, symbol }: { readonly venue: string; readonly symbol: string }): boolean {
  return (rule.venues.size === 0 || rule.venues.has(venue)) && (rule.symbols.size === 0 || rule.symbols.has(symbol));
}

/** Number of candles before the judged one that a verdict is made of. */
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
