import { type ArchiveObject, archiveObjectSchema } from '../../../schemas/gen/archive_object.ts';
import { type ArchivedTopic, objectsTopic } from '../../../schemas/topics.ts';
import { AvroDecoder } from '../../avro/decoder.ts';
import type { Schemas } from '../../avro/schemas.ts';
import { prepareDecoder, valuesOf } from '../../log/decoding.ts';
import type { Log, LogRecord } from '../../log/log.ts';
import { newestRecord } from '../../log/position.ts';

export interface NewestObject {
  /** Offset of its record in the objects topic. */
  readonly offset: bigint;
  /** When it was listed, milliseconds since 1970. */
  readonly timestamp: bigint;
  readonly object: ArchiveObject;
}

/**
 * The newest object record of one partition, also of an object that was replaced since; undefined when there is none. Reads backwards from the
 * end, so the cost does not grow with the list. Waits for a transaction that is open there.
 *
 * @param before first offset after what counts; default: the end
 * @throws as `listObjects`
 */
export async function newestObject(
  log: Log,
  schemas: Schemas,
  topic: ArchivedTopic,
  partition: number,
  { before, signal = new AbortController().signal }: { readonly before?: bigint; readonly signal?: AbortSignal } = {},
): Promise<NewestObject | undefined> {
  const isObject = ({ value, unreadable }: LogRecord): boolean => value !== null || unreadable !== undefined;
  const newest = await newestRecord(log, { topic: objectsTopic(topic), partition, before }, isObject, signal);
  if (newest === undefined) return undefined;
  if (newest.unreadable !== undefined) throw newest.unreadable;
  const decoder = new AvroDecoder<ArchiveObject>(schemas, archiveObjectSchema);
  await prepareDecoder(decoder, valuesOf([newest]), signal);
  const { offset, timestamp, value } = newest;
  return { offset, timestamp, object: decoder.decode(value as Buffer) };
}
