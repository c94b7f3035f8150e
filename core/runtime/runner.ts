import { setTimeout as delay } from 'node:timers/promises';
import { dispositionOf } from '../errors.ts';
import type { TaskMetrics } from '../observability/metrics.ts';
import type { Beat, HandlerFactory } from './handler.ts';
import { type Fetcher, type Log, partitionId, type TopicPartition } from './log.ts';
import { Task, type TaskEvent } from './task.ts';

export interface RunnerOptions {
  readonly log: Log;
  /** Processor or sink name; the consumer group is `millrace.<name>`. */
  readonly name: string;
  readonly topics: readonly string[];
  readonly factory: HandlerFactory;
  readonly metrics: (at: TopicPartition) => TaskMetrics;
  /** Upper bound of compressed bytes per partition and fetch. */
  readonly fetchBytes: number;
  /** Records that wait in a task's queue before fetching for it pauses. */
  readonly queueRecords: number;
  readonly now?: () => number;
  readonly onEvent?: (event: RunnerEvent) => void;
}

export type RunnerEvent =
  | (TaskEvent & { readonly name: string })
  | { readonly kind: 'assigned'; readonly name: string; readonly partitions: readonly TopicPartition[] }
  | { readonly kind: 'fetch failed'; readonly name: string; readonly error: unknown };

const idleWaitMs = 250;
/** With a task whose queue is full the long poll is cut short: its room must be used as soon as it is there. */
const busyWaitMs = 10;
const retryMs = 500;

export function groupOf(name: string): string {
  return `millrace.${name}`;
}

/** Runs one processor or sink in this process: a task per assigned partition, one fetch loop for all of them. */
export class Runner implements AsyncDisposable {
  /** Rejects with the first error that no retry can cure; resolves after an orderly end. */
  readonly done: Promise<void>;
  readonly #options: RunnerOptions;
  readonly #tasks = new Map<string, Task>();
  readonly #retired = new Set<Promise<void>>();
  readonly #stop = new AbortController();
  #membership: AsyncDisposable | undefined;
  #fail: (error: unknown) => void = () => undefined;
  #finish: () => void = () => undefined;
  #loop: Promise<void> | undefined;

  private constructor(options: RunnerOptions) {
    this.#options = options;
    this.done = new Promise((resolve, reject) => {
      this.#finish = resolve;
      this.#fail = reject;
    });
    this.done.catch(() => undefined);
  }

  static async start(options: RunnerOptions): Promise<Runner> {
    const runner = new Runner(options);
    runner.#membership = await options.log.join({
      group: groupOf(options.name),
      topics: options.topics,
      onAssigned: (partitions) => runner.#assign(partitions),
      onLost: (error) => runner.#fail(error),
    });
    runner.#loop = runner.#fetchLoop();
    return runner;
  }

  get tasks(): number {
    return this.#tasks.size;
  }

  /** Whether each assigned partition is taken over. */
  get ready(): boolean {
    return [...this.#tasks.values()].every((task) => task.wants !== undefined || task.full);
  }

  /**
   * Tells all tasks of a heartbeat, with the ends of their partitions as they are now: a record that was appended before the heartbeat
   * is before the end, whether its transaction's marker has been written yet or not.
   */
  async beat(beat: Beat): Promise<void> {
    const ends = new Map<string, readonly bigint[]>();
    for (const topic of this.#options.topics) ends.set(topic, await this.#options.log.ends(topic));
    for (const task of this.#tasks.values()) {
      const end = ends.get(task.at.topic)?.[task.at.partition];
      if (end !== undefined) task.beat(beat, end);
    }
  }

  /** Synchronous: after it returns, no task of a lost partition reads on. Partitions that stay are not touched. */
  #assign(partitions: readonly TopicPartition[]): void {
    if (this.#stop.signal.aborted) return;
    this.#options.onEvent?.({ kind: 'assigned', name: this.#options.name, partitions });
    const wanted = new Map(partitions.map((at) => [partitionId(at), at]));
    for (const [id, task] of this.#tasks) {
      if (wanted.has(id)) continue;
      this.#tasks.delete(id);
      task.abandon();
      this.#retire(task);
    }
    for (const [id, at] of wanted) {
      if (this.#tasks.has(id)) continue;
      this.#tasks.set(id, this.#startTask(at));
    }
  }

  #startTask(at: TopicPartition): Task {
    const { log, name, factory, metrics, queueRecords, onEvent } = this.#options;
    const task = new Task({
      ...at,
      log,
      group: groupOf(name),
      factory,
      metrics: metrics(at),
      queueRecords,
      now: this.#options.now ?? Date.now,
      onEvent: (event) => onEvent?.({ ...event, name }),
    });
    task.done.catch((error) => this.#fail(error));
    return task;
  }

  #retire(task: Task): void {
    const gone = task.done.catch(() => undefined).finally(() => this.#retired.delete(gone));
    this.#retired.add(gone);
  }

  async #fetchLoop(): Promise<void> {
    const { log, name, onEvent } = this.#options;
    const { signal } = this.#stop;
    await using fetcher = log.fetcher();
    while (!signal.aborted) {
      try {
        await this.#fetchOnce(fetcher);
      } catch (error) {
        if (signal.aborted) return;
        onEvent?.({ kind: 'fetch failed', name, error });
        if (dispositionOf(error) === 'stop') {
          this.#fail(error);
          return;
        }
        await delay(retryMs, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  async #fetchOnce(fetcher: Fetcher): Promise<void> {
    const { signal } = this.#stop;
    const tasks = [...this.#tasks.values()];
    const positions = tasks.map((task) => task.wants).filter((position) => position !== undefined);
    if (positions.length === 0) {
      await delay(busyWaitMs, undefined, { signal }).catch(() => undefined);
      return;
    }
    const busy = tasks.some((task) => task.wants === undefined);
    const fetched = await fetcher.fetch(positions, {
      maxWaitMs: busy ? busyWaitMs : idleWaitMs,
      maxBytesPerPartition: this.#options.fetchBytes,
      signal,
    });
    for (const portion of fetched) this.#tasks.get(partitionId(portion))?.deliver(portion);
  }

  /** Ends in order: commits what is done, then leaves the group, so that a successor starts where this one stopped. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#stop.signal.aborted) {
      this.#stop.abort();
      await Promise.all([...this.#tasks.values()].map((task) => task[Symbol.asyncDispose]()));
      await Promise.all(this.#retired);
      await this.#loop;
      await this.#membership?.[Symbol.asyncDispose]();
      this.#finish();
    }
  }
}
