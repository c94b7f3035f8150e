import type { Consumer, Kafka } from 'kafkajs';
import type { JoinOptions, TopicPartition } from '../runtime/log.ts';
import { stickyAssigner } from './assigner.ts';

const sessionTimeoutMs = 10_000;
const heartbeatIntervalMs = 1_000;
/** How often the idle consumer wakes up to send heartbeats. */
const wakeUpMs = 250;

/**
 * Membership in a consumer group, and nothing else: a kafkajs consumer whose partitions are all paused. It joins, heartbeats and hands
 * out assignments; records are read by fetchers at the tasks' own positions, so a rebalance rewinds nothing and a slow task
 * delays no heartbeat.
 */
export class KafkaMembership implements AsyncDisposable {
  readonly #consumer: Consumer;
  #owned: readonly TopicPartition[] = [];
  #closed = false;

  private constructor(kafka: Kafka, group: string) {
    this.#consumer = kafka.consumer({
      groupId: group,
      sessionTimeout: sessionTimeoutMs,
      heartbeatInterval: heartbeatIntervalMs,
      rebalanceTimeout: sessionTimeoutMs,
      maxWaitTimeInMs: wakeUpMs,
      allowAutoTopicCreation: false,
      partitionAssigners: [stickyAssigner(() => this.#owned)],
      retry: { retries: 8, initialRetryTime: 200, maxRetryTime: 3_000, restartOnFailure: async () => !this.#closed },
    });
  }

  static async join(kafka: Kafka, options: JoinOptions): Promise<KafkaMembership> {
    const membership = new KafkaMembership(kafka, options.group);
    const consumer = membership.#consumer;
    consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
      const owned: TopicPartition[] = [];
      for (const [topic, partitions] of Object.entries(payload.memberAssignment)) {
        for (const partition of partitions) owned.push({ topic, partition });
        consumer.pause([{ topic, partitions }]);
      }
      membership.#owned = owned;
      if (!membership.#closed) options.onAssigned(owned);
    });
    consumer.on(consumer.events.CRASH, ({ payload }) => {
      if (!membership.#closed && !payload.restart) options.onLost(payload.error);
    });
    try {
      await consumer.connect();
      await consumer.subscribe({ topics: [...options.topics], fromBeginning: true });
      await consumer.run({ autoCommit: false, eachBatchAutoResolve: false, eachBatch: async () => undefined });
    } catch (error) {
      await membership[Symbol.asyncDispose]().catch(() => undefined);
      throw error;
    }
    return membership;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#consumer.disconnect();
  }
}
