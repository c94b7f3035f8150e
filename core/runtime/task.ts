import { setTimeout as delay } from 'node:timers/promises';
import { MillraceError } from '../errors.ts';
import type { TaskMetrics } from '../observability/metrics.ts';
import type { Beat, HandlerFactory } from './handler.ts';
import { type Fetched, type Log, type Position, partitionId, type TopicPartition } from './log.ts';
import { Queue } from './queue.ts';
import { takeOver } from './takeover.ts';

const tickMs = 20;
/** A fenced owner waits longer than a group heartbeat, so that it has heard of a rebalance before it fences the new owner. */
const fencedWaitMs = 1_500;
const firstRetryMs = 200;
const longestRetryMs = 5_000;

export interface TaskOptions extends TopicPartition {
  readonly log: Log;
  readonly group: string;
  readonly factory: HandlerFactory;
  readonly metrics: TaskMetrics;
  readonly queueRecords: number;
  readonly now: () => number;
  readonly onEvent: (event: TaskEvent) => void;
}

export type TaskEvent = TopicPartition &
  (
    | { readonly kind: 'running'; readonly position: bigint }
    | { readonly kind: 'interrupted'; readonly error: unknown; readonly retryMs: number }
    | { readonly kind: 'closed' }
  );

/**
 * One partition of one processor or sink: takes it over, hands fetched records to the handler one portion at a time, and after a
 * failure that a retry can cure throws the handler away and takes over again. `done` rejects with anything else.
 */
export class Task implements AsyncDisposable {
  readonly done: Promise<void>;
  readonly at: TopicPartition;
  readonly #options: TaskOptions;
  readonly #stop = new AbortController();
  #queue = new Queue();
  /** Where to fetch; undefined while nothing may be fetched. */
  #fetchAt: bigint | undefined;
  #end = 0n;
  #beat: { readonly beat: Beat; readonly end: bigint } | undefined;
  #closing = false;

  constructor(options: TaskOptions) {
    this.#options = options;
    this.at = { topic: options.topic, partition: options.partition };
    this.done = this.#run().finally(() => options.metrics[Symbol.dispose]());
  }

  /** What to fetch next; undefined while taking over or with a full queue. */
  get wants(): Position | undefined {
    if (this.#fetchAt === undefined || this.#queue.records >= this.#options.queueRecords) return undefined;
    return { topic: this.#options.topic, partition: this.#options.partition, offset: this.#fetchAt };
  }

  /** A full queue: fetching for this task waits for its handler. */
  get full(): boolean {
    return this.#fetchAt !== undefined && this.#queue.records >= this.#options.queueRecords;
  }

  /** Takes fetched records, unless they answer a question that a takeover has made obsolete. */
  deliver(fetched: Fetched): void {
    this.#end = fetched.end;
    if (fetched.from !== this.#fetchAt) return;
    this.#fetchAt = fetched.next;
    this.#queue.push(fetched);
  }

  /** @param end the partition's end, asked for after the heartbeat was seen: records before it precede the heartbeat. */
  beat(beat: Beat, end: bigint): void {
    if (this.#fetchAt === undefined || this.#beat !== undefined) return;
    this.#beat = { beat, end };
    this.#queue.wake();
  }

  /** Stops in order: what is done is committed. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing = true;
    this.#fetchAt = undefined;
    this.#queue.wake();
    await this.done.catch(() => undefined);
  }

  /** Stops at once, without a commit: the partition belongs to somebody else. */
  abandon(): void {
    this.#closing = true;
    this.#fetchAt = undefined;
    this.#stop.abort(new MillraceError('FENCED', `${partitionId(this.#options)} is assigned elsewhere`));
    this.#queue.wake();
  }

  async #run(): Promise<void> {
    const { onEvent, topic, partition } = this.#options;
    let retryMs = firstRetryMs;
    while (!this.#closing) {
      try {
        await this.#own(() => {
          retryMs = firstRetryMs;
        });
      } catch (error) {
        if (this.#closing) break;
        if (!(error instanceof MillraceError) || error.disposition !== 'retry') throw error;
        const waitMs = error.code === 'FENCED' ? Math.max(fencedWaitMs, retryMs) : retryMs;
        retryMs = Math.min(retryMs * 2, longestRetryMs);
        onEvent({ kind: 'interrupted', topic, partition, error, retryMs: waitMs });
        await delay(waitMs, undefined, { signal: this.#stop.signal }).catch(() => undefined);
      }
    }
    onEvent({ kind: 'closed', topic, partition });
  }

  /** One ownership, from takeover to its end. All memory of it is local, so a failure leaves nothing behind. */
  async #own(onProgress: () => void): Promise<void> {
    const { topic, partition, onEvent } = this.#options;
    const { handler, writer, position } = await takeOver({ ...this.#options, signal: this.#stop.signal });
    try {
      this.#queue = new Queue();
      this.#beat = undefined;
      if (this.#closing) return;
      this.#fetchAt = position;
      onEvent({ kind: 'running', topic, partition, position });
      let reached = position;
      let tickedMs = 0;
      while (!this.#closing) {
        const fetched = this.#queue.shift();
        if (fetched !== undefined) {
          if (fetched.from !== reached) throw this.#mismatch(fetched.from, reached);
          await handler.process(fetched);
          reached = fetched.next;
          onProgress();
          this.#showLag(reached, fetched);
        }
        const { now } = this.#options;
        const beat = this.#takeBeat(reached);
        if (beat !== undefined) await handler.beat?.(beat);
        if (now() - tickedMs >= tickMs) {
          tickedMs = now();
          await handler.tick(tickedMs);
        }
        if (this.#queue.length === 0) await this.#queue.wait(tickMs);
      }
      if (!this.#stop.signal.aborted) await handler.close();
    } finally {
      this.#fetchAt = undefined;
      await writer[Symbol.asyncDispose]();
    }
  }

  /** The waiting heartbeat, once everything before it is processed. */
  #takeBeat(reached: bigint): Beat | undefined {
    if (this.#beat === undefined || reached < this.#beat.end) return undefined;
    const { beat } = this.#beat;
    this.#beat = undefined;
    return beat;
  }

  #showLag(reached: bigint, fetched: Fetched): void {
    const behind = this.#end - reached;
    const last = fetched.records.at(-1);
    const seconds = behind <= 0n || last === undefined ? 0 : (this.#options.now() - Number(last.timestamp)) / 1000;
    this.#options.metrics.lag(behind, seconds);
  }

  #mismatch(from: bigint, expected: bigint): MillraceError {
    return new MillraceError(
      'POSITION_MISMATCH',
      `${partitionId(this.#options)}: read from ${from} where ${expected} was due`,
      {
        remedy: 'this is a defect of Millrace: nothing was committed; please report it with the log',
      },
    );
  }
}
