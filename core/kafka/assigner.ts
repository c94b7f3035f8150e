import kafkajs, { type PartitionAssigner } from 'kafkajs';
import type { TopicPartition } from '../runtime/log.ts';

const { AssignerProtocol } = kafkajs;
const version = 1;

export type Assignment = Record<string, number[]>;

/**
 * Spreads partitions evenly and lets each member keep what it has, because moving a task means restoring its state. Partitions of the same number
 * of several topics go together: they are the inputs of one task.
 *
 * Pure: the same members and claims give the same assignment, whoever is the leader.
 */
export function assignSticky(
  partitionsByTopic: ReadonlyMap<string, number>,
  claims: ReadonlyMap<string, Assignment>,
): Map<string, Assignment> {
  const members = [...claims.keys()].sort();
  const result = new Map<string, Assignment>(members.map((member) => [member, {}]));
  if (members.length === 0) return result;
  const load = new Map<string, number>(members.map((member) => [member, 0]));
  const loadOf = (member: string): number => load.get(member) ?? 0;
  const give = (member: string, partition: number): void => {
    for (const [topic, count] of partitionsByTopic) {
      if (partition < count) add(result.get(member) ?? {}, topic, partition);
    }
    load.set(member, loadOf(member) + 1);
  };
  const numbers = Math.max(0, ...partitionsByTopic.values());
  const fair = Math.floor(numbers / members.length);
  let larger = numbers % members.length;
  const homeless: number[] = [];
  for (let partition = 0; partition < numbers; partition++) {
    const claimants = members.filter((member) =>
      Object.values(claims.get(member) ?? {}).some((owned) => owned.includes(partition)),
    );
    const keeper = claimants.find((member) => loadOf(member) < fair || (loadOf(member) === fair && larger > 0));
    if (keeper === undefined) {
      homeless.push(partition);
      continue;
    }
    if (loadOf(keeper) === fair) larger--;
    give(keeper, partition);
  }
  for (const partition of homeless) {
    give(
      members.reduce((poorest, member) => (loadOf(member) < loadOf(poorest) ? member : poorest)),
      partition,
    );
  }
  return result;
}

function add(assignment: Assignment, topic: string, partition: number): void {
  const partitions = assignment[topic];
  if (partitions === undefined) assignment[topic] = [partition];
  else partitions.push(partition);
}

/** @param owned What this member owns now; sent with each join as its claim. */
export function stickyAssigner(owned: () => readonly TopicPartition[]): PartitionAssigner {
  return ({ cluster }) => ({
    name: 'millrace-sticky',
    version,
    async assign({ members, topics }) {
      const partitionsByTopic = new Map(
        topics.map((topic) => [topic, cluster.findTopicPartitionMetadata(topic).length]),
      );
      const claims = new Map(members.map(({ memberId, memberMetadata }) => [memberId, readClaim(memberMetadata)]));
      return [...assignSticky(partitionsByTopic, claims)].map(([memberId, assignment]) => ({
        memberId,
        memberAssignment: AssignerProtocol.MemberAssignment.encode({ version, assignment, userData: Buffer.alloc(0) }),
      }));
    },
    protocol({ topics }) {
      const claim: Assignment = {};
      for (const { topic, partition } of owned()) add(claim, topic, partition);
      return {
        name: 'millrace-sticky',
        metadata: AssignerProtocol.MemberMetadata.encode({
          version,
          topics,
          userData: Buffer.from(JSON.stringify(claim)),
        }),
      };
    },
  });
}

/** A claim is advice: one that cannot be read only costs a move. */
function readClaim(metadata: Buffer): Assignment {
  try {
    const userData = AssignerProtocol.MemberMetadata.decode(metadata)?.userData;
    return userData === undefined || userData.length === 0 ? {} : (JSON.parse(userData.toString('utf8')) as Assignment);
  } catch {
    return {};
  }
}
