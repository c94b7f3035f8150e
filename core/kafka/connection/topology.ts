import { setTimeout as delay } from 'node:timers/promises';
import { MillraceError } from '../../base/errors.ts';
import type { TopicPartition } from '../../log/log.ts';
import { createTopics, isLeaderless, isUnknownTopic, protocolType, toMillraceError, topicError } from './errors.ts';
import {
  type Broker,
  type Cluster,
  type ClusterMetadata,
  createErrorFromCode,
  type TopicMetadata,
} from './internals.ts';

/** Leaders are asked for again after this time, whether somebody misses them or not. */
const maxAgeMs = 60_000;
/** A broker that does not tell the metadata for so long is passed over for another one. */
const patienceMs = 2_000;
/** In a cluster of several brokers, a new topic is unknown to some of them for a moment. */
const settlingMs = 1_000;

const coordinatorOf = { group: 0, transaction: 1 } as const;
const leaderNotAvailable = 5;

interface Known {
  /** By partition; -1 for one without a leader. */
  readonly leaders: readonly number[];
  readonly error: Error | undefined;
  readonly askedMs: number;
}

/** The leaders of partitions and the coordinators, as the brokers tell them. A topic that is missing or forbidden fails only the callers that ask for it. */
export class Topology {
  readonly #cluster: Cluster;
  readonly #known = new Map<string, Known>();
  #lastGood: string | undefined;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  /** Whether the leaders of a topic have to be asked for. */
  isDue(topic: string): boolean {
    const known = this.#known.get(topic);
    return known === undefined || known.error !== undefined || performance.now() - known.askedMs > maxAgeMs;
  }

  /** Asks for the leaders of topics that are due. @throws kafkajs errors when no broker answers */
  async ask(topics: Iterable<string>): Promise<void> {
    const giveUpAt = performance.now() + settlingMs;
    for (let waitMs = 25; ; waitMs *= 2) {
      const due = [...new Set(topics)].filter((topic) => this.isDue(topic));
      if (due.length === 0) return;
      const { brokers, topicMetadata } = await this.#askAny((broker) => broker.metadata(due));
      if (this.#hasNew(brokers)) await this.#cluster.refreshMetadata();
      for (const metadata of topicMetadata) this.#known.set(metadata.topic, knownOf(metadata));
      const complete = topicMetadata.every(({ topicErrorCode }) => topicErrorCode === 0);
      if (complete || brokers.length === 1 || performance.now() > giveUpAt) return;
      await delay(waitMs);
    }
  }

  /**
   * Leaders by partition; -1 for one without a leader. Asks when that is due.
   *
   * @throws MillraceError TOPIC_MISSING, KAFKA_FORBIDDEN; kafkajs errors
   */
  async leaders(topic: string): Promise<readonly number[]> {
    await this.ask([topic]);
    const known = this.#known.get(topic);
    if (known?.error !== undefined) throw known.error;
    if (known !== undefined && known.leaders.length > 0) return known.leaders;
    throw missing(`topic ${topic} does not exist`);
  }

  /**
   * Leader as last asked; -1 for none, undefined for a topic that has to be asked for.
   *
   * @throws MillraceError TOPIC_MISSING, KAFKA_FORBIDDEN; the next time it is asked for again
   */
  leaderOf({ topic, partition }: TopicPartition): number | undefined {
    const known = this.#known.get(topic);
    if (known === undefined) return undefined;
    if (known.error !== undefined) {
      this.#known.delete(topic);
      if (isLeaderless(known.error)) return -1;
      throw known.error;
    }
    const leader = known.leaders[partition];
    if (leader !== undefined) return leader;
    throw missing(`${topic} has no partition ${partition}`);
  }

  /** Leader of one partition, asked for when that is due. @throws the same; kafkajs's LEADER_NOT_AVAILABLE for none */
  async leader({ topic, partition }: TopicPartition): Promise<number> {
    const leader = (await this.leaders(topic))[partition];
    if (leader === undefined) throw missing(`${topic} has no partition ${partition}`);
    if (leader < 0) throw createErrorFromCode(leaderNotAvailable);
    return leader;
  }

  /** Broker that coordinates a group or the transactions of a transactional id. @throws kafkajs errors */
  async coordinator(id: string, kind: keyof typeof coordinatorOf): Promise<Broker> {
    const request = { groupId: id, coordinatorType: coordinatorOf[kind] };
    const { coordinator } = await this.#askAny((broker) => broker.findGroupCoordinator(request));
    return this.broker(coordinator.nodeId);
  }

  /** Connects if needed. @throws kafkajs errors */
  async broker(nodeId: number): Promise<Broker> {
    try {
      return await this.#cluster.findBroker({ nodeId });
    } catch {
      // The brokers have been asked for again meanwhile: it may be new, or have another address.
      return this.#cluster.findBroker({ nodeId });
    }
  }

  /**
   * The meaning of a failed request about topics, whose leaders are asked for again from now on. A topic is missing only if the metadata say so:
   * in a cluster of several brokers one of them may not have heard of it yet.
   */
  async meaningOf(error: unknown, topics: readonly string[], doing: string): Promise<MillraceError> {
    this.doubt(topics);
    if (!isUnknownTopic(error)) return toMillraceError(error, doing);
    try {
      for (const topic of topics) await this.leaders(topic);
      return new MillraceError('KAFKA_UNREACHABLE', `${doing}: a broker has not heard of a topic`, { cause: error });
    } catch (cause) {
      return toMillraceError(cause, doing);
    }
  }

  /** Their leaders may have changed: the next `ask` asks for them again. */
  doubt(topics: Iterable<string>): void {
    for (const topic of topics) {
      const known = this.#known.get(topic);
      if (known !== undefined) this.#known.set(topic, { ...known, askedMs: Number.NEGATIVE_INFINITY });
    }
  }

  #hasNew(brokers: ClusterMetadata['brokers']): boolean {
    const known = this.#cluster.brokerPool.getNodeIds();
    return brokers.some(({ nodeId }) => !known.includes(`${nodeId}`));
  }

  /** Asks one broker after the other; the one that answered last comes first. */
  async #askAny<T>(request: (broker: Broker) => Promise<T>): Promise<T> {
    const { brokerPool } = this.#cluster;
    const ids = brokerPool.getNodeIds().sort((a, b) => Number(b === this.#lastGood) - Number(a === this.#lastGood));
    for (const nodeId of ids) {
      try {
        const answer = await within(patienceMs, brokerPool.findBroker({ nodeId }).then(request));
        this.#lastGood = nodeId;
        return answer;
      } catch (error) {
        if (protocolType(error) !== undefined) throw error;
        // Another one may answer.
      }
    }
    await this.#cluster.connect();
    await this.#cluster.refreshMetadata();
    return request(await brokerPool.findConnectedBroker());
  }
}

async function within<T>(ms: number, answer: Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => reject(new MillraceError('KAFKA_UNREACHABLE', `a broker has not answered within ${ms} ms`)),
    ms,
  );
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}

function missing(message: string): MillraceError {
  return new MillraceError('TOPIC_MISSING', message, { remedy: createTopics });
}

function knownOf({ topic, topicErrorCode, partitionMetadata }: TopicMetadata): Known {
  const leaders: number[] = [];
  for (const { partitionId, leader } of partitionMetadata) leaders[partitionId] = leader;
  const error = topicErrorCode === 0 ? undefined : topicError(topicErrorCode, topic);
  return { leaders, error, askedMs: performance.now() };
}
