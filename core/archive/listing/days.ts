import { type ArchivePartition, archivePartitionSchema } from '../../../schemas/gen/archive_partition.ts';
import { AvroDecoder } from '../../avro/decoder.ts';
import type { Schemas } from '../../avro/schemas.ts';
import { prepareDecoder, valuesOf } from '../../log/decoding.ts';
import type { Log } from '../../log/log.ts';

/** Where the days of the archive tell how they stand. It has one partition. */
export const daysTopic = 'archive.partitions';

const fetchOptions = { maxWaitMs: 250, maxBytesPerPartition: 1 << 20 };

/**
 * How each day of the archive stands now, by topic and day. A step of the manifests is one transaction and is read whole: what one day's record
 * says that manifests cover is in the records of the other days, too.
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
  await using fetcher = log.fetcher();
  let offset = from;
  // A record right before the position: the end of its transaction has not been passed yet.
  let unfinished = false;
  while (offset < to || unfinished) {
    signal.throwIfAborted();
    const [fetched] = await fetcher.fetch([{ topic: daysTopic, partition: 0, offset }], { ...fetchOptions, signal });
    if (fetched === undefined) {
      // Records that were written without a transaction.
      if (offset >= to) break;
      continue;
    }
    const { records, next } = fetched;
    offset = next;
    unfinished = records.at(-1)?.offset === next - 1n;
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
