import type { Log, TopicPartition, Writer } from '../log/log.ts';
import type { Handler, HandlerFactory, InputPosition } from './handler.ts';

export interface Taken {
  readonly handler: Handler;
  readonly writer: Writer;
  /** Where to read on, in the order of the topics. */
  readonly positions: readonly bigint[];
}

export interface TakeoverOptions {
  /** The primary first. */
  readonly topics: readonly string[];
  readonly partition: number;
  readonly log: Log;
  readonly group: string;
  readonly factory: HandlerFactory;
  readonly signal: AbortSignal;
  /** Default: `signal`. */
  readonly ending?: AbortSignal;
}

export function transactionalId(group: string, at: TopicPartition): string {
  return `${group}.${at.topic}.${at.partition}`;
}

/**
 * Takes a partition over. The order is what makes it safe:
 *
 *   1. open the writer: fences the previous owner and completes its last transaction, so from here on nothing of it can appear
 *   2. read the committed offsets: final, because of 1
 *   3. open the handler: it writes its barrier and restores what is committed up to it (processors), or finishes a planned cut (sinks)
 *   4. the caller reads on from the positions the handler returns, and only from there
 */
export async function takeOver(options: TakeoverOptions): Promise<Taken> {
  const { log, group, topics, partition, factory, signal, ending = signal } = options;
  const topic = topics[0] as string;
  const writer = await log.writer(transactionalId(group, { topic, partition }));
  let handler: Handler | undefined;
  try {
    const inputs: InputPosition[] = [];
    for (const each of topics) inputs.push(await inputPosition(log, group, { topic: each, partition }));
    signal.throwIfAborted();
    handler = factory({ ...(inputs[0] as InputPosition), partition, inputs, log, writer, group, signal, ending });
    return { handler, writer, positions: await handler.open() };
  } catch (error) {
    await handler?.[Symbol.asyncDispose]?.();
    await writer[Symbol.asyncDispose]();
    throw error;
  }
}

async function inputPosition(log: Log, group: string, { topic, partition }: TopicPartition): Promise<InputPosition> {
  const committed = (await log.committed(group, topic)).find((each) => each.partition === partition);
  const start = (await log.starts(topic))[partition] ?? 0n;
  return { topic, committed: committed && { offset: committed.offset, metadata: committed.metadata }, start };
}
