import { type ArchiveObject, archiveObjectSchema } from '../../schemas/gen/archive_object.ts';
import { type ArchivedTopic, objectsTopic } from '../../schemas/topics.ts';
import { AvroDecoder } from '../avro/decoder.ts';
import type { Schemas } from '../avro/schemas.ts';
import { prepareDecoder, valuesOf } from '../runtime/decoding.ts';
import { type Log, readRange } from '../runtime/log.ts';

export interface ListOptions {
  /** Only objects of this day, `YYYY-MM-DD`. */
  readonly day?: string;
  readonly signal?: AbortSignal;
}

const fetchOptions = { maxWaitMs: 250, maxBytesPerPartition: 1 << 20 };

/**
 * The objects that the archive lists of a topic, as of now: the exact answer to "which files hold it". What is in the bucket and not
 * here is not visible yet, or was left behind by a cut that is being finished.
 *
 * In order of partition, then of the first offset of the cut, then of the day.
 *
 * @throws MillraceError KAFKA_UNREACHABLE, TOPIC_MISSING; BAD_AVRO and the like when somebody else wrote into the topic.
 */
export async function listObjects(
  log: Log,
  schemas: Schemas,
  topic: ArchivedTopic,
  options: ListOptions = {},
): Promise<ArchiveObject[]> {
  const signal = options.signal ?? new AbortController().signal;
  const decoder = new AvroDecoder<ArchiveObject>(schemas, archiveObjectSchema);
  const name = objectsTopic(topic);
  const [starts, ends] = await Promise.all([log.starts(name), log.ends(name)]);
  const found: ArchiveObject[] = [];
  for (const [partition, to] of ends.entries()) {
    const range = { topic: name, partition, from: starts[partition] ?? 0n, to };
    for await (const records of readRange(log, range, { ...fetchOptions, signal })) {
      await prepareDecoder(decoder, valuesOf(records), signal);
      for (const { value, unreadable } of records) {
        if (unreadable !== undefined) throw unreadable;
        if (value === null) continue;
        const object = decoder.decode(value);
        if (options.day === undefined || object.day === options.day) found.push(object);
      }
    }
  }
  return found;
}
