import { type ArchiveObject, archiveObjectSchema } from '../../schemas/gen/archive_object.ts';
import { type ArchivedTopic, objectsTopic } from '../../schemas/topics.ts';
import { AvroDecoder } from '../avro/decoder.ts';
import type { Schemas } from '../avro/schemas.ts';
import { prepareDecoder, valuesOf } from '../runtime/decoding.ts';
import type { Log, LogRecord } from '../runtime/log.ts';
import { newestRecord } from '../runtime/position.ts';

/**
 * The offset up to which the listed objects of a partition go: the end of its newest cut, read from the end of the objects topic. Undefined
 * where nothing was listed yet. Cuts without rows have no object: the sink may have committed more.
 *
 * @throws MillraceError KAFKA_UNREACHABLE, TOPIC_MISSING; BAD_AVRO and the like when somebody else wrote into the topic.
 */
export async function listedUpTo(
  log: Log,
  schemas: Schemas,
  topic: ArchivedTopic,
  partition: number,
  signal: AbortSignal = new AbortController().signal,
): Promise<bigint | undefined> {
  const isObject = ({ value, unreadable }: LogRecord): boolean => value !== null || unreadable !== undefined;
  const newest = await newestRecord(log, { topic: objectsTopic(topic), partition }, isObject, signal);
  if (newest === undefined) return undefined;
  if (newest.unreadable !== undefined) throw newest.unreadable;
  const decoder = new AvroDecoder<ArchiveObject>(schemas, archiveObjectSchema);
  await prepareDecoder(decoder, valuesOf([newest]), signal);
  return decoder.decode(newest.value as Buffer).to_offset;
}
