/** Consumer groups of a Kafka cluster, for operators: who is in them, and where a time lies in a topic. */
import kafkajs, { type Admin } from 'kafkajs';
import type { Groups } from '../log/groups.ts';
import { toMillraceError } from './connection/errors.ts';
import './connection/request-queue.ts';

export interface GroupAdminOptions {
  readonly brokers: readonly string[];
  readonly clientId: string;
}

/** Any call may throw MillraceError KAFKA_UNREACHABLE. */
export class GroupAdmin implements Groups, AsyncDisposable {
  readonly #admin: Admin;

  private constructor(admin: Admin) {
    this.#admin = admin;
  }

  static async open({ brokers, clientId }: GroupAdminOptions): Promise<GroupAdmin> {
    const kafka = new kafkajs.Kafka({
      clientId,
      brokers: [...brokers],
      logLevel: kafkajs.logLevel.NOTHING,
      connectionTimeout: 3_000,
      retry: { retries: 3, initialRetryTime: 200, maxRetryTime: 1_500 },
    });
    const admin = kafka.admin();
    await ask(`connecting to ${brokers.join(', ')}`, () => admin.connect());
    return new GroupAdmin(admin);
  }

  async members(group: string): Promise<readonly string[]> {
    const { groups } = await ask(`describing ${group}`, () => this.#admin.describeGroups([group]));
    return groups.flatMap(({ members }) => members.map(({ clientId, clientHost }) => `${clientId} at ${clientHost}`));
  }

  /** Names of all consumer groups. */
  async names(): Promise<readonly string[]> {
    const { groups } = await ask('listing groups', () => this.#admin.listGroups());
    return groups.map(({ groupId }) => groupId);
  }

  /** Topics of which the group has committed offsets. */
  async topics(group: string): Promise<readonly string[]> {
    const offsets = await ask(`asking for the offsets of ${group}`, () => this.#admin.fetchOffsets({ groupId: group }));
    return offsets
      .filter(({ partitions }) => partitions.some(({ offset }) => offset !== '-1'))
      .map(({ topic }) => topic);
  }

  async offsetsAt(topic: string, millis: number): Promise<readonly bigint[]> {
    const found = await ask(`looking for a time in ${topic}`, () =>
      this.#admin.fetchTopicOffsetsByTimestamp(topic, millis),
    );
    const offsets: bigint[] = [];
    for (const { partition, offset } of found) offsets[partition] = BigInt(offset);
    return offsets;
  }

  /** Deletes a group's committed offsets. A group that is not there is no error. */
  async forget(group: string): Promise<void> {
    if ((await this.names()).includes(group)) {
      await ask(`deleting ${group}`, () => this.#admin.deleteGroups([group]));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#admin.disconnect().catch(() => undefined);
  }
}

async function ask<T>(doing: string, request: () => Promise<T>): Promise<T> {
  try {
    return await request();
  } catch (error) {
    throw toMillraceError(error, doing);
  }
}
