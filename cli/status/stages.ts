/** Progress of each stage in its input, read from the log. So it is correct also if no process of the stage runs. */

import { isError } from '../../core/base/errors.ts';
import type { Fetcher, Log, LogRecord, Position } from '../../core/log/log.ts';
import type { OwnPositions } from '../../core/operations/offsets/positions.ts';
import { groupOf } from '../../core/runtime/runner.ts';
import { archivedTopics, hotTopics } from '../../schemas/topics.ts';

export interface Stage {
  readonly name: string;
  readonly kind: 'processor' | 'sink';
  readonly inputs: readonly string[];
}

/** Every stage with the topics that it reads. */
export const stages: readonly Stage[] = [
  { name: 'ohlcv', kind: 'processor', inputs: ['cdc.public.trades'] },
  { name: 'anomaly', kind: 'processor', inputs: ['market.candles', 'cdc.public.trades'] },
  { name: 'enrichment', kind: 'processor', inputs: ['cdc.public.trades'] },
  { name: 'features', kind: 'processor', inputs: ['cdc.public.trades'] },
  { name: 'parquet', kind: 'sink', inputs: archivedTopics },
  { name: 'hot-store', kind: 'sink', inputs: hotTopics },
];

export interface StageLag {
  readonly stage: string;
  readonly kind: Stage['kind'];
  readonly topic: string;
  readonly partitions: number;
  /** False if the stage never committed an offset of this topic. */
  readonly started: boolean;
  /** Partitions without a group offset although the stage's state has a position: Kafka has deleted the offset. */
  readonly expired: number;
  /** Offsets left to take in all partitions; 0n if only transaction markers are left. */
  readonly lagRecords: bigint;
  /**
   * Log time from the next record to the last one by their timestamps, milliseconds, in the partition that is furthest behind; 0 without
   * lag. With event time, a load of old trades would appear years behind.
   */
  readonly lagMs: number;
  /**
   * Greatest event time among the partitions' last records, microseconds; undefined for an empty topic. Earlier records may have greater
   * ones.
   */
  readonly lastEvent: bigint | undefined;
}

/** The event time of a record in microseconds; undefined if none can be read. */
export type EventTimeOf = (topic: string, record: LogRecord) => Promise<bigint | undefined>;

export interface StagesOptions {
  readonly log: Log;
  readonly stages: readonly Stage[];
  readonly eventTimeOf: EventTimeOf;
  /** Positions in a stage's own state. Read only if its group has no offset. Default: none. */
  readonly positionsOf?: (stage: Stage) => OwnPositions | undefined;
  readonly signal?: AbortSignal;
}

/**
 * Stages of users' processors: consumer groups with Millrace's prefix that are not built in. Their inputs are the topics with committed
 * offsets.
 *
 * @param groups names of all consumer groups
 * @param topicsOf topics in which a group has committed offsets
 */
export async function otherStages(
  groups: readonly string[],
  topicsOf: (group: string) => Promise<readonly string[]>,
): Promise<Stage[]> {
  const ours = new Set([...stages.map(({ name }) => groupOf(name)), groupOf('manifests')]);
  const found = groups.filter((group) => group.startsWith(groupOf('')) && !ours.has(group)).sort();
  return await Promise.all(
    found.map(async (group) => ({
      name: group.slice(groupOf('').length),
      kind: 'processor' as const,
      inputs: [...(await topicsOf(group))].sort(),
    })),
  );
}

/** One entry per stage and input topic. @throws MillraceError KAFKA_UNREACHABLE, TOPIC_MISSING */
export async function readStages(options: StagesOptions): Promise<StageLag[]> {
  const lags: StageLag[] = [];
  await using fetcher = options.log.fetcher();
  for (const stage of options.stages) {
    for (const topic of stage.inputs) lags.push(await readStage(options, fetcher, stage, topic));
  }
  return lags;
}

async function readStage(options: StagesOptions, fetcher: Fetcher, stage: Stage, topic: string): Promise<StageLag> {
  const { log, eventTimeOf, signal } = options;
  const [starts, ends, committed] = await Promise.all([
    log.starts(topic),
    log.ends(topic),
    log.committed(groupOf(stage.name), topic),
  ]);
  const own = await ownOffsets(
    options,
    stage,
    topic,
    new Set(committed.map(({ partition }) => partition)),
    ends.length,
  );
  const positions = ends.map((end, partition): StageRange => {
    const start = starts[partition] ?? 0n;
    const offset = committed.find((each) => each.partition === partition)?.offset ?? own.get(partition) ?? start;
    return { topic, partition, offset: offset < start ? start : offset, end };
  });
  const next = await firstRecords(fetcher, positions, signal);
  const last = await lastRecords(fetcher, topic, starts, ends, signal);
  let [lagRecords, lagMs] = [0n, 0];
  let lastEvent: bigint | undefined;
  for (const { partition, offset, end } of positions) {
    const [waiting, latest] = [next.get(partition), last.get(partition)];
    const latestTime = latest === undefined ? undefined : await eventTimeOf(topic, latest);
    if (latestTime !== undefined && (lastEvent === undefined || latestTime > lastEvent)) lastEvent = latestTime;
    if (waiting === undefined) continue;
    lagRecords += end - offset;
    if (latest !== undefined) lagMs = Math.max(lagMs, Number(latest.timestamp - waiting.timestamp));
  }
  const { name, kind } = stage;
  const started = committed.length > 0;
  return {
    stage: name,
    kind,
    topic,
    partitions: ends.length,
    started,
    expired: own.size,
    lagRecords,
    lagMs,
    lastEvent,
  };
}

/** By partition, the position in a stage's own state. Only partitions without a group offset are read. */
async function ownOffsets(
  { log, positionsOf, signal }: StagesOptions,
  stage: Stage,
  topic: string,
  committed: ReadonlySet<number>,
  partitions: number,
): Promise<ReadonlyMap<number, bigint>> {
  const found = new Map<number, bigint>();
  const positions = committed.size < partitions ? positionsOf?.(stage) : undefined;
  const [primary] = positions?.inputs.find((topics) => topics.includes(topic)) ?? [];
  if (positions === undefined || primary === undefined) return found;
  for (let partition = 0; partition < partitions; partition++) {
    if (committed.has(partition)) continue;
    const own = await positions.read(log, primary, partition, signal).catch(undefinedIfMissing);
    const offset = own === 'unwritten' ? 0n : own?.get(topic);
    if (offset !== undefined) found.set(partition, offset);
  }
  return found;
}

/** The group of a foreign program has no state topics under our names. */
function undefinedIfMissing(error: unknown): undefined {
  if (!isError(error, 'TOPIC_MISSING')) throw error;
}

export interface RecordCount {
  readonly records: number;
  /** Whether counting stopped at the limit, so that `records` is a lower bound. */
  readonly more: boolean;
}

/** Counts the records of a topic, such as a dead-letter topic. Offsets would also count transaction markers. */
export async function countRecords(log: Log, topic: string, limit: number, signal?: AbortSignal): Promise<RecordCount> {
  const [starts, ends] = await Promise.all([log.starts(topic), log.ends(topic)]);
  await using fetcher = log.fetcher();
  let records = 0;
  const ranges = ends.map((end, partition) => ({ topic, partition, offset: starts[partition] ?? 0n, end }));
  await scan(fetcher, ranges, signal, (found) => {
    records += found.length;
    return records < limit;
  });
  return { records: Math.min(records, limit), more: records >= limit };
}

interface StageRange extends Position {
  readonly end: bigint;
}

async function firstRecords(
  fetcher: Fetcher,
  ranges: readonly StageRange[],
  signal: AbortSignal | undefined,
): Promise<Map<number, LogRecord>> {
  const first = new Map<number, LogRecord>();
  await scan(fetcher, ranges, signal, ([record], partition) => {
    if (record !== undefined) first.set(partition, record);
    return record === undefined;
  });
  return first;
}

/** A transaction of one record takes two offsets, so the last record is near the end. A long run of aborted transactions may hide it. */
const lookBack = 64n;

async function lastRecords(
  fetcher: Fetcher,
  topic: string,
  starts: readonly bigint[],
  ends: readonly bigint[],
  signal: AbortSignal | undefined,
): Promise<Map<number, LogRecord>> {
  const last = new Map<number, LogRecord>();
  const ranges = ends.map((end, partition): StageRange => {
    const start = starts[partition] ?? 0n;
    return { topic, partition, offset: end - lookBack > start ? end - lookBack : start, end };
  });
  await scan(fetcher, ranges, signal, (records, partition) => {
    const newest = records.at(-1);
    if (newest !== undefined) last.set(partition, newest);
    return true;
  });
  return last;
}

/**
 * A fetch that returns nothing for this long is taken as blocked by an open transaction. The reader does not wait for that. Milliseconds.
 */
const patienceMs = 500;

/** Reads all ranges concurrently to their ends, or until `take` returns false for a partition. */
async function scan(
  fetcher: Fetcher,
  ranges: readonly StageRange[],
  signal: AbortSignal | undefined,
  take: (records: readonly LogRecord[], partition: number) => boolean,
): Promise<void> {
  const open = new Map(ranges.filter(({ offset, end }) => offset < end).map((range) => [range.partition, range]));
  while (open.size > 0) {
    signal?.throwIfAborted();
    const fetched = await fetcher.fetch([...open.values()], {
      maxWaitMs: patienceMs,
      maxBytesPerPartition: 65_536,
      ...(signal === undefined ? {} : { signal }),
    });
    if (fetched.length === 0) return;
    for (const { partition, records, next } of fetched) {
      const range = open.get(partition);
      if (range === undefined) continue;
      const more = take(
        records.filter((record) => record.offset < range.end),
        partition,
      );
      if (!more || next >= range.end) open.delete(partition);
      else open.set(partition, { ...range, offset: next });
    }
  }
}
