/** Archives the topics of a log in memory with the sink itself, and what retention deletes of them then. */

import { MemoryStore } from '../../core/archive/s3/memory.ts';
import { Metrics } from '../../core/observability/metrics.ts';
import { groupOf } from '../../core/runtime/runner.ts';
import { takeOver } from '../../core/runtime/takeover.ts';
import type { Driver } from '../../core/testing/driver.ts';
import { type ArchivedTopic, archivedTopics, objectsTopic } from '../../schemas/topics.ts';
import { type ParquetSink, parquetSink } from '../../sinks/parquet/sink.ts';

const never = Number.MAX_SAFE_INTEGER;

export interface ArchiveOptions {
  /** Default: with the row before each change. */
  readonly changeLogTopics?: readonly string[];
}

export class Archived {
  readonly store = new MemoryStore();
  readonly #driver: Pick<Driver<never>, 'log' | 'schemas'>;
  readonly #sink: ParquetSink;
  #nowMs = 0;

  private constructor(driver: Pick<Driver<never>, 'log' | 'schemas'>, store: MemoryStore, sink: ParquetSink) {
    this.#driver = driver;
    this.store = store;
    this.#sink = sink;
  }

  static async open(
    driver: Pick<Driver<never>, 'log' | 'schemas'>,
    partitions: number,
    options: ArchiveOptions = {},
  ): Promise<Archived> {
    for (const topic of archivedTopics) {
      driver.log.create(topic, partitions);
      driver.log.create(objectsTopic(topic), partitions);
    }
    driver.log.create('parquet.dead', partitions);
    const store = new MemoryStore();
    let now = (): number => 0;
    const { changeLogTopics = ['cdc.public.trades'] } = options;
    const sink = await parquetSink({
      schemas: driver.schemas,
      store,
      settings: { flushSize: never, flushBytes: never, flushMs: never, bufferBytes: never, changeLogTopics },
      epoch: 'cluster-1',
      metrics: new Metrics({ node: false }),
      now: () => now(),
    });
    const archived = new Archived(driver, store, sink);
    now = () => archived.#nowMs;
    return archived;
  }

  /** Everything up to the end of a partition, or up to an offset, becomes objects: a cut after each `records` of them. */
  async cut(topic: ArchivedTopic, partition: number, options: { records?: number; to?: bigint } = {}): Promise<void> {
    const { log } = this.#driver;
    const { records: portion = never, to = never } = options;
    const taken = await takeOver({
      topics: [topic],
      partition,
      log,
      group: groupOf('parquet'),
      signal: new AbortController().signal,
      factory: this.#sink.handler,
    });
    let position = taken.positions[0] as bigint;
    await using fetcher = log.fetcher();
    for (;;) {
      const [fetched] = await fetcher.fetch([{ topic, partition, offset: position }], {
        maxWaitMs: 0,
        maxBytesPerPartition: 0,
      });
      const records = fetched?.records.filter(({ offset }) => offset < to).slice(0, portion) ?? [];
      if (fetched === undefined || position >= to) break;
      const isAll = records.length === fetched.records.length;
      const next = isAll ? fetched.next : (records.at(-1)?.offset ?? BigInt(to) - 1n) + 1n;
      await taken.handler.process({ ...fetched, records, next });
      position = next;
      this.#nowMs += never;
      await taken.handler.tick(this.#nowMs);
      this.#nowMs = 0;
    }
  }
}
