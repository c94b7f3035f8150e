/** Topics of a Kafka cluster: listing, creating, and changing settings. Not its job: which topics there should be. */
import { setTimeout as sleep } from 'node:timers/promises';
import kafkajs, { type Admin, type Kafka } from 'kafkajs';
import { MillraceError } from '../base/errors.ts';
import { protocolType, toMillraceError } from './connection/errors.ts';
import './connection/request-queue.ts';

export interface TopicSpec {
  readonly name: string;
  readonly partitions: number;
  /** Topic settings by their Kafka names, e.g. `retention.ms`. */
  readonly settings: Readonly<Record<string, string>>;
}

export interface AdminOptions {
  readonly brokers: readonly string[];
  readonly clientId: string;
  /** Default 10,000. */
  readonly timeoutMs?: number;
}

// kafkajs' ConfigResourceTypes.TOPIC and BROKER, and ConfigSource.TOPIC_CONFIG
const TOPIC = 2;
const BROKER = 4;
const OF_TOPIC = 1;

/** What is said of a topic that was made a moment ago. */
const early: ReadonlySet<string> = new Set([
  'UNKNOWN_TOPIC_OR_PARTITION',
  'LEADER_NOT_AVAILABLE',
  'NOT_LEADER_FOR_PARTITION',
]);

/** A busy broker takes its time for many new topics; each request is answered meanwhile. */
const servedMs = 60_000;

/** Any call may throw MillraceError KAFKA_UNREACHABLE. */
export class TopicAdmin implements AsyncDisposable {
  readonly #admin: Admin;
  readonly #timeoutMs: number;
  readonly #brokers: string;

  private constructor(admin: Admin, options: AdminOptions) {
    this.#admin = admin;
    this.#timeoutMs = options.timeoutMs ?? 10_000;
    this.#brokers = options.brokers.join(', ');
  }

  static async open(options: AdminOptions): Promise<TopicAdmin> {
    const timeout = options.timeoutMs ?? 10_000;
    const kafka: Kafka = new kafkajs.Kafka({
      clientId: options.clientId,
      brokers: [...options.brokers],
      logLevel: kafkajs.logLevel.NOTHING,
      connectionTimeout: Math.min(3000, timeout),
      requestTimeout: timeout,
      retry: { retries: 3, initialRetryTime: 200, maxRetryTime: 1500 },
    });
    const admin = new TopicAdmin(kafka.admin(), options);
    await admin.#ask('connecting', () => admin.#admin.connect());
    return admin;
  }

  /** Ids of the brokers that take part in the cluster now. */
  async brokers(): Promise<readonly number[]> {
    const { brokers } = await this.#ask('listing brokers', () => this.#admin.describeCluster());
    return brokers.map(({ nodeId }) => nodeId);
  }

  /** Partition counts of all topics. */
  async partitions(): Promise<ReadonlyMap<string, number>> {
    const { topics } = await this.#ask('listing topics', () => this.#admin.fetchTopicMetadata());
    return new Map(topics.map((topic) => [topic.name, topic.partitions.length]));
  }

  /** Settings in force, the broker's defaults included. Topics must exist. */
  async settings(names: readonly string[]): Promise<ReadonlyMap<string, Readonly<Record<string, string>>>> {
    if (names.length === 0) return new Map();
    const { resources } = await this.#ask('reading topic settings', () =>
      this.#admin.describeConfigs({ includeSynonyms: false, resources: names.map((name) => ({ type: TOPIC, name })) }),
    );
    return new Map(
      resources.map((resource) => [
        resource.resourceName,
        Object.fromEntries(resource.configEntries.map((entry) => [entry.configName, entry.configValue])),
      ]),
    );
  }

  /** A setting in force at each broker, such as `offsets.retention.minutes`, by the broker's id. */
  async brokerSetting(setting: string): Promise<ReadonlyMap<number, string>> {
    return await this.#ask(`reading ${setting}`, async () => {
      const { brokers } = await this.#admin.describeCluster();
      const found = new Map<number, string>();
      for (const { nodeId } of brokers) {
        // A broker tells only its own settings.
        const { resources } = await this.#admin.describeConfigs({
          includeSynonyms: false,
          resources: [{ type: BROKER, name: `${nodeId}`, configNames: [setting] }],
        });
        const value = resources[0]?.configEntries[0]?.configValue;
        if (value !== undefined) found.set(nodeId, value);
      }
      return found;
    });
  }

  /** Creates topics with the broker's default replication; those that exist by now are left alone. Returns when their leaders serve them. */
  async create(topics: readonly TopicSpec[]): Promise<void> {
    if (topics.length === 0) return;
    try {
      await this.#admin.createTopics({
        // kafkajs waits only as long as the broker knows the topic but not its leader, and fails when it does not know the topic yet.
        waitForLeaders: false,
        timeout: this.#timeoutMs,
        topics: topics.map((topic) => ({
          topic: topic.name,
          numPartitions: topic.partitions,
          replicationFactor: -1,
          configEntries: Object.entries(topic.settings).map(([name, value]) => ({ name, value })),
        })),
      });
    } catch (error) {
      const reasons = (error as { errors?: readonly { type?: string; message?: string }[] }).errors;
      if (reasons?.every((reason) => reason.type === 'TOPIC_ALREADY_EXISTS') !== true) {
        throw this.#error(error, 'creating topics');
      }
    }
    await this.#untilLed(topics.map((topic) => topic.name));
  }

  async #untilLed(topics: string[]): Promise<void> {
    const waitMs = Math.max(this.#timeoutMs, servedMs);
    const deadline = performance.now() + waitMs;
    for (;;) {
      try {
        const found = await this.#admin.fetchTopicMetadata({ topics });
        if (found.topics.every((topic) => topic.partitions.every(({ leader }) => leader >= 0))) {
          // A broker may be named as the leader a moment before it knows.
          for (const topic of topics) await this.#admin.fetchTopicOffsets(topic);
          return;
        }
      } catch (error) {
        if (!early.has(protocolType(error) ?? '') || performance.now() > deadline) {
          throw this.#error(error, 'creating topics');
        }
      }
      if (performance.now() > deadline) {
        throw new MillraceError('KAFKA_UNREACHABLE', `new topics have no leaders that serve them after ${waitMs} ms`);
      }
      await sleep(50);
    }
  }

  /**
   * Changes the given settings of one topic and keeps its other own settings. Not atomic with a change by somebody else. Returns when the
   * broker shows them: the controller answers before the brokers have them.
   */
  async alter(name: string, settings: Readonly<Record<string, string>>): Promise<void> {
    await this.#ask(`changing settings of ${name}`, async () => {
      // Kafka's AlterConfigs replaces a topic's own settings as a whole; kafkajs knows no incremental one.
      const { resources } = await this.#admin.describeConfigs({
        includeSynonyms: false,
        resources: [{ type: TOPIC, name }],
      });
      const own = (resources[0]?.configEntries ?? []).filter((entry) => entry.configSource === OF_TOPIC);
      const merged = new Map(own.map((entry) => [entry.configName, entry.configValue]));
      for (const [key, value] of Object.entries(settings)) merged.set(key, value);
      const configEntries = [...merged].map(([key, value]) => ({ name: key, value }));
      await this.#admin.alterConfigs({ validateOnly: false, resources: [{ type: TOPIC, name, configEntries }] });
    });
    const deadline = performance.now() + this.#timeoutMs;
    while (performance.now() < deadline) {
      const shown = (await this.settings([name])).get(name) ?? {};
      if (Object.entries(settings).every(([key, value]) => shown[key] === value)) return;
      await sleep(50);
    }
    throw new MillraceError('KAFKA_UNREACHABLE', `settings of ${name} are not in force after ${this.#timeoutMs} ms`);
  }

  /** Deletes topics; absent ones are skipped. */
  async delete(names: readonly string[]): Promise<void> {
    const present = await this.partitions();
    const topics = names.filter((name) => present.has(name));
    if (topics.length === 0) return;
    await this.#ask('deleting topics', () => this.#admin.deleteTopics({ topics, timeout: this.#timeoutMs }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#admin.disconnect().catch(() => {});
  }

  async #ask<T>(doing: string, request: () => Promise<T>): Promise<T> {
    try {
      return await request();
    } catch (error) {
      throw this.#error(error, doing);
    }
  }

  #error(error: unknown, doing: string): MillraceError {
    const known = toMillraceError(error, doing);
    if (known.code !== 'KAFKA_UNREACHABLE' || protocolType(error) !== undefined) return known;
    const reason = error instanceof Error ? error.message : String(error);
    return new MillraceError('KAFKA_UNREACHABLE', `no Kafka broker answers at ${this.#brokers}: ${reason}`, {
      cause: error,
      remedy: 'Start the stack with `millrace up`, or check the list of brokers.',
    });
  }
}
