import type { Log } from '../../core/log/log.ts';
import { groupOf } from '../../core/runtime/runner.ts';

/** A processor or a sink, and what it reads. */
export interface Reader {
  readonly name: string;
  readonly topic: string;
}

/** Tells whether a reader has passed a place in each partition of its topic. What it has passed once is not asked again. */
export class Passing {
  readonly reader: Reader;
  readonly #log: Log;
  /** By partition; undefined where it is passed. */
  readonly #goals: (bigint | undefined)[];
  /** False when the reader never committed anything there. */
  started = false;
  /** Offsets to go, when it was last asked. */
  behind = 0n;

  constructor(log: Log, reader: Reader, goals: readonly bigint[]) {
    this.#log = log;
    this.reader = reader;
    this.#goals = [...goals];
  }

  /** Partitions whose place was not passed when it was last asked. */
  get partitions(): readonly number[] {
    return [...this.#goals.keys()].filter((partition) => this.#goals[partition] !== undefined);
  }

  /** True once nothing that is committed before the goals is left to take; transaction markers are nothing. */
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

  /** An open transaction may still bring one: until it ends there is one. */
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
