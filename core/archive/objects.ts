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

/** A portion of object records of one partition of an objects topic. */
export interface ObjectRecords {
  readonly partition: number;
  readonly records: readonly { readonly offset: bigint; readonly timestamp: bigint; readonly object: ArchiveObject }[];
}

/**
 * The object records of `[from, to)`, partition by partition, each in the order of offsets. Waits for transactions that are open there.
 *
 * @param from by partition; a partition without one is read from its start
 * @throws as `listObjects`
 */
export async function* readObjects(
  log: Log,
  schemas: Schemas,
  topic: ArchivedTopic,
  range: { readonly from: readonly bigint[]; readonly to: readonly bigint[] },
  signal: AbortSignal,
): AsyncGenerator<ObjectRecords> {
  const decoder = new AvroDecoder<ArchiveObject>(schemas, archiveObjectSchema);
  const name = objectsTopic(topic);
  for (const [partition, to] of range.to.entries()) {
    const at = { topic: name, partition, from: range.from[partition] ?? 0n, to };
    for await (const records of readRange(log, at, { ...fetchOptions, signal })) {
      await prepareDecoder(decoder, valuesOf(records), signal);
      const found: ObjectRecords['records'][number][] = [];
      for (const { offset, timestamp, value, unreadable } of records) {
        if (unreadable !== undefined) throw unreadable;
        if (value !== null) found.push({ offset, timestamp, object: decoder.decode(value) });
      }
      yield { partition, records: found };
    }
  }
}

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
  const name = objectsTopic(topic);
  const [from, to] = await Promise.all([log.starts(name), log.ends(name)]);
  const found: ArchiveObject[] = [];
  for await (const { records } of readObjects(log, schemas, topic, { from, to }, signal)) {
    for (const { object } of records) {
      if (options.day === undefined || object.day === options.day) found.push(object);
    }
  }
  return found;
}
