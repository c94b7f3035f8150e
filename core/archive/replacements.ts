/**
 * What takes objects off the archive's list and puts others in their place. One record is one replacement, whole: who reads the object
 * records up to any point and the replacements up to any point, in whichever order, has each row once. Keys never come back: what was
 * replaced once is never listed again.
 */
import type { ArchiveObject } from '../../schemas/gen/archive_object.ts';
import { type ArchiveReplacement, archiveReplacementSchema } from '../../schemas/gen/archive_replacement.ts';
import { AvroDecoder } from '../avro/decoder.ts';
import type { Schemas } from '../avro/schemas.ts';
import { prepareDecoder, valuesOf } from '../log/decoding.ts';
import { endsOf, type Log, readRange } from '../log/log.ts';

/** It has one partition: one order of all replacements. */
export const replacementsTopic = 'archive.replacements';

const fetchOptions = { maxWaitMs: 250, maxBytesPerPartition: 1 << 20 };

export interface ReplacementRecord {
  readonly offset: bigint;
  readonly replacement: ArchiveReplacement;
}

/** Where the topic ends now; 0n on a log of an earlier release, which has no such topic. */
export async function endOfReplacements(log: Log): Promise<bigint> {
  return (await endsOf(log, replacementsTopic))[0] ?? 0n;
}

/** Head of a replacement, without the keys and objects, which are long. */
export type ReplacementHead = Omit<ArchiveReplacement, 'replaced' | 'objects'>;

const headReader = {
  ...archiveReplacementSchema,
  fields: archiveReplacementSchema.fields.filter(({ name }) => name !== 'replaced' && name !== 'objects'),
};

/**
 * The records of `[from, to)`, in order. Waits for a transaction that is open there.
 *
 * @param wanted only these; the keys and objects of others are skipped, not decoded. Default: all.
 * @throws MillraceError KAFKA_UNREACHABLE; BAD_AVRO and the like when somebody else wrote into the topic.
 */
export async function* readReplacements(
  log: Log,
  schemas: Schemas,
  range: { readonly from: bigint; readonly to: bigint },
  signal: AbortSignal,
  wanted?: (head: ReplacementHead) => boolean,
): AsyncGenerator<ReplacementRecord> {
  if (range.from >= range.to) return;
  const decoder = new AvroDecoder<ArchiveReplacement>(schemas, archiveReplacementSchema);
  const heads = new AvroDecoder<ReplacementHead>(schemas, headReader);
  const at = { topic: replacementsTopic, partition: 0, ...range };
  for await (const records of readRange(log, at, { ...fetchOptions, signal })) {
    await prepareDecoder(decoder, valuesOf(records), signal);
    if (wanted !== undefined) await prepareDecoder(heads, valuesOf(records), signal);
    for (const { offset, value, unreadable } of records) {
      if (unreadable !== undefined) throw unreadable;
      if (value === null || wanted?.(heads.decode(value)) === false) continue;
      yield { offset, replacement: decoder.decode(value) };
    }
  }
}

/** What a record does that takes objects off the list; undefined of one that does not. */
export function takesOff({ kind }: Pick<ArchiveReplacement, 'kind'>): Replaced['kind'] | undefined {
  return kind === 'COMPACTED' || kind === 'EXPIRED' || kind === 'LOST' ? kind : undefined;
}

/** An object that is listed no more. */
export interface Replaced {
  /** `COMPACTED`: its rows are in another. `EXPIRED`: they were given up with their day. `LOST`: nothing could make it again. */
  readonly kind: 'COMPACTED' | 'EXPIRED' | 'LOST';
  /** Of the record in archive.replacements. */
  readonly offset: bigint;
}

/** The objects that a replacement lists. */
export function objectsOf({ epoch, topic, day, partition, objects }: ArchiveReplacement): readonly ArchiveObject[] {
  return objects.map((object) => ({ ...object, epoch, topic, day, partition: partition ?? 0, dead_letters: 0n }));
}
