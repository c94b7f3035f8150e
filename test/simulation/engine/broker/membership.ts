import { type Assignment, add } from '../../../../core/log/assignment.ts';
import type { JoinOptions, TopicPartition } from '../../../../core/log/log.ts';
import type { Host } from '../processes/host.ts';
import type { Coordinator, Joined } from './coordinator.ts';

const heartbeatMs = 300;
const retryMs = 200;
/** Longer than a rebalance may take. */
const joinTimeoutMs = 8_000;

/** Membership in a group of the simulation: joins, heartbeats, joins again when told to, and tells its assignment. */
export class HostMembership implements AsyncDisposable {
  readonly #host: Host;
  readonly #coordinator: Coordinator;
  readonly #options: JoinOptions;
  readonly #stop = new AbortController();
  #ended: Promise<void> | undefined;
  #owned: readonly TopicPartition[] = [];
  #joined: Joined | undefined;

  private constructor(host: Host, coordinator: Coordinator, options: JoinOptions) {
    this.#host = host;
    this.#coordinator = coordinator;
    this.#options = options;
  }

  /** Resolves with the first assignment. */
  static async join(host: Host, coordinator: Coordinator, options: JoinOptions): Promise<HostMembership> {
    const membership = new HostMembership(host, coordinator, options);
    await membership.#rejoin(undefined);
    void membership.#follow();
    return membership;
  }

  async #rejoin(member: string | undefined): Promise<void> {
    while (!this.#stop.signal.aborted) {
      try {
        const request = { member, topics: this.#options.topics, claim: claimOf(this.#owned) };
        const joined = await this.#host.call<Joined>(
          'JoinGroup',
          (answer) => this.#coordinator.join(this.#options.group, request, (value) => answer({ value })),
          joinTimeoutMs,
        );
        if (this.#stop.signal.aborted) return;
        this.#joined = joined;
        this.#owned = Object.entries(joined.assignment).flatMap(([topic, partitions]) =>
          partitions.map((partition) => ({ topic, partition })),
        );
        this.#options.onAssigned(this.#owned);
        return;
      } catch {
        await this.#host.clock.sleep(retryMs, this.#stop.signal);
      }
    }
  }

  async #follow(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await this.#host.clock.sleep(heartbeatMs, signal);
      if (signal.aborted || this.#joined === undefined) return;
      const { member, generation } = this.#joined;
      try {
        const answered = await this.#host.call<'ok' | 'rebalance' | 'unknown'>('Heartbeat', (answer) =>
          answer({ value: this.#coordinator.heartbeat(this.#options.group, member, generation) }),
        );
        if (answered !== 'ok') await this.#rejoin(answered === 'unknown' ? undefined : member);
      } catch {
        // No answer: the next heartbeat asks again.
      }
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#ended ??= this.#end();
    return this.#ended;
  }

  async #end(): Promise<void> {
    this.#stop.abort();
    const member = this.#joined?.member;
    if (member === undefined) return;
    await this.#host
      .call('LeaveGroup', (answer) => {
        this.#coordinator.leave(this.#options.group, member);
        answer({ value: undefined });
      })
      .catch(() => undefined);
  }
}

function claimOf(owned: readonly TopicPartition[]): Assignment {
  const claim: Assignment = {};
  for (const { topic, partition } of owned) add(claim, topic, partition);
  return claim;
}
