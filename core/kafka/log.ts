import { setTimeout as delay } from 'node:timers/promises';
import kafkajs, { type Kafka } from 'kafkajs';
import { MillraceError } from '../base/errors.ts';
import type { Committed, Fetcher, JoinOptions, Log, Writer } from '../log/log.ts';
import { isUnknownTopic, toMillraceError } from './connection/errors.ts';
import {
  type Cluster,
  type ClusterOptions,
  connectionTimeoutMs,
  createCluster,
  createErrorFromCode,
  logCreator,
  requestTimeoutMs,
} from './connection/internals.ts';
import { Topology } from './connection/topology.ts';
import { KafkaFetcher } from './fetch/fetcher.ts';
import { KafkaMembership } from './membership/membership.ts';
import { KafkaWriter, whileTransient } from './write/writer.ts';

const earliest = -2;
const latest = -1;
const leaderNotAvailable = 5;
/** A broker that does not know a topic of the others is asked again for so long. */
const settlingMs = 5_000;

/** The connection that everything but fetching shares. */
interface Control {
  readonly cluster: Cluster;
  readonly topology: Topology;
}

/** Kafka as the runtime's log. All writers share one connection; each fetcher has its own. */
export class KafkaLog implements Log {
  readonly #options: ClusterOptions;
  readonly #kafka: Kafka;
  #control: Promise<Control> | undefined;
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
    const { topology } = await this.#connected();
    const meaningOf = (error: unknown) => topology.meaningOf(error, options.topics, `joining group ${options.group}`);
    const giveUpAt = performance.now() + settlingMs;
    for (;;) {
      try {
        return await KafkaMembership.join(this.#kafka, options, meaningOf);
      } catch (error) {
        const known = await meaningOf(error);
        const settles = isUnknownTopic(error) && known.disposition === 'retry' && performance.now() < giveUpAt;
        if (!settles) throw known;
        await delay(200);
      }
    }
  }

  fetcher(): Fetcher {
    return new KafkaFetcher(createCluster(this.#options));
  }

  async writer(transactionalId: string): Promise<Writer> {
    const { topology } = await this.#connected();
    return KafkaWriter.open(topology, transactionalId);
  }

  async committed(group: string, topic: string): Promise<readonly Committed[]> {
    return this.#ask(`reading offsets of ${group}`, async ({ topology }) => {
      const partitions = await whileTransient(() => topology.leaders(topic));
      const { responses } = await whileTransient(async () => {
        const coordinator = await topology.coordinator(group, 'group');
        return coordinator.offsetFetch({
          groupId: group,
          topics: [{ topic, partitions: partitions.map((_, partition) => ({ partition })) }],
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
    return this.#ask('reading the cluster id', async ({ cluster }) => {
      await cluster.refreshMetadata();
      const id = cluster.brokerPool.metadata?.clusterId;
      if (id === undefined || id === null) throw new Error('the broker told no cluster id');
      return id;
    });
  }

  async #offsets(topic: string, timestamp: number): Promise<readonly bigint[]> {
    return this.#ask(`reading offsets of ${topic}`, (control) =>
      whileTransient(() => offsetsOf(control, topic, timestamp)),
    );
  }

  async #ask<T>(doing: string, request: (control: Control) => Promise<T>): Promise<T> {
    try {
      return await request(await this.#connected());
    } catch (error) {
      throw toMillraceError(error, doing);
    }
  }

  async #connected(): Promise<Control> {
    if (this.#ended !== undefined) throw new MillraceError('KAFKA_UNREACHABLE', 'this connection is closed');
    this.#control ??= (async () => {
      const cluster = createCluster(this.#options);
      await cluster.connect();
      await cluster.refreshMetadata();
      return { cluster, topology: new Topology(cluster) };
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
    const control = await this.#control?.catch(() => undefined);
    await control?.cluster.disconnect();
  }
}

async function offsetsOf({ topology }: Control, topic: string, timestamp: number): Promise<readonly bigint[]> {
  const leaders = (await topology.leaders(topic)).map((leader, partition) => ({ leader, partition }));
  const offsets: bigint[] = new Array(leaders.length);
  try {
    for (const [nodeId, led] of Map.groupBy(leaders, ({ leader }) => leader)) {
      if (nodeId < 0) throw createErrorFromCode(leaderNotAvailable);
      const broker = await topology.broker(nodeId);
      const { responses } = await broker.listOffsets({
        replicaId: -1,
        isolationLevel: 0,
        topics: [{ topic, partitions: led.map(({ partition }) => ({ partition, timestamp })) }],
      });
      for (const { partition, offset } of responses.flatMap((response) => response.partitions))
        offsets[partition] = BigInt(offset);
    }
  } catch (error) {
    // After any failure, another broker may lead the partition.
    topology.doubt([topic]);
    if (isUnknownTopic(error)) throw createErrorFromCode(leaderNotAvailable);
    throw error;
  }
  return offsets;
}
