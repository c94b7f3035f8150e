import type { ArchivedTopic } from '../../../schemas/topics.ts';
import type { Schemas } from '../../avro/schemas.ts';
import type { Log } from '../../log/log.ts';
import { newestObject } from './newest.ts';

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
  return (await newestObject(log, schemas, topic, partition, { signal }))?.object.to_offset;
}
