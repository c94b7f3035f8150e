/**
 * The only list of topics: whatever is not here is not a topic of Millrace. Creating, comparing, routing and documenting them all
 * start from this file.
 *
 * Capture topics carry the default prefix `cdc`; Kafka Connect creates them (`createdBy: 'connect'`) from the same entries.
 */
import type { SchemaName } from './gen/index.ts';

export type Cleanup = 'delete' | 'compact';

export interface Topic {
  readonly name: string;
  readonly partitions: number;
  readonly cleanup: Cleanup;
  /** Milliseconds that records are kept; -1 is for ever. Compacted topics keep the last record of a key for ever. */
  readonly retentionMs: number;
  /** Of a compacted topic: milliseconds that older records of a key are kept, too. Default: until Kafka compacts. */
  readonly compactionLagMs?: number;
  readonly compression: 'zstd';
  /** Largest batch, bytes. Default: the broker's, 1 MiB. */
  readonly maxBatchBytes?: number;
  /** The Avro schema of the key; null when there is no key, or when it is bytes that only one processor understands. */
  readonly key: SchemaName | null;
  /**
   * The Avro schema of the value; null for bytes that only one processor understands. Of a capture topic it is the narrow schema
   * that we read it by: Kafka Connect registers what it writes.
   */
  readonly value: SchemaName | null;
  readonly createdBy: 'millrace' | 'connect';
}

const DAY = 86_400_000;
const FOR_EVER = -1;
const CENTURY = 36_525 * DAY;
/** Of inputs, and of the snapshots from which they are replayed. */
const INPUT_RETENTION = 30 * DAY;
const SIDE_RETENTION = 90 * DAY;
/** Trades and everything derived from them have one partition count: a task writes to the partition it reads. */
const PARTITIONS = 6;

type Shape = Omit<Topic, 'name'>;

/** Largest record that the connector sends of a captured table, bytes; an update has its row twice. */
export const captureRecordBytes = 8_000_000;
/** Limit of our decoders: such a record passes, also within a dead letter. */
const captureBatchBytes = 8 * 1024 * 1024;

const millrace = { partitions: PARTITIONS, compression: 'zstd', createdBy: 'millrace' } as const;
const connect = { partitions: PARTITIONS, compression: 'zstd', createdBy: 'connect' } as const;

/** What Debezium tells beside the rows, by schemas of its own. */
const told = {
  ...connect,
  partitions: 1,
  cleanup: 'delete',
  retentionMs: INPUT_RETENTION,
  key: null,
  value: null,
} as const satisfies Shape;
const stream = { ...millrace, cleanup: 'delete', retentionMs: INPUT_RETENTION } as const satisfies Partial<Shape>;
const side = { ...millrace, cleanup: 'delete', retentionMs: SIDE_RETENTION } as const satisfies Partial<Shape>;
const changelog = {
  ...millrace,
  cleanup: 'compact',
  retentionMs: FOR_EVER,
  key: null,
  value: null,
} as const satisfies Shape;
/** Kept for ever: what the archive has of the inputs can be replayed only with the journal of then. */
const journal = {
  ...stream,
  retentionMs: FOR_EVER,
  key: null,
  value: 'journal_entry',
} as const satisfies Shape;
/** Where replays begin: kept as long as what they read on from there. */
const snapshots = { ...stream, key: null, value: null } as const satisfies Shape;
/** A letter holds its record whole. */
const dead = {
  ...side,
  maxBatchBytes: 2 * captureBatchBytes,
  key: null,
  value: 'dead_letter',
} as const satisfies Shape;
/** What operators ordered; every process reads it whole. */
const compacted = {
  ...millrace,
  partitions: 1,
  cleanup: 'compact',
  retentionMs: FOR_EVER,
} as const satisfies Partial<Shape>;
/** The record of what the archive holds is never deleted: visible means listed. */
const objects = {
  ...millrace,
  cleanup: 'delete',
  retentionMs: FOR_EVER,
  key: null,
  value: 'archive_object',
} as const satisfies Shape;

const list = [
  {
    name: 'cdc.public.trades',
    ...connect,
    maxBatchBytes: captureBatchBytes,
    cleanup: 'delete',
    retentionMs: INPUT_RETENTION,
    key: 'trade_key',
    value: 'trade_change',
  },
  {
    name: 'cdc.public.instruments',
    ...connect,
    maxBatchBytes: captureBatchBytes,
    cleanup: 'compact',
    retentionMs: FOR_EVER,
    compactionLagMs: INPUT_RETENTION,
    key: 'trade_key',
    value: 'instrument_change',
  },
  {
    name: 'cdc.public.heartbeat',
    ...connect,
    partitions: 1,
    cleanup: 'delete',
    retentionMs: INPUT_RETENTION,
    key: null,
    value: 'heartbeat_change',
  },
  // With `capture.transactions` only: begin and end of each transaction, for readers of their own.
  { name: 'cdc.transaction', ...told },
  // What Debezium says of snapshots: where a backfill is, and how it ended.
  { name: 'cdc.notifications', ...told },
  { name: 'market.candles', ...stream, key: 'candle_key', value: 'candle' },
  { name: 'market.anomalies', ...stream, key: 'anomaly_key', value: 'anomaly' },
  // A replay, also of archived input, needs the versions that its journal names; people write them, so they are few.
  { name: 'rules', ...compacted, compactionLagMs: CENTURY, key: 'rule_key', value: 'rule' },
  { name: 'market.trades', ...stream, key: 'market_trade_key', value: 'market_trade' },
  { name: 'market.features', ...stream, key: 'features_key', value: 'features' },
  { name: 'ohlcv.changelog', ...changelog },
  { name: 'ohlcv.journal', ...journal },
  { name: 'ohlcv.snapshots', ...snapshots },
  { name: 'ohlcv.late', ...side, key: 'trade_key', value: 'late_trade' },
  { name: 'ohlcv.dead', ...dead },
  // Kept for ever, as the journal that names its records is.
  {
    name: 'ohlcv.rebuilds',
    ...stream,
    partitions: 1,
    retentionMs: FOR_EVER,
    key: 'trade_key',
    value: 'rebuild_order',
  },
  { name: 'anomaly.changelog', ...changelog },
  { name: 'anomaly.journal', ...journal },
  { name: 'anomaly.snapshots', ...snapshots },
  { name: 'anomaly.late', ...side, key: 'candle_key', value: 'candle' },
  { name: 'anomaly.dead', ...dead },
  { name: 'enrichment.changelog', ...changelog },
  { name: 'enrichment.journal', ...journal },
  { name: 'enrichment.snapshots', ...snapshots },
  { name: 'enrichment.late', ...side, key: 'trade_key', value: 'late_trade' },
  { name: 'enrichment.dead', ...dead },
  { name: 'features.changelog', ...changelog },
  { name: 'features.journal', ...journal },
  { name: 'features.snapshots', ...snapshots },
  { name: 'features.late', ...side, key: 'trade_key', value: 'late_trade' },
  { name: 'features.dead', ...dead },
  { name: 'parquet.dead', ...dead },
  { name: 'hot-store.dead', ...dead },
  { name: 'control', ...compacted, key: null, value: 'control_entry' },
  { name: 'aliases', ...compacted, key: null, value: 'alias' },
  { name: 'redrives', ...side, partitions: 1, key: null, value: 'redrive' },
  { name: 'archive.cdc.public.trades.objects', ...objects },
  { name: 'archive.cdc.public.instruments.objects', ...objects },
  { name: 'archive.market.candles.objects', ...objects },
  { name: 'archive.market.anomalies.objects', ...objects },
  // One order of all replacements: what one lists, the next may replace.
  { name: 'archive.replacements', ...objects, partitions: 1, value: 'archive_replacement' },
  // Days span partitions, so one task has them all. Each step of a day is kept for a while; how it is now, for ever.
  { name: 'archive.partitions', ...compacted, compactionLagMs: SIDE_RETENTION, key: null, value: 'archive_partition' },
] as const satisfies readonly Topic[];

export type TopicName = (typeof list)[number]['name'];

/** Every topic, in the order of the data's way. */
export const topics: readonly (Topic & { readonly name: TopicName })[] = Object.freeze(
  list.map((entry) => Object.freeze(entry)),
);

const byName = new Map<string, Topic>(topics.map((entry) => [entry.name, entry]));

/** The entry of a topic. @throws RangeError when the list has no such topic (only possible from untyped input). */
export function topic(name: TopicName): Topic {
  const entry = byName.get(name);
  if (entry === undefined) throw new RangeError(`topic ${name} is not in schemas/topics.ts`);
  return entry;
}

export function isTopic(name: string): name is TopicName {
  return byName.has(name);
}

/** The topics whose records go to cold storage. */
export const archivedTopics = Object.freeze([
  'cdc.public.trades',
  'cdc.public.instruments',
  'market.candles',
  'market.anomalies',
] as const);

export type ArchivedTopic = (typeof archivedTopics)[number];

/** The topics whose newest revisions are in the hot store. */
export const hotTopics = Object.freeze(['market.candles', 'market.anomalies', 'market.features'] as const);

export type HotTopic = (typeof hotTopics)[number];

/** Where the archive lists the objects it made of a topic. */
export function objectsTopic<T extends ArchivedTopic>(name: T): `archive.${T}.objects` {
  return `archive.${name}.objects`;
}

/**
 * The topics that a processor of a user needs, beside its inputs: its outputs, unless the list above has them, and its own. Each has as many
 * partitions as the input, since a task writes to the partition it reads.
 */
export function processorTopics(name: string, outputs: readonly string[], partitions: number): readonly Topic[] {
  const own: readonly Topic[] = [
    { name: `${name}.changelog`, ...changelog },
    { name: `${name}.journal`, ...journal },
    { name: `${name}.snapshots`, ...snapshots },
    { name: `${name}.late`, ...side, key: null, value: null },
    { name: `${name}.dead`, ...dead },
  ];
  const named = new Set(own.map((topic) => topic.name));
  const published = outputs.filter((output) => !named.has(output) && !isTopic(output));
  return [...published.map((output) => ({ name: output, ...stream, key: null, value: null })), ...own].map((topic) => ({
    ...topic,
    partitions,
  }));
}

/** Registry subjects of a topic, by the usual naming: `<topic>-key` and `<topic>-value`. */
export function keySubject(name: string): string {
  return `${name}-key`;
}

export function valueSubject(name: string): string {
  return `${name}-value`;
}

export interface Contract {
  readonly subject: string;
  readonly schema: SchemaName;
  /** Who registers the subject's schemas. Of `connect`, ours is only what we read it by. */
  readonly writer: Topic['createdBy'];
}

/** Every subject that has a schema of ours, keys before values. */
export function contracts(): readonly Contract[] {
  return topics.flatMap(({ name, key, value, createdBy: writer }) => [
    ...(key === null ? [] : [{ subject: keySubject(name), schema: key, writer }]),
    ...(value === null ? [] : [{ subject: valueSubject(name), schema: value, writer }]),
  ]);
}
