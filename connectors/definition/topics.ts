/** Compares the topics of schemas/topics.ts with a cluster, and applies every difference that loses no data. */
import { MillraceError } from '../../core/base/errors.ts';
import type { TopicAdmin, TopicSpec } from '../../core/kafka/admin.ts';
import type { Topic } from '../../schemas/topics.ts';

/** `refuse`: the partition count differs, which no setting can change. */
export type TopicAction = 'ok' | 'create' | 'alter' | 'refuse';

export interface TopicDifference {
  readonly setting: string;
  readonly actual: string;
  readonly wanted: string;
}

export interface TopicPlan {
  readonly topic: Topic;
  readonly action: TopicAction;
  readonly differences: readonly TopicDifference[];
}

export type Admin = Pick<TopicAdmin, 'partitions' | 'settings' | 'create' | 'alter'>;

export function topicSpec(topic: Topic): TopicSpec {
  return {
    name: topic.name,
    partitions: topic.partitions,
    settings: {
      'cleanup.policy': topic.cleanup,
      'retention.ms': String(topic.retentionMs),
      // A size limit of the broker would delete records before their retention time.
      'retention.bytes': '-1',
      'compression.type': topic.compression,
      ...(topic.compactionLagMs !== undefined && { 'min.compaction.lag.ms': String(topic.compactionLagMs) }),
      ...(topic.maxBatchBytes !== undefined && { 'max.message.bytes': String(topic.maxBatchBytes) }),
    },
  };
}

/** Compares the cluster with the list; changes nothing. */
export async function planTopics(admin: Admin, topics: readonly Topic[]): Promise<readonly TopicPlan[]> {
  const partitions = await admin.partitions();
  const present = topics.filter(({ name }) => partitions.has(name)).map(({ name }) => name);
  const settings = await admin.settings(present);
  return topics.map((topic) => {
    const count = partitions.get(topic.name);
    if (count === undefined) return { topic, action: 'create', differences: [] };
    return compareTopic(topic, count, settings.get(topic.name) ?? {});
  });
}

export function compareTopic(topic: Topic, partitions: number, settings: Readonly<Record<string, string>>): TopicPlan {
  const differences: TopicDifference[] = [];
  for (const [setting, wanted] of Object.entries(topicSpec(topic).settings)) {
    const actual = settings[setting] ?? 'unknown';
    if (actual !== wanted) differences.push({ setting, actual, wanted });
  }
  const counts = { setting: 'partitions', actual: String(partitions), wanted: String(topic.partitions) };
  if (partitions !== topic.partitions) return { topic, action: 'refuse', differences: [counts, ...differences] };
  return { topic, action: differences.length > 0 ? 'alter' : 'ok', differences };
}

/**
 * Creates and alters topics. Capture topics are created too, with Kafka Connect's own settings, so that processors find them before the
 * first row.
 *
 * @returns the plan that was carried out.
 * @throws MillraceError TOPIC_DIFFERS: a partition count differs; nothing was changed.
 */
export async function applyTopics(admin: Admin, topics: readonly Topic[]): Promise<readonly TopicPlan[]> {
  const plan = await planTopics(admin, topics);
  refuseRepartition(plan);
  await admin.create(plan.filter(({ action }) => action === 'create').map(({ topic }) => topicSpec(topic)));
  for (const { topic, action } of plan) {
    if (action === 'alter') await admin.alter(topic.name, topicSpec(topic).settings);
  }
  return plan;
}

function refuseRepartition(plan: readonly TopicPlan[]): void {
  const refused = plan.filter(({ action }) => action === 'refuse');
  if (refused.length === 0) return;
  const lines = refused.map(({ topic, differences }) => {
    const count = differences.find(({ setting }) => setting === 'partitions');
    return `  ${topic.name}: ${count?.actual} partitions, should be ${count?.wanted}`;
  });
  throw new MillraceError(
    'TOPIC_DIFFERS',
    `the partition count of a topic that exists is not changed:\n${lines.join('\n')}\n` +
      'A key would move to another partition, away from its state, its order and its journal.',
    {
      remedy:
        'Set the count in schemas/topics.ts back, or make new topics: stop the processors, delete the topic and those derived from it, ' +
        'apply again, and replay from the source.',
    },
  );
}
