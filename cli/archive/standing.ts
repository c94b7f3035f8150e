/** How far the archive of each topic is, and what compaction and expiry owe: from the log's own lists, and for replaced files from the bucket. */
import { readListing, readObjects } from '../../core/archive/objects.ts';
import type { Schemas } from '../../core/avro/schemas.ts';
import type { Log } from '../../core/runtime/log.ts';
import { formatTimestamp } from '../../core/time.ts';
import type { ArchiveObject } from '../../schemas/gen/archive_object.ts';
import type { ArchivePartition } from '../../schemas/gen/archive_partition.ts';
import { type ArchivedTopic, archivedTopics, objectsTopic } from '../../schemas/topics.ts';
import { dueGroups } from '../../sinks/compaction/groups.ts';
import { readSweepable, type SweepOptions } from '../../sinks/compaction/sweep.ts';
import { readDayLines } from '../archive-days.ts';
import { count, printTable } from '../print.ts';

export interface Volume {
  readonly files: number;
  readonly rows: bigint;
  readonly bytes: bigint;
}

/** The newest cut of a partition that has rows. Its offsets are the topic's. */
export interface LastCut {
  readonly partition: number;
  readonly from: bigint;
  /** Exclusive. */
  readonly to: bigint;
  /** When its objects were listed, milliseconds since 1970. */
  readonly at: bigint;
}

export interface TopicStanding {
  readonly topic: ArchivedTopic;
  /** What is listed. */
  readonly listed: Volume;
  /** By partition; one that has no object has none. */
  readonly cuts: readonly LastCut[];
  /** How many days stand how; `NONE` have no manifest yet. */
  readonly days: Readonly<Record<ArchivePartition['state'] | 'NONE', number>>;
  /** Listed files that are in no manifest yet: `millrace run manifests`. */
  readonly unmanifested: number;
  /** Small files of complete days that `millrace compact` would put together. */
  readonly due: Volume;
  /** What `millrace archive expire` would give up; null when nothing says which days are old. */
  readonly old: (Volume & { readonly days: number }) | null;
  /** What was given up with its days: listed no more. */
  readonly expired: Volume;
  /** What was given up because nothing could make it again: listed no more. */
  readonly lost: Volume;
}

export interface StandingOptions {
  readonly targetBytes: number;
  /** The first day that expiry keeps, `YYYY-MM-DD`; undefined: it gives nothing up. */
  readonly firstKeptDay: string | undefined;
  readonly signal: AbortSignal;
}

/** One entry per archived topic. @throws MillraceError KAFKA_UNREACHABLE, TOPIC_MISSING */
export async function readStanding(log: Log, schemas: Schemas, options: StandingOptions): Promise<TopicStanding[]> {
  const { targetBytes, firstKeptDay, signal } = options;
  const lines = await readDayLines(log, schemas, archivedTopics, signal);
  const standing: TopicStanding[] = [];
  for (const topic of archivedTopics) {
    const { objects, expired, lost } = await readListing(log, schemas, topic, {}, signal);
    const own = lines.filter((line) => line.topic === topic);
    const complete = new Set(own.filter(({ stands }) => stands?.state === 'COMPLETE').map(({ day }) => day));
    const days = { OPEN: 0, COMPLETE: 0, REOPENED: 0, EXPIRED: 0, NONE: 0 };
    for (const { stands } of own) days[stands?.state ?? 'NONE']++;
    const due = dueGroups(topic, objects, (day) => complete.has(day), targetBytes);
    const old =
      firstKeptDay === undefined ? undefined : objects.filter(({ day }) => day < firstKeptDay && complete.has(day));
    standing.push({
      topic,
      listed: volumeOf(objects),
      cuts: await lastCuts(log, schemas, topic, signal),
      days,
      unmanifested: own.reduce((sum, { waiting }) => sum + waiting, 0),
      due: volumeOf(due.flatMap(({ inputs }) => inputs)),
      old: old === undefined ? null : { ...volumeOf(old), days: new Set(old.map(({ day }) => day)).size },
      expired: volumeOf(expired),
      lost: volumeOf(lost),
    });
  }
  return standing;
}

/** Files in the bucket that are listed no more, by topic. */
export interface TopicReplaced {
  readonly topic: ArchivedTopic;
  /** `millrace compact` would remove them. */
  readonly removable: Omit<Volume, 'rows'>;
  /** Readers may still be reading them. */
  readonly waiting: Omit<Volume, 'rows'>;
}

/** One entry per archived topic. @throws MillraceError KAFKA_UNREACHABLE, S3_UNREACHABLE */
export async function readReplaced(options: SweepOptions): Promise<TopicReplaced[]> {
  const found: TopicReplaced[] = [];
  const sum = (objects: readonly { readonly bytes: number }[]) => ({
    files: objects.length,
    bytes: objects.reduce((total, { bytes }) => total + BigInt(bytes), 0n),
  });
  for (const topic of archivedTopics) {
    const { removable, waiting } = await readSweepable(options, topic);
    found.push({ topic, removable: sum(removable), waiting: sum(waiting) });
  }
  return found;
}

function volumeOf(objects: readonly Pick<ArchiveObject, 'rows' | 'bytes'>[]): Volume {
  let [rows, bytes] = [0n, 0n];
  for (const object of objects) {
    rows += object.rows;
    bytes += object.bytes;
  }
  return { files: objects.length, rows, bytes };
}

/** A cut's records are one transaction, and most cuts have a few days: the newest one is near the end. */
const lookBack = 256n;

async function lastCuts(log: Log, schemas: Schemas, topic: ArchivedTopic, signal: AbortSignal): Promise<LastCut[]> {
  const name = objectsTopic(topic);
  const [starts, to] = await Promise.all([log.starts(name), log.ends(name)]);
  const from = to.map((end, partition) => {
    const start = starts[partition] ?? 0n;
    return end - lookBack > start ? end - lookBack : start;
  });
  const cuts = new Map<number, LastCut>();
  for await (const { partition, records } of readObjects(log, schemas, topic, { from, to }, signal)) {
    for (const { timestamp, object } of records) {
      cuts.set(partition, { partition, from: object.from_offset, to: object.to_offset, at: timestamp });
    }
  }
  return [...cuts.values()];
}

/** A row per topic. What could not be asked of the bucket is left empty. */
export function printStanding(standing: readonly TopicStanding[], replaced: readonly TopicReplaced[]): void {
  printTable(standingHeader, standingRows(standing, replaced));
}

const standingHeader = [
  'archive',
  'files',
  'rows',
  'MB',
  'last cut',
  'days',
  'in no manifest',
  'to compact',
  'to remove',
  'to expire',
  'lost',
];

/** The cells of the table. */
export function standingRows(
  standing: readonly TopicStanding[],
  replaced: readonly TopicReplaced[],
): readonly (readonly string[])[] {
  return standing.map(({ topic, listed, cuts, days, unmanifested, due, old, lost }) => {
    const own = replaced.find((each) => each.topic === topic);
    const newest = cuts.reduce<bigint | undefined>(
      (last, { at }) => (last === undefined || at > last ? at : last),
      undefined,
    );
    const waiting = own === undefined || own.waiting.files === 0 ? '' : `, ${own.waiting.files} in a while`;
    const states = Object.entries(days).flatMap(([state, number]) =>
      number === 0 ? [] : [`${number} ${state === 'NONE' ? 'without manifest' : state.toLowerCase()}`],
    );
    return [
      topic,
      count(listed.files),
      count(listed.rows),
      (Number(listed.bytes) / 1e6).toFixed(1),
      newest === undefined ? 'none' : `${formatTimestamp(newest * 1_000n).slice(0, 19)}Z`,
      states.join(', '),
      `${unmanifested}`,
      `${due.files}`,
      own === undefined ? '' : `${own.removable.files}${waiting}`,
      old === null ? '' : `${old.files} of ${old.days} days`,
      lost.files === 0 ? '' : `${count(lost.rows)} rows of ${lost.files}`,
    ];
  });
}
