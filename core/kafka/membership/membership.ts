import { setTimeout as delay } from 'node:timers/promises';
import type { Consumer, Kafka } from 'kafkajs';
import type { MillraceError } from '../../base/errors.ts';
import type { JoinOptions, TopicPartition } from '../../log/log.ts';
import { stickyAssigner } from './assigner.ts';
import './group-heartbeat.ts';

const sessionTimeoutMs = 10_000;
const heartbeatIntervalMs = 1_000;
/** How often the idle consumer wakes up to send heartbeats. */
const wakeUpMs = 250;
const rejoinMs = 1_000;

/**
 * Membership in a consumer group, and nothing else: a kafkajs consumer whose partitions are all paused. It joins, heartbeats and hands
 * out assignments; records are read by fetchers at the tasks' own positions, so a rebalance rewinds nothing and a slow task
 * delays no heartbeat.
 */
export class KafkaMembership implements AsyncDisposable {
  readonly #kafka: Kafka;
  readonly #options: JoinOptions;
  readonly #meaningOf: (error: unknown) => Promise<MillraceError>;
  readonly #closing = new AbortController();
  #ended: Promise<void> | undefined;
  #consumer: Consumer | undefined;
  #owned: readonly TopicPartition[] = [];
  #rejoining: Promise<void> = Promise.resolve();

  private constructor(kafka: Kafka, options: JoinOptions, meaningOf: (error: unknown) => Promise<MillraceError>) {
    this.#kafka = kafka;
    this.#options = options;
    this.#meaningOf = meaningOf;
  }

  /** @param meaningOf of an error that kafkajs has given up on. */
  static async join(
    kafka: Kafka,
    options: JoinOptions,
    meaningOf: (error: unknown) => Promise<MillraceError>,
  ): Promise<KafkaMembership> {
    const membership = new KafkaMembership(kafka, options, meaningOf);
    try {
      await membership.#join();
    } catch (error) {
      await membership[Symbol.asyncDispose]().catch(() => undefined);
      throw error;
    }
    return membership;
  }

  async #join(): Promise<void> {
    const { group, topics, onAssigned } = this.#options;
    const consumer = this.#kafka.consumer({
      groupId: group,
      sessionTimeout: sessionTimeoutMs,
      heartbeatInterval: heartbeatIntervalMs,
      rebalanceTimeout: sessionTimeoutMs,
      maxWaitTimeInMs: wakeUpMs,
      allowAutoTopicCreation: false,
      partitionAssigners: [stickyAssigner(() => this.#owned)],
      retry: { retries: 8, initialRetryTime: 200, maxRetryTime: 3_000, restartOnFailure: async () => !this.#closed },
    });
    this.#consumer = consumer;
    consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
      const owned: TopicPartition[] = [];
      for (const [topic, partitions] of Object.entries(payload.memberAssignment)) {
        for (const partition of partitions) owned.push({ topic, partition });
        consumer.pause([{ topic, partitions }]);
      }
      this.#owned = owned;
      if (!this.#closed) onAssigned(owned);
    });
    let joined = false;
    let crash: Error | undefined;
    consumer.on(consumer.events.CRASH, ({ payload }) => {
      if (this.#closed || payload.restart) return;
      if (joined) this.#rejoining = this.#rejoin(payload.error);
      else crash = payload.error;
    });
    await consumer.connect();
    await consumer.subscribe({ topics: [...topics], fromBeginning: true });
    await consumer.run({ autoCommit: false, eachBatchAutoResolve: false, eachBatch: async () => undefined });
    if (crash !== undefined) throw crash;
    joined = true;
  }

  /** kafkajs takes some infrastructure faults, such as a coordinator that is not found while the broker restarts, for the end. */
  async #rejoin(first: Error): Promise<void> {
    let error: unknown = first;
    while (!this.#closed) {
      const known = await this.#meaningOf(error);
      if (known.disposition !== 'retry') {
        this.#options.onLost(known);
        return;
      }
      await delay(rejoinMs, undefined, { signal: this.#closing.signal }).catch(() => undefined);
      if (this.#closed) return;
      await this.#consumer?.disconnect().catch(() => undefined);
      try {
        await this.#join();
        return;
      } catch (cause) {
        error = cause;
      }
    }
  }

  get #closed(): boolean {
    return this.#closing.signal.aborted;
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#ended ??= this.#end();
    return this.#ended;
  }

  async #end(): Promise<void> {
    this.#closing.abort();
    await this.#rejoining;
    await this.#consumer?.disconnect();
  }
}
