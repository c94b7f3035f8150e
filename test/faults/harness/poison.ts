/** What nobody should write into a captured topic, and somebody will. */
import kafkajs from 'kafkajs';
import type { OutRecord } from '../../../core/log/log.ts';
import { tradesTopic } from '../../../proof/reading/topic.ts';
import type { Stage } from '../burst.ts';

export interface Injected {
  readonly partition: number;
  readonly offset: bigint;
}

type Bytes = Pick<OutRecord, 'key' | 'value'>;

/** Appends the records to one seeded partition of the trades topic, in one transaction. */
export async function inject(
  { log, random }: Pick<Stage, 'log' | 'random'>,
  records: readonly Bytes[],
  partition = Math.floor(random() * 6),
): Promise<Injected> {
  await using writer = await log.writer('faults-inject');
  const timestamp = BigInt(Date.now());
  const [written] = await writer.transact({
    records: records.map((record) => ({ topic: tradesTopic, partition, timestamp, ...record })),
  });
  return { partition, offset: written?.baseOffset ?? 0n };
}

/** The newest records of a partition that are changes, oldest first. */
export async function newest({ log }: Pick<Stage, 'log'>, partition: number, count: number): Promise<readonly Bytes[]> {
  const [starts, ends] = [await log.starts(tradesTopic), await log.ends(tradesTopic)];
  const [start, end] = [starts[partition] ?? 0n, ends[partition] ?? 0n];
  const found: Bytes[] = [];
  await using fetcher = log.fetcher();
  // Transaction markers take offsets, too.
  const lookBack = BigInt(count * 4 + 500);
  let offset = end - lookBack > start ? end - lookBack : start;
  for (let idle = 0; offset < end && idle < 20; ) {
    const [fetched] = await fetcher.fetch([{ topic: tradesTopic, partition, offset }], {
      maxWaitMs: 250,
      maxBytesPerPartition: 1_048_576,
    });
    if (fetched === undefined || fetched.next === offset) {
      idle++;
      continue;
    }
    offset = fetched.next;
    for (const { key, value } of fetched.records) if (value !== null) found.push({ key, value });
  }
  return found.slice(-count);
}

/** A batch whose records take a hundred megabytes once they are decompressed, and a hundred kilobytes before. */
export async function gzipBomb({ config, random }: Pick<Stage, 'config' | 'random'>): Promise<void> {
  const kafka = new kafkajs.Kafka({
    clientId: 'faults-bomb',
    brokers: [...config.kafka.brokers],
    logLevel: kafkajs.logLevel.NOTHING,
  });
  const producer = kafka.producer({ createPartitioner: kafkajs.Partitioners.DefaultPartitioner });
  await producer.connect();
  try {
    await producer.send({
      topic: tradesTopic,
      compression: kafkajs.CompressionTypes.GZIP,
      messages: [{ key: null, value: Buffer.alloc(100 * 1024 * 1024), partition: Math.floor(random() * 6) }],
    });
  } finally {
    await producer.disconnect();
  }
}
