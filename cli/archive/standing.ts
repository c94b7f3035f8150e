/**
 * Progress of each topic's archive, and the pending work of compaction and expiry. It comes from the log's own lists, and for replaced
 * files from the bucket.
 */
import { readDays } from '../../core/archive/listing/days.ts';
import { newestObject } from '../../core/archive/listing/newest.ts';
import { type DayTotals, readGivenUp, readTotals, type Volume } from '../../core/archive/listing/totals.ts';
import type { Schemas } from '../../core/avro/schemas.ts';
import type { Log } from '../../core/log/log.ts';
import { formatTimestamp } from '../../core/values/time.ts';
import type { ArchivePartition } from '../../schemas/gen/archive_partition.ts';
import { type ArchivedTopic, archivedTopics, objectsTopic } from '../../schemas/topics.ts';
import { readSweepable, type SweepOptions } from '../../sinks/compaction/expire/sweep.ts';
import { readDueVolume } from '../../sinks/compaction/plan/due.ts';
import type { ArchiveSources } from '../../sinks/compaction/sources.ts';
import { count, printTable } from '../terminal/print.ts';

/** The newest cut of a partition with rows. Its offsets are the topic's. */
export interface LastCut {
  readonly partition: number;
  readonly from: bigint;
  /** Exclusive. */
  readonly to: bigint;
  /** Time at which its objects were listed, milliseconds since 1970. */
  readonly at: bigint;
}

export interface TopicStanding {
  readonly topic: ArchivedTopic;
  /** All listed objects. */
  readonly listed: Volume;
  /** By partition; a partition without objects has no entry. */
  readonly cuts: readonly LastCut[];
  /** Number of days by state; `NONE`: no manifest yet. */
  readonly days: Readonly<Record<ArchivePartition['state'] | 'NONE', number>>;
  /** Listed files in no manifest yet. `millrace run manifests` adds them. */
  readonly unmanifested: number;
  /** Small files of complete days that `millrace compact` would merge. */
  readonly due: Volume;
  /** Days that `millrace archive expire` would expire; null if no retention is configured. */
  readonly old: (Volume & { readonly days: number }) | null;
  /** Objects of expired days, no longer listed. */
  readonly expired: Volume;
  /** Lost objects, no longer listed. */
  readonly lost: Volume;
}

export interface StandingOptions {
  readonly targetBytes: number;
  /** The first day that expiry keeps, `YYYY-MM-DD`; undefined: all are kept. */
  readonly firstKeptDay: string | undefined;
}

type StandingSources = Pick<ArchiveSources, 'log' | 'schemas' | 'store' | 'signal'>;

/**
 * One entry per archived topic. It uses the days' records and the later changes, without reading the list. For complete days that got files
 * after a compaction, it reads the manifests. It reads the log instead if that is less, or if the bucket does not answer.
 *
 * @throws MillraceError KAFKA_UNREACHABLE, TOPIC_MISSING
 */
export async function readStanding(sources: StandingSources, options: StandingOptions): Promise<TopicStanding[]> {
  const { log, schemas, signal } = sources;
  const { targetBytes, firstKeptDay } = options;
  const stands = await readDays(log, schemas, signal);
  const standing: TopicStanding[] = [];
  for (const topic of archivedTopics) {
    const totals = await readTotals(sources, topic, stands);
    const days = { OPEN: 0, COMPLETE: 0, REOPENED: 0, EXPIRED: 0, NONE: 0 };
    for (const each of totals) days[each.stands?.state ?? 'NONE']++;
    const old = totals.filter(
      ({ day, listed, stands: own }) =>
        firstKeptDay !== undefined && day < firstKeptDay && own?.state === 'COMPLETE' && listed.files > 0,
    );
    standing.push({
      topic,
      listed: sumOf(totals),
      cuts: await lastCuts(log, schemas, topic, signal),
      days,
      unmanifested: totals.reduce((sum, { waiting }) => sum + waiting, 0),
      due: await readDueVolume(sources, topic, totals, { targetBytes }),
      old: firstKeptDay === undefined ? null : { ...sumOf(old), days: old.length },
      ...(await readGivenUp(sources, topic)),
    });
  }
  return standing;
}

function sumOf(totals: readonly DayTotals[]): Volume {
  let [files, rows, bytes] = [0, 0n, 0n];
  for (const { listed } of totals)
    [files, rows, bytes] = [files + listed.files, rows + listed.rows, bytes + listed.bytes];
  return { files, rows, bytes };
}

/** Files in the bucket that are no longer listed, by topic. */
export interface TopicReplaced {
  readonly topic: ArchivedTopic;
  /** Files that `millrace compact` would remove. */
  readonly removable: Omit<Volume, 'rows'>;
  /** Files that readers may still read. */
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

async function lastCuts(log: Log, schemas: Schemas, topic: ArchivedTopic, signal: AbortSignal): Promise<LastCut[]> {
  const cuts: LastCut[] = [];
  for (const partition of (await log.ends(objectsTopic(topic))).keys()) {
    const newest = await newestObject(log, schemas, topic, partition, { signal });
    if (newest === undefined) continue;
    const { object, timestamp: at } = newest;
    cuts.push({ partition, from: object.from_offset, to: object.to_offset, at });
  }
  return cuts;
}

/** Prints one row per topic. Cells from an unreachable bucket are empty. */
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
