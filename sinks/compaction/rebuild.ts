import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { planOf } from '../../core/archive/keys.ts';
import { readListing } from '../../core/archive/objects.ts';
import { Copies } from '../../core/archive/reading/copies.ts';
import { endOfReplacements, readReplacements } from '../../core/archive/replacements.ts';
import { MillraceError } from '../../core/errors.ts';
import type { ObjectStore } from '../../core/s3/store.ts';
import type { ArchiveObject } from '../../schemas/gen/archive_object.ts';
import type { ArchiveReplacement } from '../../schemas/gen/archive_replacement.ts';
import { type ArchivedTopic, objectsTopic } from '../../schemas/topics.ts';
import { groupId, groupOf, inputsOf } from './groups.ts';
import { bytesOf, rewrite } from './rewrite.ts';
import { withScratch } from './scratch.ts';
import type { ArchiveSources } from './sources.ts';

/**
 * Makes an object that a compaction had made again: its plan, and what was listed then, are in the log, and the same inputs give the same
 * bytes.
 *
 * @param inputs gives the objects that the compaction had put together
 * @throws MillraceError REPAIR_IMPOSSIBLE: the log does not have the plan, or other bytes came out; what `inputs` throws.
 */
export async function rebuildCompacted(
  { log, schemas, signal }: Pick<ArchiveSources, 'log' | 'schemas' | 'signal'>,
  object: ArchiveObject,
  inputs: Pick<ObjectStore, 'get'>,
  scratchDir: string,
): Promise<Buffer> {
  const { key, sha256 } = object;
  const topic = object.topic as ArchivedTopic;
  const at = planOf(key);
  const plan = at === undefined ? undefined : await planAt(log, schemas, at, signal);
  if (at === undefined || plan === undefined) throw impossible(`${key}: archive.replacements has no plan for it`);
  const { covers, target_bytes: targetBytes } = plan;
  const ends = await log.ends(objectsTopic(topic));
  const range = { covers: ends.map((_, i) => (i === object.partition ? covers : 0n)), replacements: at };
  const then = await readListing(log, schemas, topic, range, signal);
  const group = groupOf(topic, object);
  const own = then.objects.filter((each) => groupId(groupOf(topic, each)) === groupId(group));
  // What it put together may have been made by a compaction itself.
  const input = async (inputKey: string) => {
    const stored = await inputs.get(inputKey, signal);
    const known = own.find((each) => each.key === inputKey);
    if (known === undefined || planOf(inputKey) === undefined) return stored;
    if (stored !== undefined && createHash('sha256').update(stored.bytes).digest('hex') === known.sha256) return stored;
    const bytes = await rebuildCompacted({ log, schemas, signal }, known, inputs, scratchDir);
    return { bytes, metadata: {} };
  };
  return withScratch(scratchDir, async (dir) => {
    const copies = new Copies({ store: { get: input }, dir: join(dir, 'inputs') });
    const fetched = await copies.fetch(inputsOf(own, targetBytes), { signal });
    const files = await rewrite({ group, inputs: fetched, plan: at, targetBytes, dir, signal });
    const same = files.find((file) => file.sha256 === sha256);
    if (same === undefined) throw impossible(`${key}: what it was made of gives other bytes now`);
    return bytesOf(same);
  });
}

async function planAt(
  log: ArchiveSources['log'],
  schemas: ArchiveSources['schemas'],
  at: bigint,
  signal: AbortSignal,
): Promise<ArchiveReplacement | undefined> {
  const end = await endOfReplacements(log);
  for await (const { offset, replacement } of readReplacements(log, schemas, { from: at, to: end }, signal)) {
    return offset === at && replacement.kind === 'PLANNED' ? replacement : undefined;
  }
  return undefined;
}

function impossible(message: string): MillraceError {
  return new MillraceError('REPAIR_IMPOSSIBLE', message, {
    remedy:
      'run the repair with the version of Millrace and Node that compacted it; millrace verify names what is missing meanwhile',
  });
}
