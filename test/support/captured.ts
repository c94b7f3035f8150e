/** What a capture has written, for tests to look at. */
import { AvroDecoder } from '../../core/avro/decoder.ts';
import { Registry } from '../../core/avro/registry/registry.ts';
import { KafkaLog } from '../../core/kafka/log.ts';
import { type LogRecord, readRange } from '../../core/log/log.ts';
import { schemas } from '../../schemas/gen/index.ts';
import type { TradeChange } from '../../schemas/gen/trade_change.ts';
import type { TestCapture } from './capture.ts';

export class Captured implements AsyncDisposable {
  readonly log: KafkaLog;
  readonly registry: Registry;
  readonly #capture: TestCapture;

  constructor(capture: TestCapture) {
    this.#capture = capture;
    this.log = new KafkaLog({ brokers: capture.config.kafka.brokers, clientId: 'millrace-test' });
    this.registry = new Registry({ url: capture.config.registry.url });
  }

  /** All records of a captured table, or of another topic, partition by partition. */
  async records(
    table: string,
    topic = this.#capture.topic(table),
  ): Promise<{ partition: number; record: LogRecord }[]> {
    const { log } = this;
    const [starts, ends] = await Promise.all([log.starts(topic), log.ends(topic)]);
    const found: { partition: number; record: LogRecord }[] = [];
    for (const [partition, to] of ends.entries()) {
      const range = { topic, partition, from: starts[partition] ?? 0n, to };
      for await (const portion of readRange(log, range, { maxWaitMs: 200, maxBytesPerPartition: 1 << 20 })) {
        for (const record of portion) found.push({ partition, record });
      }
    }
    return found;
  }

  async trades(): Promise<{ partition: number; change: TradeChange }[]> {
    const decoder = new AvroDecoder<TradeChange>(this.registry, schemas.trade_change);
    const found = await this.records('trades');
    await decoder.prepare(decoder.missing(found.map(({ record }) => record.value)));
    return found.map(({ partition, record }) => ({
      partition,
      change: decoder.decode(record.value ?? Buffer.alloc(0)),
    }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.log[Symbol.asyncDispose]();
    await this.registry[Symbol.asyncDispose]();
  }
}
