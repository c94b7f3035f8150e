/** The plans of compactions, as they are in the log: what was decided, and from what. */

import type { ListedObject } from '../../core/archive/objects.ts';
import { readListing } from '../../core/archive/objects.ts';
import { endOfReplacements, type ReplacementRecord, readReplacements } from '../../core/archive/replacements.ts';
import { objectsTopic } from '../../schemas/topics.ts';
import { type Group, groupId, groupOf, inputsOf } from './groups.ts';
import type { ArchiveSources } from './sources.ts';

type LogSources = Omit<ArchiveSources, 'store'>;

/** The plan that was not finished. Each is finished before the next, so there is at most one. */
export async function pendingPlan({ log, schemas, signal }: LogSources): Promise<ReplacementRecord | undefined> {
  let pending: ReplacementRecord | undefined;
  const range = { from: 0n, to: await endOfReplacements(log) };
  for await (const record of readReplacements(log, schemas, range, signal)) {
    if (record.replacement.kind === 'PLANNED') pending = record;
    else if (record.replacement.plan === pending?.offset) pending = undefined;
  }
  return pending;
}

/** The plan at an offset; undefined where there is none. */
export async function planAt({ log, schemas, signal }: LogSources, at: bigint): Promise<ReplacementRecord | undefined> {
  const end = await endOfReplacements(log);
  for await (const record of readReplacements(log, schemas, { from: at, to: end }, signal)) {
    return record.offset === at && record.replacement.kind === 'PLANNED' ? record : undefined;
  }
  return undefined;
}

/** The objects that a plan puts together: a function of what was listed when it was made, whoever asks and whenever. */
export async function plannedInputs(
  { log, schemas, signal }: LogSources,
  { offset, replacement }: ReplacementRecord,
  group: Group,
): Promise<readonly ListedObject[]> {
  const { topic, partition, day } = group;
  const ends = await log.ends(objectsTopic(topic));
  const covers = ends.map(() => replacement.covers);
  const range = { covers, replacements: offset, partition, days: (each: string) => each === day };
  const { objects } = await readListing(log, schemas, topic, range, signal);
  const own = objects.filter((each) => groupId(groupOf(topic, each)) === groupId(group));
  return inputsOf(own, replacement.target_bytes);
}
