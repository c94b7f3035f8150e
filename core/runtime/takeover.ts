import type { Handler, HandlerFactory, Ownership } from './handler.ts';
import type { Log, TopicPartition, Writer } from './log.ts';

export interface Taken {
  readonly handler: Handler;
  readonly writer: Writer;
  /** Where to read on. */
  readonly position: bigint;
}

export interface TakeoverOptions extends TopicPartition {
  readonly log: Log;
  readonly group: string;
  readonly factory: HandlerFactory;
  readonly signal: AbortSignal;
}

export function transactionalId(group: string, at: TopicPartition): string {
  return `${group}.${at.topic}.${at.partition}`;
}

/**
 * Takes a partition over. The order is what makes it safe:
 *
 *   1. open the writer: fences the previous owner and completes its last transaction, so from here on nothing of it can appear
 *   2. read the committed offset: final, because of 1
 *   3. open the handler: it writes its barrier and restores what is committed up to it (processors), or finishes a planned cut (sinks)
 *   4. the caller reads on from the position the handler returns, and only from there
 */
export async function takeOver(options: TakeoverOptions): Promise<Taken> {
  const { log, group, topic, partition, factory, signal } = options;
  const writer = await log.writer(transactionalId(group, { topic, partition }));
  try {
    const committed = (await log.committed(group, topic)).find((each) => each.partition === partition);
    const start = (await log.starts(topic))[partition] ?? 0n;
    signal.throwIfAborted();
    const ownership: Ownership = {
      log,
      writer,
      group,
      topic,
      partition,
      committed: committed && { offset: committed.offset, metadata: committed.metadata },
      start,
      signal,
    };
    const handler = factory(ownership);
    return { handler, writer, position: await handler.open() };
  } catch (error) {
    await writer[Symbol.asyncDispose]();
    throw error;
  }
}
