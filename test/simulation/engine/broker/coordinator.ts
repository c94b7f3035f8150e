import { type Assignment, assignSticky } from '../../../../core/log/assignment.ts';
import type { Scheduler } from '../scheduler.ts';

export interface CoordinatorOptions {
  readonly scheduler: Scheduler;
  /** A member that is not heard of for so long is out. */
  readonly sessionTimeoutMs: number;
  /** Members that have not joined again by then are out. */
  readonly rebalanceTimeoutMs: number;
  /** Partition count of a topic. */
  readonly partitions: (topic: string) => number;
}

export interface Joined {
  readonly member: string;
  readonly generation: number;
  readonly assignment: Assignment;
}

interface Member {
  readonly id: string;
  topics: readonly string[];
  claim: Assignment;
  /** Waits for the rebalance to complete. */
  joining: ((joined: Joined) => void) | undefined;
  cancelSession: () => void;
}

interface Group {
  readonly name: string;
  readonly members: Map<string, Member>;
  generation: number;
  rebalancing: boolean;
  cancelDeadline: () => void;
}

/**
 * The group coordinator of the simulation: eager rebalances, as kafkajs does them. A member that joins or leaves makes all others join again;
 * one that is silent is thrown out while it may still believe that it owns its partitions.
 */
export class Coordinator {
  readonly #options: CoordinatorOptions;
  readonly #groups = new Map<string, Group>();
  #serial = 0;

  constructor(options: CoordinatorOptions) {
    this.#options = options;
  }

  /** @param answer gets the member's part once everybody has joined. */
  join(
    group: string,
    request: { readonly member: string | undefined; readonly topics: readonly string[]; readonly claim: Assignment },
    answer: (joined: Joined) => void,
  ): void {
    const of = this.#group(group);
    let member = of.members.get(request.member ?? '');
    if (member === undefined) {
      member = {
        id: `m${String(this.#serial++).padStart(4, '0')}`,
        topics: [],
        claim: {},
        joining: undefined,
        cancelSession: () => undefined,
      };
      of.members.set(member.id, member);
    }
    member.topics = request.topics;
    member.claim = request.claim;
    member.joining = answer;
    member.cancelSession();
    this.#prepare(of);
    this.#completeIfAllJoined(of);
  }

  heartbeat(group: string, id: string, generation: number): 'ok' | 'rebalance' | 'unknown' {
    const of = this.#group(group);
    const member = of.members.get(id);
    if (member === undefined || generation !== of.generation) return 'unknown';
    this.#expectHeartbeat(of, member);
    return of.rebalancing ? 'rebalance' : 'ok';
  }

  leave(group: string, id: string): void {
    this.#remove(this.#group(group), id, 'leaves');
  }

  #prepare(of: Group): void {
    if (of.rebalancing) return;
    of.rebalancing = true;
    of.cancelDeadline = this.#options.scheduler.after(this.#options.rebalanceTimeoutMs, () => {
      for (const member of [...of.members.values()]) {
        if (member.joining === undefined) {
          member.cancelSession();
          of.members.delete(member.id);
        }
      }
      this.#completeIfAllJoined(of);
    });
  }

  #completeIfAllJoined(of: Group): void {
    if (!of.rebalancing || [...of.members.values()].some(({ joining }) => joining === undefined)) return;
    of.cancelDeadline();
    of.rebalancing = false;
    of.generation += 1;
    const topics = new Map(
      [...of.members.values()].flatMap((member) =>
        member.topics.map((topic) => [topic, this.#options.partitions(topic)] as const),
      ),
    );
    const claims = new Map([...of.members].map(([id, { claim }]) => [id, claim]));
    const assigned = assignSticky(topics, claims);
    this.#options.scheduler.trace(`group ${of.name}: generation ${of.generation} of ${of.members.size} members`);
    for (const member of of.members.values()) {
      const { joining } = member;
      member.joining = undefined;
      this.#expectHeartbeat(of, member);
      joining?.({ member: member.id, generation: of.generation, assignment: assigned.get(member.id) ?? {} });
    }
  }

  #expectHeartbeat(of: Group, member: Member): void {
    member.cancelSession();
    member.cancelSession = this.#options.scheduler.after(this.#options.sessionTimeoutMs, () =>
      this.#remove(of, member.id, 'is silent'),
    );
  }

  #remove(of: Group, id: string, why: string): void {
    const member = of.members.get(id);
    if (member === undefined) return;
    member.cancelSession();
    of.members.delete(id);
    this.#options.scheduler.trace(`group ${of.name}: ${id} ${why}`);
    if (of.members.size > 0) this.#prepare(of);
    this.#completeIfAllJoined(of);
  }

  #group(name: string): Group {
    let group = this.#groups.get(name);
    if (group === undefined) {
      group = { name, members: new Map(), generation: 0, rebalancing: false, cancelDeadline: () => undefined };
      this.#groups.set(name, group);
    }
    return group;
  }
}
