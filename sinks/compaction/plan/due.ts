/** Groups that a compaction would put together: complete days that have files of the sink, one day in memory at a time. */

import { readDayObjects } from '../../../core/archive/listing/day-objects.ts';
import { readDays } from '../../../core/archive/listing/days.ts';
import type { DayTotals, Volume } from '../../../core/archive/listing/totals.ts';
import type { ArchivePartition } from '../../../schemas/gen/archive_partition.ts';
import { type ArchivedTopic, objectsTopic } from '../../../schemas/topics.ts';
import type { ArchiveSources } from '../sources.ts';
import { type DueGroup, dueGroups, sumOf } from './groups.ts';

interface DueSettings {
  /** About how many bytes an object of a compaction is to have. */
  readonly targetBytes: number;
}

type DueSources = Pick<ArchiveSources, 'log' | 'schemas' | 'store' | 'signal'>;

/** The groups of a day that are due, and up to where the object records were read, by partition. */
export interface DueDay {
  readonly groups: readonly DueGroup[];
  readonly covers: readonly bigint[];
}

/**
 * The days of a topic of which groups are due, in order. Changes nothing.
 *
 * @param within days to look at
 */
export async function* readDue(
  sources: DueSources,
  topic: ArchivedTopic,
  within: (day: string) => boolean,
  { targetBytes }: DueSettings,
  stands?: readonly ArchivePartition[],
): AsyncGenerator<DueDay> {
  const { log, schemas, signal } = sources;
  const known = stands ?? (await readDays(log, schemas, signal));
  // In this order: what the manifests cover is before these ends, which the plans are going to name.
  const covers = await log.ends(objectsTopic(topic));
  const days = (day: string, own: ArchivePartition | undefined) => own !== undefined && mayBeDue(own) && within(day);
  for await (const { objects } of readDayObjects(sources, topic, { days, covers, stands: known })) {
    const groups = dueGroups(topic, objects, () => true, targetBytes);
    if (groups.length > 0) yield { groups, covers };
  }
}

/**
 * Volume that is due of a topic. The state of a day tells it where no compaction has seen the day; otherwise it is looked up.
 *
 * @param totals of the topic
 */
export async function readDueVolume(
  sources: DueSources,
  topic: ArchivedTopic,
  totals: readonly DayTotals[],
  { targetBytes }: DueSettings,
): Promise<Volume> {
  let [files, rows, bytes] = [0, 0n, 0n];
  const unclear = new Set<string>();
  const stands: ArchivePartition[] = [];
  for (const { day, stands: own, settled } of totals) {
    if (own === undefined) continue;
    stands.push(own);
    if (!mayBeDue(own)) continue;
    const written = own.written ?? [];
    if (!settled || written.reduce((sum, group) => sum + group.files, 0n) !== own.files) {
      unclear.add(day);
      continue;
    }
    for (const group of written) {
      if (group.files < 2n) continue;
      [files, rows, bytes] = [files + Number(group.files), rows + group.rows, bytes + group.bytes];
    }
  }
  if (unclear.size === 0) return { files, rows, bytes };
  for await (const { groups } of readDue(sources, topic, (day) => unclear.has(day), { targetBytes }, stands)) {
    for (const { inputs } of groups) {
      const sum = sumOf(inputs);
      [files, rows, bytes] = [files + inputs.length, rows + sum.rows, bytes + sum.bytes];
    }
  }
  return { files, rows, bytes };
}

/**
 * As its manifest lists it, since files that came later reopen the day: the sink wrote a file, and its partition has another one. A record of an
 * earlier version does not tell.
 */
function mayBeDue({ state, written, partitions }: ArchivePartition): boolean {
  if (state !== 'COMPLETE') return false;
  const several = new Set(partitions.filter(({ files }) => files > 1n).map(({ partition }) => partition));
  return written === null || written.some(({ partition }) => several.has(partition));
}
