import type { StoreDefinition } from '../../core/processor/define.ts';
import { patternStateSchema } from '../../core/processor/pattern/pattern.ts';
import { schemas } from '../../schemas/gen/index.ts';
import type { Rule as RuleRecord } from '../../schemas/gen/rule.ts';

/** A candle as it is kept, in its newest revision. Prices and volume unscaled at scale 8; null without trades. */
export interface KeptCandle {
  readonly window_start: bigint;
  readonly revision: number;
  /** Where its first revision is in `market.candles`: it decides which version of a rule judges it, for good. */
  readonly closed_at: bigint;
  /** Where its newest revision is. */
  readonly offset: bigint;
  /** No candle of its symbol and interval came before it: an incomplete baseline is all there ever was. */
  readonly first: boolean;
  readonly open: bigint | null;
  readonly high: bigint | null;
  readonly low: bigint | null;
  readonly close: bigint | null;
  readonly vwap: bigint | null;
  readonly volume: bigint;
  readonly trade_count: bigint;
}

/** A rule from one candle on. */
export interface RuleVersion {
  /** In the topic `rules`; -1 when the one that is built in is back. */
  readonly offset: bigint;
  /** Judges the candles whose first revision is at or after this offset of `market.candles`. */
  readonly since: bigint;
  /** Null: none. */
  readonly rule: RuleRecord | null;
}

/** What was last said of an anomaly. */
export interface PublishedAnomaly {
  readonly revision: number;
  readonly status: string;
  /** Of its figures: equal ones are not said twice. */
  readonly digest: string;
}

/** Hysteresis before the oldest candle that is kept. */
export interface HysteresisLevel {
  /** Of the rule. */
  readonly version: bigint;
  readonly active: boolean;
}

/** A trade as rules remember it. */
export interface SeenTrade {
  readonly venue: string;
  readonly symbol: string;
  readonly id: string;
  /** Event time, microseconds. */
  readonly event_time: bigint;
  /** Microseconds. */
  readonly log_time: bigint;
  /** In the trades' topic. */
  readonly offset: bigint;
}

/** A feed that is said to be stale. */
export interface Stall {
  readonly version: bigint;
  readonly severity: string;
  readonly after: bigint;
  readonly last: SeenTrade;
}

/** Numbers that are missing, inclusive. */
export interface NumberRange {
  readonly from: bigint;
  readonly to: bigint;
}

/** A gap that may still be filled. */
export interface Gap {
  readonly version: bigint;
  readonly severity: string;
  /** Least count that is a gap. */
  readonly least: bigint;
  readonly before: SeenTrade;
  readonly after: SeenTrade;
  /** The numbers on both sides of it. */
  readonly low: bigint;
  readonly high: bigint;
  readonly missing: readonly NumberRange[];
}

export interface Sequence {
  readonly last: bigint;
  /** UTC day of event time, since 1970. */
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

/** Key: id of the rule. */
export const ruleStore: StoreDefinition = {
  name: 'rules',
  schema: record('RuleVersions', {
    versions: {
      type: 'array',
      items: record('RuleVersion', { offset: 'long', since: 'long', rule: nullable(schemas.rule) }),
    },
  }),
};

/** Key: JSON of [rule, venue, symbol, interval, window start or event time, event]. Kept as long as a revision can still come. */
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

/** Key: the rule's id, a slash, the symbol's key. */
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
