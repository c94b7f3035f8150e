import { readDayObjects } from '../../../core/archive/listing/day-objects.ts';
import type { ListedObject } from '../../../core/archive/listing/objects.ts';
import type { ArchivePartition } from '../../../schemas/gen/archive_partition.ts';
import type { ArchivedTopic } from '../../../schemas/topics.ts';
import { sumOf } from '../plan/groups.ts';
import type { ArchiveSources } from '../sources.ts';

/** A day that can be expired. */
export interface Expiry {
  readonly topic: ArchivedTopic;
  readonly day: string;
  /** Listed files of the day. */
  readonly files: number;
  readonly rows: bigint;
  readonly bytes: bigint;
  readonly rowHash: string;
}

/** A day that is old enough but not complete: rows may still arrive, or the capture stands still. */
export interface KeptDay {
  readonly topic: ArchivedTopic;
  readonly day: string;
  /** Null until it has a manifest. */
  readonly state: ArchivePartition['state'] | null;
}

const objectsPerRecord = 2_000;

/**
 * Days that can be expired, and old days that are kept because they are not complete. A day is expired as a whole. Changes nothing.
 *
 * @param old whether a day, `YYYY-MM-DD`, is old enough
 */
export async function readExpiries(
  sources: ArchiveSources,
  topics: readonly ArchivedTopic[],
  old: (day: string) => boolean,
): Promise<{ readonly expiries: readonly Expiry[]; readonly kept: readonly KeptDay[] }> {
  const expiries: Expiry[] = [];
  const kept: KeptDay[] = [];
  for (const topic of topics) {
    for await (const { day, state, objects } of readOldDays(sources, topic, old)) {
      if (state === 'COMPLETE') expiries.push({ topic, day, files: objects.length, ...sumOf(objects) });
      else kept.push({ topic, day, state });
    }
  }
  return { expiries, kept };
}

/** Old days of a topic that still have objects, one in memory at a time. */
export async function* readOldDays(
  sources: ArchiveSources,
  topic: ArchivedTopic,
  old: (day: string) => boolean,
): AsyncGenerator<KeptDay & { readonly objects: readonly ListedObject[] }> {
  for await (const { day, stands, objects } of readDayObjects(sources, topic, { days: old })) {
    if (objects.length > 0) yield { topic, day, state: stands?.state ?? null, objects };
  }
}

/** Objects in portions of at most 2,000: one record unlists one portion. */
export function portionsOf(objects: readonly ListedObject[]): readonly (readonly ListedObject[])[] {
  const portions: ListedObject[][] = [];
  for (let at = 0; at < objects.length; at += objectsPerRecord) portions.push(objects.slice(at, at + objectsPerRecord));
  return portions;
}
