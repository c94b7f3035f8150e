import { readDays } from '../../core/archive/listing/days.ts';
import { readObjects } from '../../core/archive/listing/objects.ts';
import {
  formatManifest,
  formatSuccess,
  lostRowsOf,
  withObjects,
  withReplacements,
} from '../../core/archive/manifest.ts';
import { type ReplacementHead, readReplacements, takesOff } from '../../core/archive/replacements.ts';
import type { ObjectStore } from '../../core/archive/s3/store.ts';
import type { Schemas } from '../../core/avro/schemas.ts';
import { MillraceError } from '../../core/base/errors.ts';
import type { Log } from '../../core/log/log.ts';
import { sha256Of } from '../../core/values/sha256.ts';
import type { ArchiveObject } from '../../schemas/gen/archive_object.ts';
import type { ArchivePartition } from '../../schemas/gen/archive_partition.ts';
import type { ArchiveReplacement } from '../../schemas/gen/archive_replacement.ts';
import { type ArchivedTopic, objectsTopic } from '../../schemas/topics.ts';
import { putDayFile } from './writer.ts';

export interface DayRepairOptions {
  readonly log: Log;
  readonly schemas: Schemas;
  readonly store: ObjectStore;
  readonly signal: AbortSignal;
}

/** A day's newest manifest or mark of success that the bucket lacks, or has with other bytes than were committed. */
export interface DayFinding {
  readonly key: string;
  readonly state: 'missing' | 'damaged';
  /** The committed bytes. */
  readonly bytes: Buffer;
}

/**
 * Compares each day's newest manifest and mark with archive.partitions. The newest manifest lists the whole day, so earlier ones are not
 * checked. Changes nothing.
 *
 * @throws MillraceError REPAIR_IMPOSSIBLE: the log cannot produce a missing manifest. KAFKA_UNREACHABLE, S3_….
 */
export async function examineDays(
  options: DayRepairOptions,
  topics: readonly ArchivedTopic[],
  only?: string,
): Promise<readonly DayFinding[]> {
  const { log, schemas, store, signal } = options;
  const findings: DayFinding[] = [];
  for (const day of await readDays(log, schemas, signal)) {
    if (!topics.some((topic) => topic === day.topic) || (only !== undefined && only !== day.day)) continue;
    const manifest = await store.get(day.manifest_key, signal);
    if (manifest === undefined || sha256Of(manifest.bytes) !== day.manifest_sha256) {
      const state = manifest === undefined ? 'missing' : 'damaged';
      findings.push({ key: day.manifest_key, state, bytes: await manifestOf(options, day) });
    }
    if (day.success_key === null) continue;
    const success = await store.get(day.success_key, signal);
    const bytes = formatSuccess(day);
    if (success?.bytes.equals(bytes) === true) continue;
    findings.push({ key: day.success_key, state: success === undefined ? 'missing' : 'damaged', bytes });
  }
  return findings;
}

/** Writes the file. A file that is correct by now is left unchanged. */
export async function repairDay(options: DayRepairOptions, { key, bytes }: DayFinding): Promise<void> {
  const { store, signal } = options;
  const stored = await store.get(key, signal);
  if (stored?.bytes.equals(bytes) === true) return;
  if (stored !== undefined) await store.remove([key], signal);
  await putDayFile(options, key, bytes);
}

/** Builds the bytes of a committed manifest from the records that it covers. */
async function manifestOf({ log, schemas, signal }: DayRepairOptions, day: ArchivePartition): Promise<Buffer> {
  const topic = day.topic as ArchivedTopic;
  const { epoch, manifest: number, covers, replacements, manifest_key: key } = day;
  const objects: ArchiveObject[] = [];
  const range = {
    from: await log.starts(objectsTopic(topic)),
    to: covers,
    days: (each: string) => each === day.day,
  };
  for await (const { records } of readObjects(log, schemas, topic, range, signal)) {
    objects.push(...records.map(({ object }) => object));
  }
  const replaced: ArchiveReplacement[] = [];
  const own = (head: ReplacementHead) => head.topic === topic && head.day === day.day && takesOff(head) !== undefined;
  const before = { from: 0n, to: replacements };
  for await (const { replacement } of readReplacements(log, schemas, before, signal, own)) replaced.push(replacement);
  const files = withReplacements(withObjects([], objects), replaced);
  const lostRows = lostRowsOf(replaced);
  const bytes = formatManifest({ epoch, topic, day: day.day, number, covers, replacements, lostRows, files });
  if (sha256Of(bytes) === day.manifest_sha256) return bytes;
  throw new MillraceError('REPAIR_IMPOSSIBLE', `${key}: the log gives another manifest than was committed`, {
    remedy: 'the next manifest of the day lists all that is listed; until then read the list: millrace archive files',
  });
}
