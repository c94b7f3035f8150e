import type { Fetcher, Log, LogRecord, TopicPartition } from '../../core/log/log.ts';

/** A fetch that returns nothing for this long is taken as blocked by an open transaction. The reader does not wait for that. */
const patienceMs = 250;

/**
 * The state of a reader in a partition: its next record; 'nothing' if only transaction markers are left; 'uncommitted' if an open
 * transaction blocks it.
 */
export type NextRecord = LogRecord | 'nothing' | 'uncommitted';

/**
 * The next record that a group has to read in each partition, below the given ends. Offsets alone are not enough, because transaction
 * markers take offsets too.
 *
 * @param ends by partition
 */
export async function* nextRecords(
  log: Log,
  fetcher: Fetcher,
  reader: { readonly group: string; readonly topic: string },
  ends: readonly bigint[],
  signal: AbortSignal,
): AsyncGenerator<{ readonly partition: number; readonly waiting: NextRecord }> {
  const { group, topic } = reader;
  const [starts, committed] = await Promise.all([log.starts(topic), log.committed(group, topic)]);
  const offsets = new Map(committed.map(({ partition, offset }) => [partition, offset]));
  for (const [partition, to] of ends.entries()) {
    const start = starts[partition] ?? 0n;
    const offset = offsets.get(partition) ?? start;
    const range = { topic, partition, from: offset < start ? start : offset, to };
    yield { partition, waiting: await firstOf(fetcher, range, signal) };
  }
}

async function firstOf(
  fetcher: Fetcher,
  { topic, partition, from, to }: TopicPartition & { readonly from: bigint; readonly to: bigint },
  signal: AbortSignal,
): Promise<NextRecord> {
  for (let offset = from; offset < to; ) {
    signal.throwIfAborted();
    const options = { maxWaitMs: patienceMs, maxBytesPerPartition: 65_536, signal };
    const [fetched] = await fetcher.fetch([{ topic, partition, offset }], options);
    if (fetched === undefined) return 'uncommitted';
    const first = fetched.records.find((record) => record.offset < to);
    if (first !== undefined) return first;
    offset = fetched.next;
  }
  return 'nothing';
}
