import { AvroDecoder } from '../../../core/avro/decoder.ts';
import type { Schemas } from '../../../core/avro/schemas.ts';
import { type Log, type LogRecord, readRange } from '../../../core/log/log.ts';

/** Sources of a plan. */
export interface Sources {
  readonly log: Log;
  readonly schemas: Schemas;
  readonly signal?: AbortSignal | undefined;
}

export interface DecodedRecord<T> {
  readonly partition: number;
  readonly record: LogRecord;
  readonly value: T;
}

/** One partition, or the whole topic. Default: from its start to its present end. */
export interface Extent {
  readonly partition?: number;
  readonly from?: bigint;
  readonly to?: bigint;
}

const fetch = { maxWaitMs: 250, maxBytesPerPartition: 1_048_576 };

/** The readable records of a topic, in fetch-sized portions. */
export async function* read<T>(
  { log, schemas, signal }: Sources,
  topic: string,
  reader: object,
  extent: Extent = {},
): AsyncGenerator<readonly DecodedRecord<T>[]> {
  const decoder = new AvroDecoder<T>(schemas, reader);
  const [starts, ends] = await Promise.all([log.starts(topic), log.ends(topic)]);
  for (const [partition, end] of ends.entries()) {
    if (extent.partition !== undefined && extent.partition !== partition) continue;
    const start = starts[partition] ?? 0n;
    const from = extent.from !== undefined && extent.from > start ? extent.from : start;
    const range = { topic, partition, from, to: extent.to ?? end };
    for await (const records of readRange(log, range, signal === undefined ? fetch : { ...fetch, signal })) {
      const missing = decoder.missing(records.map(({ value }) => value));
      if (missing.length > 0) await decoder.prepare(missing);
      yield records.flatMap((record) => {
        const value = decoder.decodeIfReadable(record.value);
        return value === undefined ? [] : [{ partition, record, value }];
      });
    }
  }
}
