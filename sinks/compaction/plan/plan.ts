/** Compaction plans in the log: each plan and the listed objects it was made from. */

import type { ListedObject } from '../../../core/archive/listing/objects.ts';
import { readListing } from '../../../core/archive/listing/objects.ts';
import {
  endOfReplacements,
  type ReplacementHead,
  type ReplacementRecord,
  readReplacements,
} from '../../../core/archive/replacements.ts';
import { objectsTopic } from '../../../schemas/topics.ts';
import type { ArchiveSources } from '../sources.ts';
import { type Group, groupId, groupOf, inputsOf } from './groups.ts';

type LogSources = Omit<ArchiveSources, 'store'>;

/** Offsets of the first step backwards; each further step doubles. */
const firstStep = 16n;

/** The unfinished plan. Each plan is finished before the next, so there is at most one. */
export async function pendingPlan({ log, schemas, signal }: LogSources): Promise<ReplacementRecord | undefined> {
  // Read backwards: the newest record of a plan decides.
  let to = await endOfReplacements(log);
  for (let step = firstStep; to > 0n; step *= 2n) {
    const from = to > step ? to - step : 0n;
    let newest: ReplacementRecord | undefined;
    const ofPlan = ({ kind }: ReplacementHead): boolean => kind !== 'EXPIRED' && kind !== 'LOST';
    for await (const record of readReplacements(log, schemas, { from, to }, signal, ofPlan)) newest = record;
    if (newest !== undefined) return newest.replacement.kind === 'PLANNED' ? newest : undefined;
    to = from;
  }
  return undefined;
}

/** The plan at an offset; undefined if there is none. */
export async function planAt({ log, schemas, signal }: LogSources, at: bigint): Promise<ReplacementRecord | undefined> {
  const end = await endOfReplacements(log);
  for await (const record of readReplacements(log, schemas, { from: at, to: end }, signal)) {
    return record.offset === at && record.replacement.kind === 'PLANNED' ? record : undefined;
  }
  return undefined;
}

/** The inputs of a plan. They depend only on the objects listed when the plan was made, not on the caller or the time. */
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
