/** Moves the leaders of partitions from broker to broker, as an operator would: replicas in another order, then the election of the first ones. */
import { setTimeout as delay } from 'node:timers/promises';
import kafkajs from 'kafkajs';
import { type Cluster, createCluster } from '../../../core/kafka/connection/internals.ts';
import { Topology } from '../../../core/kafka/connection/topology.ts';
import { int32, string } from '../../../core/kafka/wire/primitives.ts';

const patienceMs = 30_000;

/** @returns the partitions that have another leader now. The topics need replicas on several brokers. */
export async function moveLeaders(brokers: readonly string[], topics: readonly string[]): Promise<number> {
  const kafka = new kafkajs.Kafka({ clientId: 'faults', brokers: [...brokers], logLevel: kafkajs.logLevel.NOTHING });
  const admin = kafka.admin();
  await admin.connect();
  try {
    const before = (await admin.fetchTopicMetadata({ topics: [...topics] })).topics;
    const wanted = new Map<string, number>();
    const moves = before.map(({ name, partitions }) => ({
      topic: name,
      partitionAssignment: partitions.map(({ partitionId: partition, replicas, leader }) => {
        const at = replicas.indexOf(leader);
        const rotated = [...replicas.slice(at + 1), ...replicas.slice(0, at + 1)];
        wanted.set(`${name}/${partition}`, rotated[0] ?? -1);
        return { partition, replicas: rotated };
      }),
    }));
    await admin.alterPartitionReassignments({ topics: moves });
    const giveUpAt = performance.now() + patienceMs;
    for (;;) {
      await elect(
        brokers,
        moves.map(({ topic, partitionAssignment }) => ({
          topic,
          partitions: partitionAssignment.map(({ partition }) => partition),
        })),
      );
      const now = (await admin.fetchTopicMetadata({ topics: [...topics] })).topics;
      const moved = now.flatMap(({ name, partitions }) =>
        partitions.filter(({ partitionId, leader }) => wanted.get(`${name}/${partitionId}`) === leader),
      );
      if (moved.length === wanted.size) return moved.length;
      if (performance.now() > giveUpAt) throw new Error(`${moved.length} of ${wanted.size} leaders moved`);
      await delay(200);
    }
  } finally {
    await admin.disconnect();
  }
}

/** By partition. */
export async function leadersOf(brokers: readonly string[], topic: string): Promise<readonly number[]> {
  await using cluster = await connected(brokers);
  const topology = new Topology(cluster.cluster);
  return await topology.leaders(topic);
}

/** ElectLeaders, version 1: the first replica of each partition is to lead it. kafkajs has no such request. */
async function elect(
  brokers: readonly string[],
  topics: readonly { readonly topic: string; readonly partitions: readonly number[] }[],
): Promise<void> {
  await using cluster = await connected(brokers);
  const body = topics.map(({ topic, partitions }) =>
    Buffer.concat([string(topic), int32(partitions.length), ...partitions.map(int32)]),
  );
  const payload = Buffer.concat([Buffer.of(0), int32(topics.length), ...body, int32(10_000)]);
  const request = {
    apiKey: 43,
    apiVersion: 1,
    apiName: 'ElectLeaders',
    encode: async () => ({ buf: payload, buffer: payload }),
  };
  const response = { decode: async () => ({}), parse: async () => undefined };
  await (await cluster.cluster.brokerPool.findConnectedBroker()).connectionPool.send({ request, response });
}

async function connected(brokers: readonly string[]): Promise<AsyncDisposable & { readonly cluster: Cluster }> {
  const cluster = createCluster({ brokers, clientId: 'faults' });
  await cluster.connect();
  return { cluster, [Symbol.asyncDispose]: () => cluster.disconnect() };
}
