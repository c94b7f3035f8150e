import { type Clock, wallClock } from '../base/clock.ts';
import { dispositionOf, located, MillraceError } from '../base/errors.ts';
import { type Fetcher, type Log, partitionId, type TopicPartition } from '../log/log.ts';
import type { TaskMetrics } from '../observability/metrics.ts';
import type { Beat, HandlerFactory } from './handler.ts';
import { Task, type TaskEvent } from './task.ts';

/** What is run, on which log, and within which bounds. */
export interface RunnerOptions {
  readonly log: Log;
  /** Processor or sink name; the consumer group is `millrace.<name>`. */
  readonly name: string;
  /** Each entry is read by tasks of its own; topics of one entry are read together, the same partition of each by one task. */
  readonly inputs: readonly (readonly [string, ...string[]])[];
  /** Topics that each task reads whole. */
  readonly tables?: readonly string[];
  readonly factory: HandlerFactory;
  readonly metrics: (at: TopicPartition) => TaskMetrics;
  /** Upper bound of compressed bytes per partition and fetch. */
  readonly fetchBytes: number;
  /** Records that wait in a task's queue before fetching for it pauses. */
  readonly queueRecords: number;
  /** Bytes, as fetched, that wait in the queues of all tasks before fetching pauses; each task has an equal share. Default 64 MiB. */
  readonly queueBytes?: number;
  readonly clock?: Clock;
  /** Whether an operator has paused the tasks of a partition. Asked when a task starts, and at each `obey`. Default: never. */
  readonly isPaused?: (partition: number) => boolean;
  readonly onEvent?: (event: RunnerEvent) => void;
}

/** What a runner tells of itself, for logs. */
export type RunnerEvent =
  | (TaskEvent & { readonly name: string })
  | { readonly kind: 'assigned'; readonly name: string; readonly partitions: readonly TopicPartition[] }
  | { readonly kind: 'fetch failed'; readonly name: string; readonly error: unknown };

const idleWaitMs = 250;
/** With a task whose queue is full the long poll is cut short: its room must be used as soon as it is there. */
const busyWaitMs = 10;
const retryMs = 500;
const defaultQueueBytes = 64 * 1024 * 1024;
/** How often tables are asked for news. */
const tablesMs = 500;

export function groupOf(name: string): string {
  return `millrace.${name}`;
}

/** Runs one processor or sink in this process: a task per assigned partition, one fetch loop for all of them. */
export class Runner implements AsyncDisposable {
  /** Rejects with the first error that no retry can cure; resolves after an orderly end. */
  readonly done: Promise<void>;
  readonly #options: RunnerOptions;
  readonly #clock: Clock;
  readonly #tasks = new Map<string, Task>();
  readonly #retired = new Set<Promise<void>>();
  readonly #stop = new AbortController();
  #membership: AsyncDisposable | undefined;
  #fail: (error: unknown) => void = () => undefined;
  #finish: () => void = () => undefined;
  #loops: Promise<unknown> | undefined;
  #ended: Promise<void> | undefined;

  private constructor(options: RunnerOptions) {
    this.#options = options;
    this.#clock = options.clock ?? wallClock;
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
      topics: options.inputs.flat(),
      onAssigned: (partitions) => runner.#assign(partitions),
      onLost: (error) => runner.#fail(error),
    });
    runner.#loops = Promise.all([runner.#fetchLoop(), runner.#tableLoop()]);
    return runner;
  }

  get tasks(): number {
    return this.#tasks.size;
  }

  /** Whether each assigned partition is taken over. */
  get ready(): boolean {
    return [...this.#tasks.values()].every((task) => task.ready);
  }

  /**
   * Tells all tasks of a heartbeat, with the ends of their partitions as they are now: a record that was appended before the heartbeat
   * is before the end, whether its transaction's marker has been written yet or not.
   */
  async beat(beat: Beat): Promise<void> {
    const ends = new Map<string, readonly bigint[]>();
    for (const topic of this.#options.inputs.flat()) ends.set(topic, await this.#options.log.ends(topic));
    for (const task of this.#tasks.values()) {
      const { partition } = task.at;
      task.beat(beat, new Map([...ends].map(([topic, all]) => [topic, all[partition] ?? 0n])));
    }
  }

  /** Operators' orders have changed: pauses and resumes tasks accordingly. */
  obey(): void {
    for (const task of this.#tasks.values()) {
      const paused = this.#options.isPaused?.(task.at.partition) ?? false;
      if (paused !== task.paused) task.paused = paused;
    }
  }

  /** Synchronous: after it returns, no task of a lost partition reads on. Partitions that stay are not touched. */
  #assign(partitions: readonly TopicPartition[]): void {
    if (this.#stop.signal.aborted) return;
    this.#options.onEvent?.({ kind: 'assigned', name: this.#options.name, partitions });
    const wanted = new Map(this.#tasksOf(partitions).map((at) => [partitionId(at), at]));
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

  /** A task for each partition of a primary input: the assignor gives the same partition of the others along with it. */
  #tasksOf(partitions: readonly TopicPartition[]): readonly TopicPartition[] {
    const primaries = new Set(this.#options.inputs.map(([primary]) => primary));
    return partitions.filter(({ topic }) => primaries.has(topic));
  }

  #startTask(at: TopicPartition): Task {
    const { log, name, factory, metrics, queueRecords, queueBytes = defaultQueueBytes, onEvent } = this.#options;
    const topics = this.#options.inputs.find(([primary]) => primary === at.topic) ?? [at.topic];
    const task = new Task({
      topics,
      partition: at.partition,
      log,
      group: groupOf(name),
      factory,
      metrics: metrics(at),
      queueRecords,
      queueBytes: () => queueBytes / Math.max(1, this.#tasks.size),
      clock: this.#clock,
      onEvent: (event) => onEvent?.({ ...event, name }),
    });
    task.paused = this.#options.isPaused?.(at.partition) ?? false;
    task.done.catch((error) =>
      this.#fail(error instanceof MillraceError ? located(error, { processor: name, ...at, offset: null }) : error),
    );
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
        await this.#clock.sleep(retryMs, signal);
      }
    }
  }

  /** A table that has grown is told to all tasks; what they have taken already they know themselves. */
  async #tableLoop(): Promise<void> {
    const { log, name, tables = [], onEvent } = this.#options;
    const { signal } = this.#stop;
    while (tables.length > 0 && !signal.aborted) {
      try {
        const ends = new Map<string, readonly bigint[]>();
        for (const topic of tables) ends.set(topic, await log.ends(topic));
        for (const task of this.#tasks.values()) task.tables(ends);
      } catch (error) {
        if (signal.aborted) return;
        onEvent?.({ kind: 'fetch failed', name, error });
        if (dispositionOf(error) === 'stop') {
          this.#fail(error);
          return;
        }
      }
      await this.#clock.sleep(tablesMs, signal);
    }
  }

  async #fetchOnce(fetcher: Fetcher): Promise<void> {
    const { signal } = this.#stop;
    const tasks = [...this.#tasks.values()].filter(({ paused }) => !paused);
    const wanted = tasks.map((task) => task.wants);
    const positions = wanted.flat();
    if (positions.length === 0) {
      await this.#clock.sleep(busyWaitMs, signal);
      return;
    }
    const busy = wanted.some((each) => each.length === 0);
    const fetched = await fetcher.fetch(positions, {
      maxWaitMs: busy ? busyWaitMs : idleWaitMs,
      maxBytesPerPartition: this.#options.fetchBytes,
      signal,
    });
    for (const portion of fetched) this.#taskOf(portion)?.deliver(portion);
  }

  #taskOf({ topic, partition }: TopicPartition): Task | undefined {
    const [primary] = this.#options.inputs.find((topics) => topics.includes(topic)) ?? [topic];
    return this.#tasks.get(partitionId({ topic: primary, partition }));
  }

  /** Ends in order: commits what is done, then leaves the group, so that a successor starts where this one stopped. Each caller waits for it. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#ended ??= this.#end();
    return this.#ended;
  }

  async #end(): Promise<void> {
    this.#stop.abort();
    await Promise.all([...this.#tasks.values()].map((task) => task[Symbol.asyncDispose]()));
    await Promise.all(this.#retired);
    await this.#loops;
    await this.#membership?.[Symbol.asyncDispose]();
    this.#finish();
  }
}
