import { AvroDecoder } from '../core/avro/decoder.ts';
import type { Schemas } from '../core/avro/schemas.ts';
import { type Log, type LogRecord, readRange } from '../core/runtime/log.ts';

export interface Read<T> {
  readonly partition: number;
  readonly record: LogRecord;
  readonly value: T;
}

const options = { maxWaitMs: 500, maxBytesPerPartition: 1_048_576 };

/** Every committed record of a topic as it is now, partition by partition, decoded. A record that cannot be decoded is an error here. */
export async function* readTopic<T>(
  log: Log,
  schemas: Schemas,
  topic: string,
  reader: object,
  signal?: AbortSignal,
): AsyncGenerator<Read<T>[]> {
  const decoder = new AvroDecoder<T>(schemas, reader);
  for await (const { partition, records } of readRaw(log, topic, signal)) {
    const missing = decoder.missing(records.map(({ value }) => value));
    if (missing.length > 0) await decoder.prepare(missing);
    yield records.flatMap((record) =>
      record.value === null ? [] : [{ partition, record, value: decoder.decode(record.value) }],
    );
  }
}

export async function* readRaw(
  log: Log,
  topic: string,
  signal?: AbortSignal,
): AsyncGenerator<{ readonly partition: number; readonly records: readonly LogRecord[] }> {
  const [starts, ends] = await Promise.all([log.starts(topic), log.ends(topic)]);
  for (const [partition, to] of ends.entries()) {
    const range = { topic, partition, from: starts[partition] ?? 0n, to };
    for await (const records of readRange(log, range, signal === undefined ? options : { ...options, signal })) {
      yield { partition, records };
    }
  }
}
