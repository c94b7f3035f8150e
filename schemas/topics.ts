/**
 * The only list of topics: a topic outside it is not part of Millrace. Topics are created, compared, routed and documented from this file.
 *
 * Capture topics have the default prefix `cdc`. Kafka Connect creates them (`createdBy: 'connect'`) from the same entries.
 */
import type { SchemaName } from './gen/index.ts';

export type Cleanup = 'delete' | 'compact';

export interface Topic {
  readonly name: string;
  readonly partitions: number;
  readonly cleanup: Cleanup;
  /** Retention, milliseconds; -1 for unlimited. Compacted topics keep the last record of each key without limit. */
  readonly retentionMs: number;
  /** For a compacted topic: time for which older records of a key are kept too, milliseconds. Default: until Kafka compacts. */
  readonly compactionLagMs?: number;
  readonly compression: 'zstd';
  /** Largest batch, bytes. Default: the broker's, 1 MiB. */
  readonly maxBatchBytes?: number;
  /** Avro schema of the key. Null for a topic without keys, or with bytes that only one processor reads. */
  readonly key: SchemaName | null;
  /**
   * Avro schema of the value; null for bytes that only one processor reads. For a capture topic it is the narrow reader schema: Kafka
   * Connect registers its own writer schema.
   */
  readonly value: SchemaName | null;
  readonly createdBy: 'millrace' | 'connect';
}

const DAY = 86_400_000;
const FOR_EVER = -1;
const CENTURY = 36_525 * DAY;
/** Retention of inputs, and of the snapshots from which they are replayed. */
const INPUT_RETENTION = 30 * DAY;
const SIDE_RETENTION = 90 * DAY;
/** Trades and everything derived from them have one partition count: a task writes to the partition that it reads. */
const PARTITIONS = 6;

type Shape = Omit<Topic, 'name'>;

/** Largest record of a captured table that the connector sends, bytes. An update has its row twice. */
export const captureRecordBytes = 8_000_000;
/** Batch limit of the capture topics, bytes: one record of `captureRecordBytes` fits. */
const captureBatchBytes = 8 * 1024 * 1024;

const millrace = { partitions: PARTITIONS, compression: 'zstd', createdBy: 'millrace' } as const;
const connect = { partitions: PARTITIONS, compression: 'zstd', createdBy: 'connect' } as const;

/** Debezium's own records besides the rows, with its own schemas. */
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
/** Kept without limit: archived inputs can be replayed only with the journal of their time. */
const journal = {
  ...stream,
  retentionMs: FOR_EVER,
  key: null,
  value: 'journal_entry',
} as const satisfies Shape;
/** Start points of replays: kept as long as the inputs that follow them. */
const snapshots = { ...stream, key: null, value: null } as const satisfies Shape;
/** A dead letter contains the whole record. */
const dead = {
  ...side,
  maxBatchBytes: 2 * captureBatchBytes,
  key: null,
  value: 'dead_letter',
} as const satisfies Shape;
/** Orders of operators; every process reads the whole topic. */
const compacted = {
  ...millrace,
  partitions: 1,
  cleanup: 'compact',
  retentionMs: FOR_EVER,
} as const satisfies Partial<Shape>;
/** The list of the archive's files is never deleted: only listed files are visible. */
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
  // Only with `capture.transactions`: begin and end of each transaction, for readers outside Millrace.
  { name: 'cdc.transaction', ...told },
  // Debezium's notifications of snapshots: progress and result of a backfill.
  { name: 'cdc.notifications', ...told },
  { name: 'market.candles', ...stream, key: 'candle_key', value: 'candle' },
  { name: 'market.anomalies', ...stream, key: 'anomaly_key', value: 'anomaly' },
  // A replay needs the rule versions that its journal names, also for archived input. Operators write them, so they are few.
  { name: 'rules', ...compacted, compactionLagMs: CENTURY, key: 'rule_key', value: 'rule' },
  { name: 'market.trades', ...stream, key: 'market_trade_key', value: 'market_trade' },
  { name: 'market.features', ...stream, key: 'features_key', value: 'features' },
  { name: 'ohlcv.changelog', ...changelog },
  { name: 'ohlcv.journal', ...journal },
  { name: 'ohlcv.snapshots', ...snapshots },
  { name: 'ohlcv.late', ...side, key: 'trade_key', value: 'late_trade' },
  { name: 'ohlcv.dead', ...dead },
  // Kept without limit, like the journal that names its records.
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
  // One order for all replacements: the next one may replace files that the last one listed.
  { name: 'archive.replacements', ...objects, partitions: 1, value: 'archive_replacement' },
  // Days span partitions, so one task has them all. Each step of a day is kept for a limited time, and its last state without limit.
  { name: 'archive.partitions', ...compacted, compactionLagMs: SIDE_RETENTION, key: null, value: 'archive_partition' },
] as const satisfies readonly Topic[];

export type TopicName = (typeof list)[number]['name'];

/** Every topic, in the order of the data flow. */
export const topics: readonly (Topic & { readonly name: TopicName })[] = Object.freeze(
  list.map((entry) => Object.freeze(entry)),
);

const byName = new Map<string, Topic>(topics.map((entry) => [entry.name, entry]));

/** Entry of a topic. @throws RangeError when the list has no such topic (only possible from untyped input). */
export function topic(name: TopicName): Topic {
  const entry = byName.get(name);
  if (entry === undefined) throw new RangeError(`topic ${name} is not in schemas/topics.ts`);
  return entry;
}

export function isTopic(name: string): name is TopicName {
  return byName.has(name);
}

/** Topics whose records are archived. */
export const archivedTopics = Object.freeze([
  'cdc.public.trades',
  'cdc.public.instruments',
  'market.candles',
  'market.anomalies',
] as const);

export type ArchivedTopic = (typeof archivedTopics)[number];

/** Topics whose newest revisions are in the hot store. */
export const hotTopics = Object.freeze(['market.candles', 'market.anomalies', 'market.features'] as const);

export type HotTopic = (typeof hotTopics)[number];

/** Topic in which the archive lists the files of a topic. */
export function objectsTopic<T extends ArchivedTopic>(name: T): `archive.${T}.objects` {
  return `archive.${name}.objects`;
}

/**
 * Topics that a user's processor needs besides its inputs: its outputs, unless the list above has them, and its own topics. Each has the
 * partition count of the input, since a task writes to the partition that it reads.
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

/** Registry subjects of a topic: `<topic>-key` and `<topic>-value`. */
export function keySubject(name: string): string {
  return `${name}-key`;
}

export function valueSubject(name: string): string {
  return `${name}-value`;
}

export interface Contract {
  readonly subject: string;
  readonly schema: SchemaName;
  /** Writer that registers the subject's schemas. For `connect`, this repository has only the reader schema. */
  readonly writer: Topic['createdBy'];
}

/** Every subject with a schema of this repository, keys before values. */
export function contracts(): readonly Contract[] {
  return topics.flatMap(({ name, key, value, createdBy: writer }) => [
    ...(key === null ? [] : [{ subject: keySubject(name), schema: key, writer }]),
    ...(value === null ? [] : [{ subject: valueSubject(name), schema: value, writer }]),
  ]);
}
