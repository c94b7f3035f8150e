import { join } from 'node:path';
import { planOf } from '../../../core/archive/keys.ts';
import type { ListedObject } from '../../../core/archive/listing/objects.ts';
import { Copies } from '../../../core/archive/reading/copies.ts';
import type { ObjectStore } from '../../../core/archive/s3/store.ts';
import { MillraceError } from '../../../core/base/errors.ts';
import { sha256Of } from '../../../core/values/sha256.ts';
import type { ArchivedTopic } from '../../../schemas/topics.ts';
import { groupOf } from '../plan/groups.ts';
import { planAt, plannedInputs } from '../plan/plan.ts';
import type { ArchiveSources } from '../sources.ts';
import { bytesOf, rewrite } from './rewrite.ts';
import { withScratch } from './scratch.ts';

/** The inputs of the compaction that wrote this object; undefined if the log does not have its plan. */
export async function compactedOf(
  sources: Omit<ArchiveSources, 'store'>,
  object: ListedObject,
): Promise<readonly ListedObject[] | undefined> {
  const at = planOf(object.key);
  const plan = at === undefined ? undefined : await planAt(sources, at);
  return plan && plannedInputs(sources, plan, groupOf(object.topic as ArchivedTopic, object));
}

/**
 * Produces a compacted object again. The log has the plan and the objects listed at that time, and equal inputs give equal bytes.
 *
 * @param inputs gives the inputs of the compaction
 * @throws MillraceError REPAIR_IMPOSSIBLE: the log does not have the plan, or the bytes differ. Errors of `inputs`.
 */
export async function rebuildCompacted(
  sources: Omit<ArchiveSources, 'store'>,
  object: ListedObject,
  inputs: Pick<ObjectStore, 'get'>,
  scratchDir: string,
): Promise<Buffer> {
  const { signal } = sources;
  const { key, sha256 } = object;
  const at = planOf(key);
  const plan = at === undefined ? undefined : await planAt(sources, at);
  if (plan === undefined) throw impossible(`${key}: archive.replacements has no plan for it`);
  const group = groupOf(object.topic as ArchivedTopic, object);
  const planned = await plannedInputs(sources, plan, group);
  // An input may itself be a compacted object.
  const input = async (inputKey: string) => {
    const stored = await inputs.get(inputKey, signal);
    const known = planned.find((each) => each.key === inputKey);
    if (known === undefined || planOf(inputKey) === undefined) return stored;
    if (stored !== undefined && sha256Of(stored.bytes) === known.sha256) return stored;
    const bytes = await rebuildCompacted(sources, known, inputs, scratchDir);
    return { bytes, metadata: {} };
  };
  return withScratch(scratchDir, async (dir) => {
    const copies = new Copies({ store: { get: input }, dir: join(dir, 'inputs') });
    const fetched = await copies.fetch(planned, { signal });
    const targetBytes = plan.replacement.target_bytes;
    const files = await rewrite({ group, inputs: fetched, plan: plan.offset, targetBytes, dir, signal });
    const same = files.find((file) => file.sha256 === sha256);
    if (same === undefined) throw impossible(`${key}: its inputs now give other bytes`);
    return bytesOf(same);
  });
}

function impossible(message: string): MillraceError {
  return new MillraceError('REPAIR_IMPOSSIBLE', message, {
    remedy:
      'run the repair with the version of Millrace and Node that compacted it; millrace verify names the missing rows meanwhile',
  });
}
