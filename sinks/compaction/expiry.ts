import { readDays } from '../../core/archive/days.ts';
import { readDayObjects } from '../../core/archive/listing/day-objects.ts';
import type { ListedObject } from '../../core/archive/objects.ts';
import type { ArchivePartition } from '../../schemas/gen/archive_partition.ts';
import type { ArchivedTopic } from '../../schemas/topics.ts';
import type { ArchiveSources } from './sources.ts';

/** A day whose rows can be given up. */
export interface Expiry {
  readonly topic: ArchivedTopic;
  readonly day: string;
  /** All listed objects of the day, as many as one record holds at a time. */
  readonly portions: readonly (readonly ListedObject[])[];
}

/** A day that is old enough, and not complete: more rows are on their way, or the capture stands still. */
export interface KeptDay {
  readonly topic: ArchivedTopic;
  readonly day: string;
  /** Null while it has no manifest. */
  readonly state: ArchivePartition['state'] | null;
}

const objectsPerRecord = 2_000;

/**
 * The old days that still have objects: whole days, or nothing of them. Changes nothing.
 *
 * @param old whether a day, `YYYY-MM-DD`, is to be given up
 */
export async function readExpiries(
  sources: ArchiveSources,
  topics: readonly ArchivedTopic[],
  old: (day: string) => boolean,
): Promise<{ readonly expiries: readonly Expiry[]; readonly kept: readonly KeptDay[] }> {
  const stands = await readDays(sources.log, sources.schemas, sources.signal);
  const expiries: Expiry[] = [];
  const kept: KeptDay[] = [];
  for (const topic of topics) {
    for await (const { day, stands: own, objects } of readDayObjects(sources, topic, { days: old, stands })) {
      if (objects.length === 0) continue;
      const state = own?.state ?? null;
      if (state === 'COMPLETE') expiries.push({ topic, day, portions: portionsOf(objects) });
      else kept.push({ topic, day, state });
    }
  }
  return { expiries, kept };
}

/** As many as one record takes off the list at a time. */
export function portionsOf(objects: readonly ListedObject[]): readonly (readonly ListedObject[])[] {
  const portions: ListedObject[][] = [];
  for (let at = 0; at < objects.length; at += objectsPerRecord) portions.push(objects.slice(at, at + objectsPerRecord));
  return portions;
}
