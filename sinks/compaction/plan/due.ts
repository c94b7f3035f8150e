/** Groups that a compaction would merge: complete days with files of the sink, one day in memory at a time. */

import { readDayObjects } from '../../../core/archive/listing/day-objects.ts';
import { readDays } from '../../../core/archive/listing/days.ts';
import type { DayTotals, Volume } from '../../../core/archive/listing/totals.ts';
import type { ArchivePartition } from '../../../schemas/gen/archive_partition.ts';
import { type ArchivedTopic, objectsTopic } from '../../../schemas/topics.ts';
import type { ArchiveSources } from '../sources.ts';
import { type DueGroup, dueGroups, sumOf } from './groups.ts';

interface DueSettings {
  /** Approximate size of an object that a compaction writes, bytes. */
  readonly targetBytes: number;
}

type DueSources = Pick<ArchiveSources, 'log' | 'schemas' | 'store' | 'signal'>;

/** The due groups of a day, and the ends up to which the object records were read, by partition. */
export interface DueDay {
  readonly groups: readonly DueGroup[];
  readonly covers: readonly bigint[];
}

/**
 * The days of a topic with due groups, in order. Changes nothing.
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
  // Manifests first, then ends: the ends, which the plans will name, are then past all that the manifests cover.
  const covers = await log.ends(objectsTopic(topic));
  const days = (day: string, own: ArchivePartition | undefined) => own !== undefined && mayBeDue(own) && within(day);
  for await (const { objects } of readDayObjects(sources, topic, { days, covers, stands: known })) {
    const groups = dueGroups(topic, objects, () => true, targetBytes);
    if (groups.length > 0) yield { groups, covers };
  }
}

/**
 * Files, rows and bytes of a topic's due groups. The record of a day is enough if no compaction has changed the day; otherwise the day is
 * read.
 *
 * @param totals the topic's days
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
 * Whether a complete day has a file of the sink and a second file in its partition. Later files reopen a day, so its manifest is enough. A
 * record of an earlier version does not tell, and counts as yes.
 */
function mayBeDue({ state, written, partitions }: ArchivePartition): boolean {
  if (state !== 'COMPLETE') return false;
  const several = new Set(partitions.filter(({ files }) => files > 1n).map(({ partition }) => partition));
  return written === null || written.some(({ partition }) => several.has(partition));
}
