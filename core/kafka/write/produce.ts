import { type Broker, produceResponse, requestTimeoutMs } from '../connection/internals.ts';
import { int16, int32, string } from '../wire/primitives.ts';

export interface ProducedBatch {
  readonly topic: string;
  readonly partition: number;
  readonly batch: Buffer;
}

export interface Produced {
  readonly topic: string;
  readonly partition: number;
  readonly baseOffset: bigint;
}

const apiVersion = 7;

/**
 * Sends batches that are already encoded, with acks from all in-sync replicas.
 *
 * @param transactionalId null for batches of no transaction. @throws kafkajs protocol errors
 */
export async function produce(
  broker: Broker,
  transactionalId: string | null,
  batches: readonly ProducedBatch[],
): Promise<Produced[]> {
  const payload = encode(transactionalId, batches);
  const request = {
    apiKey: 0,
    apiVersion,
    apiName: 'Produce',
    expectResponse: () => true,
    encode: async () => ({ buf: payload, buffer: payload }),
  };
  const { topics } = (await broker.connectionPool.send({ request, response: produceResponse })) as {
    topics: { topicName: string; partitions: { partition: number; baseOffset: string }[] }[];
  };
  return topics.flatMap(({ topicName, partitions }) =>
    partitions.map(({ partition, baseOffset }) => ({ topic: topicName, partition, baseOffset: BigInt(baseOffset) })),
  );
}

/** Produce request, version 7. https://kafka.apache.org/protocol#The_Messages_Produce */
function encode(transactionalId: string | null, batches: readonly ProducedBatch[]): Buffer {
  const head = Buffer.concat([
    transactionalId === null ? int16(-1) : string(transactionalId),
    int16(-1),
    int32(requestTimeoutMs),
  ]);
  const byTopic = Map.groupBy(batches, ({ topic }) => topic);
  const topics = [...byTopic].map(([topic, of]) =>
    Buffer.concat([
      string(topic),
      int32(of.length),
      ...of.flatMap(({ partition, batch }) => [int32(partition), int32(batch.length), batch]),
    ]),
  );
  return Buffer.concat([head, int32(topics.length), ...topics]);
}
