import type { Log } from '../../core/log/log.ts';
import { groupOf } from '../../core/runtime/runner.ts';
import type { ArchivedTopic } from '../../schemas/topics.ts';
import { waitingOf } from './waiting.ts';

/** Who reads a topic, as its committed offsets tell. */
export interface Reader {
  /** Processor or sink. */
  readonly name: string;
  readonly topic: string;
}

/** By archived topic: which readers have to be past a point of the log, one stage after the other, until its archive is. */
export const ways: Readonly<Record<ArchivedTopic, readonly (readonly Reader[])[]>> = {
  'cdc.public.trades': [[{ name: 'parquet', topic: 'cdc.public.trades' }]],
  'cdc.public.instruments': [[{ name: 'parquet', topic: 'cdc.public.instruments' }]],
  'market.candles': [[{ name: 'ohlcv', topic: 'cdc.public.trades' }], [{ name: 'parquet', topic: 'market.candles' }]],
  'market.anomalies': [
    [{ name: 'ohlcv', topic: 'cdc.public.trades' }],
    [
      { name: 'anomaly', topic: 'market.candles' },
      { name: 'anomaly', topic: 'cdc.public.trades' },
    ],
    [{ name: 'parquet', topic: 'market.anomalies' }],
  ],
};

interface Pending {
  readonly logTime: bigint;
  readonly stage: number;
  /** Of the stage's topics as they were when the stage before was past the log time: what comes later is later. */
  readonly ends: readonly (readonly bigint[])[];
}

/**
 * The log time that the archive of each topic has passed: everything that was committed before it is in listed objects or dead letters.
 * Log time is what heartbeat rows say, and nothing else, so where the capture stands still no day is ever complete. A quiet partition has
 * passed a heartbeat when there is nothing left to read before it.
 */
export class PassedTime {
  readonly #log: Log;
  readonly #signal: AbortSignal;
  /** Microseconds. */
  #newest: bigint | undefined;
  readonly #passed = new Map<ArchivedTopic, bigint>();
  readonly #pending = new Map<ArchivedTopic, Pending>();

  constructor(log: Log, signal: AbortSignal) {
    this.#log = log;
    this.#signal = signal;
  }

  /** Log time of the newest heartbeat, microseconds. */
  get newest(): bigint | undefined {
    return this.#newest;
  }

  /** A heartbeat was read: what was committed in Postgres before it is in the log by now. */
  beat(logTime: bigint): void {
    if (this.#newest === undefined || logTime > this.#newest) this.#newest = logTime;
  }

  /** Microseconds; undefined as long as none is known. */
  of(topic: ArchivedTopic): bigint | undefined {
    return this.#passed.get(topic);
  }

  /** Asks how far the readers are. */
  async advance(topic: ArchivedTopic): Promise<void> {
    const stages = ways[topic];
    let pending = this.#pending.get(topic) ?? (await this.#begin(topic));
    while (pending !== undefined) {
      this.#pending.set(topic, pending);
      if (!(await this.#isPast(stages[pending.stage] ?? [], pending.ends))) return;
      const stage = pending.stage + 1;
      if (stage === stages.length) {
        this.#passed.set(topic, pending.logTime);
        this.#pending.delete(topic);
        return;
      }
      pending = { ...pending, stage, ends: await this.#ends(stages[stage] ?? []) };
    }
  }

  async #begin(topic: ArchivedTopic): Promise<Pending | undefined> {
    const logTime = this.#newest;
    if (logTime === undefined || logTime === this.#passed.get(topic)) return undefined;
    return { logTime, stage: 0, ends: await this.#ends(ways[topic][0] ?? []) };
  }

  #ends(readers: readonly Reader[]): Promise<readonly (readonly bigint[])[]> {
    return Promise.all(readers.map(({ topic }) => this.#log.ends(topic)));
  }

  async #isPast(readers: readonly Reader[], ends: Pending['ends']): Promise<boolean> {
    await using fetcher = this.#log.fetcher();
    for (const [i, { name, topic }] of readers.entries()) {
      const reader = { group: groupOf(name), topic };
      for await (const { waiting } of waitingOf(this.#log, fetcher, reader, ends[i] ?? [], this.#signal)) {
        if (waiting !== 'nothing') return false;
      }
    }
    return true;
  }
}
