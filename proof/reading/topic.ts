import { AvroDecoder } from '../../core/avro/decoder.ts';
import type { Schemas } from '../../core/avro/schemas.ts';
import { type Log, type LogRecord, readRange } from '../../core/log/log.ts';

export const tradesTopic = 'cdc.public.trades';

export interface TopicRecord<T> {
  readonly partition: number;
  readonly record: LogRecord;
  readonly value: T;
}

const options = { maxWaitMs: 500, maxBytesPerPartition: 1_048_576 };

/** Every committed record of a topic as it is now, partition by partition, decoded. @throws for a record that cannot be decoded */
export async function* readTopic<T>(
  log: Log,
  schemas: Schemas,
  topic: string,
  reader: object,
  signal?: AbortSignal,
): AsyncGenerator<TopicRecord<T>[]> {
  const decoder = new AvroDecoder<T>(schemas, reader);
  for await (const { partition, records } of readRaw(log, topic, signal)) {
    const missing = decoder.missing(records.map(({ value }) => value));
    if (missing.length > 0) await decoder.prepare(missing);
    yield records.flatMap((record) =>
      record.value === null ? [] : [{ partition, record, value: decoder.decode(record.value) }],
    );
  }
}

/** The undecoded records of a topic as it is now, or of one range of it. */
export async function* readRaw(
  log: Log,
  topic: string,
  signal?: AbortSignal,
  only?: { readonly partition: number; readonly from: bigint; readonly to: bigint },
): AsyncGenerator<{ readonly partition: number; readonly records: readonly LogRecord[] }> {
  const fetch = signal === undefined ? options : { ...options, signal };
  for (const range of only === undefined ? await wholeTopic(log, topic) : [only]) {
    for await (const records of readRange(log, { topic, ...range }, fetch)) {
      yield { partition: range.partition, records };
    }
  }
}

async function wholeTopic(log: Log, topic: string) {
  const [starts, ends] = await Promise.all([log.starts(topic), log.ends(topic)]);
  return ends.map((to, partition) => ({ partition, from: starts[partition] ?? 0n, to }));
}
