import { type ArchivePartition, archivePartitionSchema } from '../../schemas/gen/archive_partition.ts';
import { AvroDecoder } from '../avro/decoder.ts';
import type { Schemas } from '../avro/schemas.ts';
import { prepareDecoder, valuesOf } from '../runtime/decoding.ts';
import { type Log, readRange } from '../runtime/log.ts';

/** Where the days of the archive tell how they stand. It has one partition. */
export const daysTopic = 'archive.partitions';

const fetchOptions = { maxWaitMs: 250, maxBytesPerPartition: 1 << 20 };

/**
 * How each day of the archive stands now, by topic and day.
 *
 * @throws MillraceError KAFKA_UNREACHABLE, TOPIC_MISSING; BAD_AVRO and the like when somebody else wrote into the topic.
 */
export async function readDays(
  log: Log,
  schemas: Schemas,
  signal = new AbortController().signal,
): Promise<readonly ArchivePartition[]> {
  const decoder = new AvroDecoder<ArchivePartition>(schemas, archivePartitionSchema);
  const [[from = 0n], [to = 0n]] = await Promise.all([log.starts(daysTopic), log.ends(daysTopic)]);
  const days = new Map<string, ArchivePartition>();
  for await (const records of readRange(
    log,
    { topic: daysTopic, partition: 0, from, to },
    { ...fetchOptions, signal },
  )) {
    await prepareDecoder(decoder, valuesOf(records), signal);
    for (const { value, unreadable } of records) {
      if (unreadable !== undefined) throw unreadable;
      if (value === null) continue;
      const day = decoder.decode(value);
      days.set(dayId(day), day);
    }
  }
  return [...days].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, day]) => day);
}

/** The key of a day's records. */
export function dayId({ topic, day }: Pick<ArchivePartition, 'topic' | 'day'>): string {
  return `${topic}/${day}`;
}
