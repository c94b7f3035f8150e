import type { Log } from '../../core/log/log.ts';
import { groupOf } from '../../core/runtime/runner.ts';
import type { ArchivedTopic } from '../../schemas/topics.ts';
import { nextRecords } from './next-records.ts';

/** A consumer group and the topic it reads. */
export interface StageReader {
  /** A processor or a sink. */
  readonly name: string;
  readonly topic: string;
}

/**
 * Stages of readers by archived topic, upstream first. The archive has passed a point of the log when every stage has passed it in turn.
 */
export const pipelineStages: Readonly<Record<ArchivedTopic, readonly (readonly StageReader[])[]>> = {
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
  /** Ends of the stage's topics, read when the previous stage had passed the log time. Later records do not count. */
  readonly ends: readonly (readonly bigint[])[];
}

/**
 * The log time that the archive of each topic has passed: everything committed before it is in listed objects or dead letters. Only
 * heartbeat rows advance log time, so no day becomes complete while the capture stands still. A quiet partition has passed a heartbeat when
 * no record before it is left to read.
 */
export class ArchiveProgress {
  readonly #log: Log;
  readonly #signal: AbortSignal;
  /** Log time, microseconds. */
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

  /** Called for each heartbeat read: all that Postgres committed before it is in the log by now. */
  beat(logTime: bigint): void {
    if (this.#newest === undefined || logTime > this.#newest) this.#newest = logTime;
  }

  /** Log time that the topic's archive has passed, microseconds; undefined while unknown. */
  of(topic: ArchivedTopic): bigint | undefined {
    return this.#passed.get(topic);
  }

  /** Asks for the readers' positions and advances the passed log time. */
  async advance(topic: ArchivedTopic): Promise<void> {
    const stages = pipelineStages[topic];
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
    return { logTime, stage: 0, ends: await this.#ends(pipelineStages[topic][0] ?? []) };
  }

  #ends(readers: readonly StageReader[]): Promise<readonly (readonly bigint[])[]> {
    return Promise.all(readers.map(({ topic }) => this.#log.ends(topic)));
  }

  async #isPast(readers: readonly StageReader[], ends: Pending['ends']): Promise<boolean> {
    await using fetcher = this.#log.fetcher();
    for (const [i, { name, topic }] of readers.entries()) {
      const reader = { group: groupOf(name), topic };
      for await (const { waiting } of nextRecords(this.#log, fetcher, reader, ends[i] ?? [], this.#signal)) {
        if (waiting !== 'nothing') return false;
      }
    }
    return true;
  }
}
