import kafkajs, { type Kafka } from 'kafkajs';
import { MillraceError } from '../errors.ts';
import type { Committed, Fetcher, JoinOptions, Log, Writer } from '../runtime/log.ts';
import { isLeaderless, toMillraceError } from './errors.ts';
import { KafkaFetcher } from './fetcher.ts';
import {
  type Cluster,
  type ClusterOptions,
  connectionTimeoutMs,
  createCluster,
  logCreator,
  requestTimeoutMs,
} from './internals.ts';
import { KafkaMembership } from './membership.ts';
import { findCoordinator, KafkaWriter, whileTransient } from './writer.ts';

const earliest = -2;
const latest = -1;

/** Kafka as the runtime's log. All writers share one connection; each fetcher has its own. */
export class KafkaLog implements Log {
  readonly #options: ClusterOptions;
  readonly #kafka: Kafka;
  #control: Promise<Cluster> | undefined;
  #ended: Promise<void> | undefined;

  constructor(options: ClusterOptions) {
    this.#options = options;
    this.#kafka = new kafkajs.Kafka({
      clientId: options.clientId,
      brokers: [...options.brokers],
      connectionTimeout: connectionTimeoutMs,
      requestTimeout: requestTimeoutMs,
      logLevel: 2,
      logCreator: logCreator(options.onLog),
    });
  }

  async join(options: JoinOptions): Promise<AsyncDisposable> {
    try {
      return await KafkaMembership.join(this.#kafka, options);
    } catch (error) {
      throw toMillraceError(error, `joining group ${options.group}`);
    }
  }

  fetcher(): Fetcher {
    return new KafkaFetcher(createCluster(this.#options));
  }

  async writer(transactionalId: string): Promise<Writer> {
    return KafkaWriter.open(await this.#cluster(), transactionalId);
  }

  async committed(group: string, topic: string): Promise<readonly Committed[]> {
    return this.#ask(`reading offsets of ${group}`, async (cluster) => {
      const partitions = await partitionsOf(cluster, topic);
      const { responses } = await whileTransient(async () => {
        const coordinator = await findCoordinator(cluster, group, 'group');
        return coordinator.offsetFetch({
          groupId: group,
          topics: [{ topic, partitions: partitions.map((partition) => ({ partition })) }],
        });
      });
      return responses
        .flatMap((response) => response.partitions)
        .filter(({ offset }) => BigInt(offset) >= 0n)
        .map(({ partition, offset, metadata }) => ({
          topic,
          partition,
          offset: BigInt(offset),
          metadata: metadata ?? '',
        }));
    });
  }

  starts(topic: string): Promise<readonly bigint[]> {
    return this.#offsets(topic, earliest);
  }

  ends(topic: string): Promise<readonly bigint[]> {
    return this.#offsets(topic, latest);
  }

  /** The cluster's id: it names the epoch of an archive. */
  async clusterId(): Promise<string> {
    return this.#ask('reading the cluster id', async (cluster) => {
      await cluster.refreshMetadata();
      const id = cluster.brokerPool.metadata?.clusterId;
      if (id === undefined || id === null) throw new Error('the broker told no cluster id');
      return id;
    });
  }

  async #offsets(topic: string, timestamp: number): Promise<readonly bigint[]> {
    return this.#ask(`reading offsets of ${topic}`, (cluster) =>
      whileTransient(() => offsetsOf(cluster, topic, timestamp)),
    );
  }

  async #ask<T>(doing: string, request: (cluster: Cluster) => Promise<T>): Promise<T> {
    try {
      return await request(await this.#cluster());
    } catch (error) {
      throw toMillraceError(error, doing);
    }
  }

  async #cluster(): Promise<Cluster> {
    if (this.#ended !== undefined) throw new MillraceError('KAFKA_UNREACHABLE', 'this connection is closed');
    this.#control ??= (async () => {
      const cluster = createCluster(this.#options);
      await cluster.connect();
      await cluster.refreshMetadata();
      return cluster;
    })();
    try {
      return await this.#control;
    } catch (error) {
      this.#control = undefined;
      throw toMillraceError(error, `connecting to ${this.#options.brokers.join(', ')}`);
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#ended ??= this.#end();
    return this.#ended;
  }

  async #end(): Promise<void> {
    const cluster = await this.#control?.catch(() => undefined);
    await cluster?.disconnect();
  }
}

async function offsetsOf(cluster: Cluster, topic: string, timestamp: number): Promise<readonly bigint[]> {
  const partitions = await partitionsOf(cluster, topic);
  const offsets: bigint[] = new Array(partitions.length);
  const byLeader = Map.groupBy(cluster.findTopicPartitionMetadata(topic), ({ leader }) => leader);
  for (const [nodeId, led] of byLeader) {
    try {
      const broker = await cluster.findBroker({ nodeId });
      const { responses } = await broker.listOffsets({
        replicaId: -1,
        isolationLevel: 0,
        topics: [{ topic, partitions: led.map(({ partitionId }) => ({ partition: partitionId, timestamp })) }],
      });
      for (const { partition, offset } of responses.flatMap((response) => response.partitions))
        offsets[partition] = BigInt(offset);
    } catch (error) {
      if (isLeaderless(error)) await cluster.refreshMetadata();
      throw error;
    }
  }
  return offsets;
}

async function partitionsOf(cluster: Cluster, topic: string): Promise<number[]> {
  await cluster.addMultipleTargetTopics([topic]);
  const partitions = cluster.findTopicPartitionMetadata(topic).map(({ partitionId }) => partitionId);
  if (partitions.length > 0) return partitions.sort((a, b) => a - b);
  throw new MillraceError('TOPIC_MISSING', `topic ${topic} does not exist`, {
    remedy: 'create the topics with: millrace topics apply',
  });
}
