import type { Clock } from '../base/clock.ts';
import { MillraceError } from '../base/errors.ts';
import { type Fetched, type Log, type Position, partitionId, type TopicPartition } from '../log/log.ts';
import type { TaskMetrics } from '../observability/metrics.ts';
import type { Beat, Handler, HandlerFactory } from './handler.ts';
import { Queue } from './queue.ts';
import { takeOver } from './takeover.ts';

const tickMs = 20;
/** A fenced owner waits longer than a group heartbeat, so that it has heard of a rebalance before it fences the new owner. */
const fencedWaitMs = 1_500;
const firstRetryMs = 200;
const longestRetryMs = 5_000;
/** How long a task with several inputs waits for one that lags behind, so that their records are taken in the order of their timestamps. */
const mergeWaitMs = 250;

export interface TaskOptions {
  /** Read together, the same partition of each. The first is the primary one: it names the task. */
  readonly topics: readonly [string, ...string[]];
  readonly partition: number;
  readonly log: Log;
  readonly group: string;
  readonly factory: HandlerFactory;
  readonly metrics: TaskMetrics;
  readonly queueRecords: number;
  /** This task's part of the bytes that may wait in queues. */
  readonly queueBytes: () => number;
  readonly clock: Clock;
  readonly onEvent: (event: TaskEvent) => void;
}

export type TaskEvent = TopicPartition &
  (
    | { readonly kind: 'running'; readonly positions: readonly Position[] }
    | { readonly kind: 'interrupted'; readonly error: unknown; readonly retryMs: number }
    | { readonly kind: 'closed' }
  );

/** By topic. */
type Ends = ReadonlyMap<string, bigint>;

/**
 * One partition of the inputs of one processor or sink: takes it over, hands fetched records to the handler one portion at a time, and after a
 * failure that a retry can cure throws the handler away and takes over again. `done` rejects with anything else.
 */
export class Task implements AsyncDisposable {
  readonly done: Promise<void>;
  readonly at: TopicPartition;
  readonly #options: TaskOptions;
  readonly #stop = new AbortController();
  readonly #ending = new AbortController();
  #queue = new Queue();
  /** Where to fetch each input; undefined while nothing may be fetched. */
  #fetchAt: Map<string, bigint> | undefined;
  /** Of each input, as the last fetch told. */
  readonly #ends = new Map<string, bigint>();
  #beat: { readonly beat: Beat; readonly ends: Ends } | undefined;
  #tables: ReadonlyMap<string, readonly bigint[]> | undefined;
  #closing = false;
  #paused = false;

  constructor(options: TaskOptions) {
    this.#options = options;
    this.at = { topic: options.topics[0], partition: options.partition };
    this.done = this.#run().finally(() => options.metrics[Symbol.dispose]());
  }

  /** By order of an operator: it keeps its partition and commits what it has taken, and takes nothing more: no record, heartbeat or table. */
  get paused(): boolean {
    return this.#paused;
  }

  set paused(paused: boolean) {
    this.#paused = paused;
    this.#options.metrics.paused(paused);
    this.#queue.wake();
  }

  /** What to fetch next: nothing while taking over or paused, and nothing of an input whose queue is full. */
  get wants(): readonly Position[] {
    const { topics, partition, queueRecords } = this.#options;
    const queueBytes = this.#options.queueBytes() / topics.length;
    const wanted: Position[] = [];
    if (this.#paused) return wanted;
    for (const [topic, offset] of this.#fetchAt ?? []) {
      const full = this.#queue.records(topic) >= queueRecords || this.#queue.bytes(topic) >= queueBytes;
      if (!full) wanted.push({ topic, partition, offset });
    }
    return wanted;
  }

  /** Whether the partition is taken over. */
  get ready(): boolean {
    return this.#fetchAt !== undefined;
  }

  /** Takes fetched records, unless they answer a question that a takeover has made obsolete. */
  deliver(fetched: Fetched): void {
    const { topic } = fetched;
    this.#ends.set(topic, fetched.end);
    if (fetched.from !== this.#fetchAt?.get(topic)) return;
    this.#fetchAt.set(topic, fetched.next);
    this.#queue.push(fetched);
  }

  /** @param ends the ends of the inputs, asked for after the heartbeat was seen: records before them precede the heartbeat. */
  beat(beat: Beat, ends: Ends): void {
    if (this.#fetchAt === undefined || this.#beat !== undefined) return;
    this.#beat = { beat, ends };
    this.#queue.wake();
  }

  /** @param ends of all partitions of each table. */
  tables(ends: ReadonlyMap<string, readonly bigint[]>): void {
    if (this.#fetchAt === undefined) return;
    this.#tables = ends;
    this.#queue.wake();
  }

  /** Stops in order: what is done is committed. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing = true;
    this.#fetchAt = undefined;
    this.#ending.abort(new MillraceError('FENCED', `${partitionId(this.at)} ends`));
    this.#queue.wake();
    await this.done.catch(() => undefined);
  }

  /** Stops at once, without a commit: the partition belongs to somebody else. */
  abandon(): void {
    this.#closing = true;
    this.#fetchAt = undefined;
    const reason = new MillraceError('FENCED', `${partitionId(this.at)} is assigned elsewhere`);
    this.#stop.abort(reason);
    this.#ending.abort(reason);
    this.#queue.wake();
  }

  async #run(): Promise<void> {
    const { onEvent, clock } = this.#options;
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
        onEvent({ kind: 'interrupted', ...this.at, error, retryMs: waitMs });
        await clock.sleep(waitMs, this.#stop.signal);
      }
    }
    onEvent({ kind: 'closed', ...this.at });
  }

  /** One ownership, from takeover to its end. All memory of it is local, so a failure leaves nothing behind. */
  async #own(onProgress: () => void): Promise<void> {
    const { topics, partition, onEvent, clock } = this.#options;
    const { handler, writer, positions } = await takeOver({
      ...this.#options,
      signal: this.#stop.signal,
      ending: this.#ending.signal,
    });
    try {
      this.#queue = new Queue();
      this.#beat = undefined;
      this.#tables = undefined;
      if (this.#closing) return;
      const reached = new Map(topics.map((topic, i) => [topic, positions[i] as bigint]));
      this.#fetchAt = new Map(reached);
      const at = [...reached].map(([topic, offset]) => ({ topic, partition, offset }));
      onEvent({ kind: 'running', ...this.at, positions: at });
      let tickedMs = 0;
      let behindSinceMs: number | undefined;
      while (!this.#closing) {
        // By the clock: the queue wakes up much more often than each tick.
        behindSinceMs = this.#lagging() ? (behindSinceMs ?? clock.now()) : undefined;
        const waits = this.#paused || (behindSinceMs !== undefined && clock.now() - behindSinceMs < mergeWaitMs);
        const fetched = waits ? undefined : this.#queue.shift();
        if (fetched !== undefined) {
          const expected = reached.get(fetched.topic);
          if (fetched.from !== expected) throw this.#mismatch(fetched, expected);
          await handler.process(fetched);
          reached.set(fetched.topic, fetched.next);
          onProgress();
          this.#showLag(reached, fetched);
        }
        if (!this.#paused) await this.#pass(handler, reached);
        if (clock.now() - tickedMs >= tickMs) {
          tickedMs = clock.now();
          await handler.tick(tickedMs);
        }
        if (this.#queue.empty || fetched === undefined) await this.#queue.wait(clock, tickMs);
      }
      if (!this.#stop.signal.aborted) await handler.close();
    } finally {
      this.#fetchAt = undefined;
      await handler[Symbol.asyncDispose]?.();
      await writer[Symbol.asyncDispose]();
    }
  }

  /** Hands on the waiting heartbeat, if everything before it is processed, and news of tables. */
  async #pass(handler: Handler, reached: ReadonlyMap<string, bigint>): Promise<void> {
    const beat = this.#takeBeat(reached);
    if (beat !== undefined) await handler.beat?.(beat);
    const tables = this.#tables;
    this.#tables = undefined;
    if (tables !== undefined) await handler.tables?.(tables);
  }

  /** Whether there are records of one input while another one, with nothing in the queue, is known to have more. */
  #lagging(): boolean {
    if (this.#options.topics.length === 1 || this.#queue.empty) return false;
    for (const [topic, at] of this.#fetchAt ?? []) {
      if (this.#queue.records(topic) === 0 && at < (this.#ends.get(topic) ?? 0n)) return true;
    }
    return false;
  }

  /** The waiting heartbeat, once everything before it is processed. */
  #takeBeat(reached: ReadonlyMap<string, bigint>): Beat | undefined {
    if (this.#beat === undefined) return undefined;
    const { beat, ends } = this.#beat;
    for (const [topic, at] of reached) if (at < (ends.get(topic) ?? 0n)) return undefined;
    this.#beat = undefined;
    return beat;
  }

  #showLag(reached: ReadonlyMap<string, bigint>, fetched: Fetched): void {
    let behind = 0n;
    for (const [topic, at] of reached) {
      const end = this.#ends.get(topic) ?? at;
      if (end > at) behind += end - at;
    }
    const last = fetched.records.at(-1);
    const now = this.#options.clock.now();
    const seconds = behind <= 0n || last === undefined ? 0 : (now - Number(last.timestamp)) / 1000;
    this.#options.metrics.lag(behind, seconds);
  }

  #mismatch({ topic, partition, from }: Fetched, expected: bigint | undefined): MillraceError {
    return new MillraceError(
      'POSITION_MISMATCH',
      `${partitionId({ topic, partition })}: read from ${from} where ${expected} was due`,
      {
        remedy: 'this is a defect of Millrace: nothing was committed; please report it with the log',
      },
    );
  }
}
