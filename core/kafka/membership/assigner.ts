import kafkajs, { type PartitionAssigner } from 'kafkajs';
import { type Assignment, add, assignSticky } from '../../log/assignment.ts';
import type { TopicPartition } from '../../log/log.ts';

const { AssignerProtocol } = kafkajs;
const version = 1;

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
