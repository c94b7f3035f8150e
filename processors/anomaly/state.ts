import type { StoreDefinition } from '../../core/processor/define.ts';
import { patternStateSchema } from '../../core/processor/pattern/pattern.ts';
import { schemas } from '../../schemas/gen/index.ts';
import type { Rule as RuleRecord } from '../../schemas/gen/rule.ts';

/** Newest revision of a kept candle. Prices and volume are unscaled at scale 8; null without trades. */
export interface KeptCandle {
  readonly window_start: bigint;
  readonly revision: number;
  /** Offset of its first revision in `market.candles`. It decides which rule version judges the candle and all its revisions. */
  readonly closed_at: bigint;
  /** Offset of its newest revision. */
  readonly offset: bigint;
  /** The first candle of its symbol and interval: an incomplete baseline is then all there ever was. */
  readonly first: boolean;
  readonly open: bigint | null;
  readonly high: bigint | null;
  readonly low: bigint | null;
  readonly close: bigint | null;
  readonly vwap: bigint | null;
  readonly volume: bigint;
  readonly trade_count: bigint;
}

/** A rule version with the first candle that it judges. */
export interface RuleVersion {
  /** Offset in the topic `rules`; -1 for the built-in rule. */
  readonly offset: bigint;
  /** First offset of `market.candles` that the version judges, compared with a candle's first revision. */
  readonly since: bigint;
  /** Null: the rule was removed. */
  readonly rule: RuleRecord | null;
}

/** Last published state of an anomaly. */
export interface PublishedAnomaly {
  readonly revision: number;
  readonly status: string;
  /** Digest of the figures: equal figures are not published again. */
  readonly digest: string;
}

/** Threshold state before the oldest kept candle. */
export interface HysteresisLevel {
  /** Version of the rule. */
  readonly version: bigint;
  readonly active: boolean;
}

/** The fields of a trade that rules keep. */
export interface SeenTrade {
  readonly venue: string;
  readonly symbol: string;
  readonly id: string;
  /** Event time, microseconds. */
  readonly event_time: bigint;
  /** Log time, microseconds. */
  readonly log_time: bigint;
  /** Offset in the trades topic. */
  readonly offset: bigint;
}

/** A feed reported as stale. */
export interface Stall {
  readonly version: bigint;
  readonly severity: string;
  readonly after: bigint;
  readonly last: SeenTrade;
}

/** Range of missing numbers, inclusive. */
export interface NumberRange {
  readonly from: bigint;
  readonly to: bigint;
}

/** A gap that may still be filled. */
export interface Gap {
  readonly version: bigint;
  readonly severity: string;
  /** Least number of missing values that makes a gap. */
  readonly least: bigint;
  readonly before: SeenTrade;
  readonly after: SeenTrade;
  /** Last number before the gap and first number after it. */
  readonly low: bigint;
  readonly high: bigint;
  readonly missing: readonly NumberRange[];
}

export interface Sequence {
  readonly last: bigint;
  /** UTC day of event time, days since 1970. */
  readonly day: number;
  readonly trade: SeenTrade;
  readonly gaps: readonly Gap[];
}

const namespace = 'millrace.anomaly';
const price = { type: 'bytes', logicalType: 'decimal', precision: 20, scale: 8 };
const nullable = (type: unknown): unknown => ['null', type];

function record(name: string, fields: Readonly<Record<string, unknown>>): object {
  return {
    type: 'record',
    name,
    namespace,
    fields: Object.entries(fields).map(([field, type]) => ({ name: field, type })),
  };
}

const seen = record('SeenTrade', {
  venue: 'string',
  symbol: 'string',
  id: 'string',
  event_time: 'long',
  log_time: 'long',
  offset: 'long',
});

/** Key: JSON of [venue, symbol, interval, window start]. */
export const candleStore: StoreDefinition = {
  name: 'candles',
  schema: record('KeptCandle', {
    window_start: 'long',
    revision: 'int',
    closed_at: 'long',
    offset: 'long',
    first: 'boolean',
    open: nullable(price),
    high: nullable(price),
    low: nullable(price),
    close: nullable(price),
    vwap: nullable(price),
    volume: { type: 'bytes', logicalType: 'decimal', precision: 38, scale: 8 },
    trade_count: 'long',
  }),
};

/** Key: rule id. */
export const ruleStore: StoreDefinition = {
  name: 'rules',
  schema: record('RuleVersions', {
    versions: {
      type: 'array',
      items: record('RuleVersion', { offset: 'long', since: 'long', rule: nullable(schemas.rule) }),
    },
  }),
};

/** Key: JSON of [rule, venue, symbol, interval, window start or event time, event]. Kept while a revision is possible. */
export const saidStore: StoreDefinition = {
  name: 'said',
  schema: record('Said', { revision: 'int', status: 'string', digest: 'string' }),
};

/** Key: JSON of [rule, venue, symbol, interval]. */
export const levelStore: StoreDefinition = {
  name: 'levels',
  schema: record('Level', { version: 'long', active: 'boolean' }),
};

/** The newest trade of each symbol. Key: JSON of [venue, symbol]. */
export const feedStore: StoreDefinition = { name: 'feeds', schema: seen };

/** Key: rule id, a slash, then the symbol's key. */
export const watchStore: StoreDefinition = { name: 'watches', schema: patternStateSchema(namespace, seen) };

/** Key as in `watches`. */
export const stallStore: StoreDefinition = {
  name: 'stalls',
  schema: record('Stall', { version: 'long', severity: 'string', after: 'long', last: seen }),
};

/** Key as in `watches`. */
export const sequenceStore: StoreDefinition = {
  name: 'sequences',
  schema: record('Sequence', {
    last: 'long',
    day: 'int',
    trade: seen,
    gaps: {
      type: 'array',
      items: record('Gap', {
        version: 'long',
        severity: 'string',
        least: 'long',
        before: 'SeenTrade',
        after: 'SeenTrade',
        low: 'long',
        high: 'long',
        missing: { type: 'array', items: record('Missing', { from: 'long', to: 'long' }) },
      }),
    },
  }),
};

export const anomalyStores: readonly StoreDefinition[] = Object.freeze([
  candleStore,
  ruleStore,
  saidStore,
  levelStore,
  feedStore,
  watchStore,
  stallStore,
  sequenceStore,
]);
