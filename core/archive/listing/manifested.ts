/**
 * The objects in the manifests of a topic, and the records after them: the list without reading it from its start. A day's manifest takes into account every
 * object record before its `covers` and every replacement before its `replacements`, and a step of the manifests takes all days at once. So only records
 * after the greatest of them are read from the log.
 */
import type { ArchivePartition } from '../../../schemas/gen/archive_partition.ts';
import { type ArchivedTopic, objectsTopic } from '../../../schemas/topics.ts';
import type { Schemas } from '../../avro/schemas.ts';
import { isError } from '../../base/errors.ts';
import type { Log } from '../../log/log.ts';
import { endOfReplacements, type ReplacementRecord, readReplacements, takesOff } from '../replacements.ts';
import { readDays } from './days.ts';
import { newestObject } from './newest.ts';
import { readObjects } from './objects.ts';
import { ObjectTable } from './table.ts';

export interface ListSources {
  readonly log: Log;
  readonly schemas: Schemas;
  readonly signal: AbortSignal;
}

/** Records of a topic that its manifests take into account. */
export interface Manifested {
  readonly topic: ArchivedTopic;
  /** The newest record of each day that has a manifest. */
  readonly days: ReadonlyMap<string, ArchivePartition>;
  /** By partition of the objects topic: everything before is in manifests. */
  readonly covers: readonly bigint[];
  /** Offset in archive.replacements: everything of this topic before it is in manifests. */
  readonly replacements: bigint;
}

/** How far the manifests are; on a log without them, nowhere. @throws as `listObjects` */
export async function readManifested(
  { log, schemas, signal }: ListSources,
  topic: ArchivedTopic,
  all?: readonly ArchivePartition[],
): Promise<Manifested> {
  const own = (all ?? (await daysOf(log, schemas, signal))).filter((day) => day.topic === topic);
  const starts = await log.starts(objectsTopic(topic));
  return {
    topic,
    days: new Map(own.map((day) => [day.day, day])),
    covers: starts.map((start, i) => own.reduce((most, { covers }) => greater(most, covers[i] ?? 0n), start)),
    replacements: own.reduce((most, { replacements }) => greater(most, replacements), 0n),
  };
}

/** A log of an earlier release has no manifests. */
async function daysOf(log: Log, schemas: Schemas, signal: AbortSignal): Promise<readonly ArchivePartition[]> {
  try {
    return await readDays(log, schemas, signal);
  } catch (error) {
    if (isError(error, 'TOPIC_MISSING')) return [];
    throw error;
  }
}

/** Records after the manifests. */
export interface Tail {
  readonly objects: ObjectTable;
  /** In order. */
  readonly replacements: readonly ReplacementRecord[];
  /**
   * Days that got a record of a cut that manifests may know already, because the sink was moved back by hand: whether its object was replaced
   * meanwhile is told by the whole list alone.
   */
  readonly repeated: ReadonlySet<string>;
}

export interface TailOptions {
  /** Only of these days; default: all. */
  readonly days?: ((day: string) => boolean) | undefined;
  /** By partition of the objects topic, up to where; default: the end. */
  readonly covers?: readonly bigint[] | undefined;
}

/** Reads what came after the manifests. @throws as `listObjects` */
export async function readTail(
  { log, schemas, signal }: ListSources,
  { topic, covers, replacements: from }: Manifested,
  options: TailOptions = {},
): Promise<Tail> {
  const { days } = options;
  const replacements: ReplacementRecord[] = [];
  // In this order: what is replaced before this end is listed before the ends that are asked for next.
  const to = await endOfReplacements(log);
  const ends = options.covers ?? (await log.ends(objectsTopic(topic)));
  for await (const record of readReplacements(
    log,
    schemas,
    { from, to },
    signal,
    (head) => head.topic === topic && takesOff(head) !== undefined && days?.(head.day) !== false,
  )) {
    replacements.push(record);
  }
  const objects = new ObjectTable();
  const repeated = new Set<string>();
  // By partition: where the last cut began that manifests know; null before the first one.
  const known = new Map<number, bigint | null>();
  const range = { from: covers, to: ends, days };
  for await (const { partition, records } of readObjects(log, schemas, topic, range, signal)) {
    let last = known.get(partition);
    if (last === undefined) {
      const before = { before: covers[partition] ?? 0n, signal };
      last = (await newestObject(log, schemas, topic, partition, before))?.object.from_offset ?? null;
      known.set(partition, last);
    }
    for (const { object } of records) {
      if (last !== null && object.from_offset <= last) repeated.add(object.day);
      objects.add(object);
    }
  }
  return { objects, replacements, repeated };
}

function greater(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
