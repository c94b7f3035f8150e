import type { Fetcher, Log, LogRecord, TopicPartition } from '../../core/log/log.ts';

/** How long a fetch that brings nothing is taken for "an open transaction is in the way", which is not waited for. */
const patienceMs = 250;

/** What a reader of a partition has before it: its next record; nothing but transaction markers; or what is not committed yet. */
export type Waiting = LogRecord | 'nothing' | 'uncommitted';

/**
 * What a group has yet to read of each partition, below the given ends. Offsets alone would not tell: transaction markers take some, too.
 *
 * @param ends by partition
 */
export async function* waitingOf(
  log: Log,
  fetcher: Fetcher,
  reader: { readonly group: string; readonly topic: string },
  ends: readonly bigint[],
  signal: AbortSignal,
): AsyncGenerator<{ readonly partition: number; readonly waiting: Waiting }> {
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
): Promise<Waiting> {
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
