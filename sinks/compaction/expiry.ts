import { readDays } from '../../core/archive/days.ts';
import { readListing } from '../../core/archive/objects.ts';
import type { ArchiveObject } from '../../schemas/gen/archive_object.ts';
import type { ArchivePartition } from '../../schemas/gen/archive_partition.ts';
import type { ArchivedTopic } from '../../schemas/topics.ts';
import type { ArchiveSources } from './sources.ts';

/** A day whose rows can be given up. */
export interface Expiry {
  readonly topic: ArchivedTopic;
  readonly day: string;
  /** All listed objects of the day, as many as one record holds at a time. */
  readonly portions: readonly (readonly ArchiveObject[])[];
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
  { log, schemas, signal }: ArchiveSources,
  topics: readonly ArchivedTopic[],
  old: (day: string) => boolean,
): Promise<{ readonly expiries: readonly Expiry[]; readonly kept: readonly KeptDay[] }> {
  const days = await readDays(log, schemas, signal);
  const expiries: Expiry[] = [];
  const kept: KeptDay[] = [];
  for (const topic of topics) {
    const { objects } = await readListing(log, schemas, topic, {}, signal);
    const byDay = new Map<string, ArchiveObject[]>();
    for (const object of objects) {
      if (!old(object.day)) continue;
      const own = byDay.get(object.day);
      if (own === undefined) byDay.set(object.day, [object]);
      else own.push(object);
    }
    for (const [day, own] of [...byDay].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const state = days.find((each) => each.topic === topic && each.day === day)?.state ?? null;
      if (state === 'COMPLETE') expiries.push({ topic, day, portions: portionsOf(own) });
      else kept.push({ topic, day, state });
    }
  }
  return { expiries, kept };
}

/** As many as one record takes off the list at a time. */
export function portionsOf(objects: readonly ArchiveObject[]): readonly (readonly ArchiveObject[])[] {
  const portions: ArchiveObject[][] = [];
  for (let at = 0; at < objects.length; at += objectsPerRecord) portions.push(objects.slice(at, at + objectsPerRecord));
  return portions;
}
