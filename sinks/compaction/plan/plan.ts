/** The plans of compactions, as they are in the log: what was decided, and from what. */

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

/** Offsets of the first step backwards; each further step takes twice as many. */
const firstStep = 16n;

/** The plan that was not finished. Each is finished before the next, so there is at most one. */
export async function pendingPlan({ log, schemas, signal }: LogSources): Promise<ReplacementRecord | undefined> {
  // Backwards: the newest step of a plan tells.
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
