import { AvroDecoder } from '../../core/avro/decoder.ts';
import type { Schemas } from '../../core/avro/schemas.ts';
import { isBackfilled } from '../../core/capture/backfilled.ts';
import { sourceSchema } from '../../core/capture/captured-row.ts';
import { endsOf, type Log, readRange } from '../../core/log/log.ts';
import type { TradeChange } from '../../schemas/gen/trade_change.ts';

/** Fields that every envelope has, for any table. */
const reader = sourceSchema('snapshot');

/** Counts the rows of a backfill in the log so far. */
export class Reads {
  readonly #log: Log;
  readonly #topic: string;
  readonly #positions: bigint[];
  readonly #decoder: AvroDecoder<Pick<TradeChange, 'op' | 'source'>>;
  #rows = 0;

  /** @param from end offset of each partition before the backfill */
  constructor(log: Log, schemas: Schemas, topic: string, from: readonly bigint[]) {
    this.#log = log;
    this.#topic = topic;
    this.#positions = [...from];
    this.#decoder = new AvroDecoder(schemas, reader);
  }

  /** Counts up to the present end of the topic. */
  async count(signal?: AbortSignal): Promise<number> {
    for (const [partition, to] of (await endsOf(this.#log, this.#topic)).entries()) {
      const range = { topic: this.#topic, partition, from: this.#positions[partition] ?? 0n, to };
      const fetch = { maxWaitMs: 250, maxBytesPerPartition: 1_048_576, ...(signal && { signal }) };
      for await (const records of readRange(this.#log, range, fetch)) {
        await this.#decoder.prepare(this.#decoder.missing(records.map(({ value }) => value)));
        for (const { value } of records) {
          const change = value === null ? undefined : this.#decoder.decodeIfReadable(value);
          if (change !== undefined && isBackfilled(change)) this.#rows++;
        }
      }
      this.#positions[partition] = to;
    }
    return this.#rows;
  }
}
