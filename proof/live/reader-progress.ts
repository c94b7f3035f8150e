import type { Log } from '../../core/log/log.ts';
import { groupOf } from '../../core/runtime/runner.ts';

/** A processor or a sink, with the topic that it reads. */
export interface TopicReader {
  readonly name: string;
  readonly topic: string;
}

/** Reports whether a reader has passed a position in each partition of its topic. A passed partition is not asked again. */
export class ReaderProgress {
  readonly reader: TopicReader;
  readonly #log: Log;
  /** By partition; undefined once passed. */
  readonly #goals: (bigint | undefined)[];
  /** False if the reader never committed in the topic. */
  started = false;
  /** Offsets that were left at the last look. */
  behind = 0n;

  constructor(log: Log, reader: TopicReader, goals: readonly bigint[]) {
    this.#log = log;
    this.reader = reader;
    this.#goals = [...goals];
  }

  /** Partitions that were not passed at the last look. */
  get partitions(): readonly number[] {
    return [...this.#goals.keys()].filter((partition) => this.#goals[partition] !== undefined);
  }

  /** True once no committed record before the goals is left to read. Transaction markers do not count. */
  async look(signal: AbortSignal): Promise<boolean> {
    const { name, topic } = this.reader;
    const [committed, starts] = await Promise.all([this.#log.committed(groupOf(name), topic), this.#log.starts(topic)]);
    this.started = committed.length > 0;
    const positions = new Map(committed.map(({ partition, offset }) => [partition, offset]));
    this.behind = 0n;
    for (const [partition, goal] of this.#goals.entries()) {
      if (goal === undefined) continue;
      const [start, position] = [starts[partition] ?? 0n, positions.get(partition) ?? 0n];
      const from = position > start ? position : start;
      if (from >= goal || !(await this.#hasRecord(partition, from, goal, signal))) this.#goals[partition] = undefined;
      else this.behind += goal - from;
    }
    return this.#goals.every((goal) => goal === undefined);
  }

  /** Whether a record is left. An open transaction may still bring one, so it counts as one until it ends. */
  async #hasRecord(partition: number, from: bigint, to: bigint, signal: AbortSignal): Promise<boolean> {
    await using fetcher = this.#log.fetcher();
    let offset = from;
    while (offset < to) {
      const at = { topic: this.reader.topic, partition, offset };
      const [fetched] = await fetcher.fetch([at], { maxWaitMs: 250, maxBytesPerPartition: 16_384, signal });
      if (fetched === undefined) return true;
      if (fetched.records.some((record) => record.offset < to)) return true;
      offset = fetched.next;
    }
    return false;
  }
}
