import type { Client } from 'pg';
import { hotSchema, hotTables } from '../../core/hot-store/tables.ts';
import { type Groups, requireStopped } from '../../core/log/groups.ts';
import type { Log, TopicPartition } from '../../core/log/log.ts';
import { groupOf } from '../../core/runtime/runner.ts';
import { transactionalId } from '../../core/runtime/takeover.ts';
import { type HotTopic, hotTopics } from '../../schemas/topics.ts';
import { changingSchema } from './partitions.ts';

export interface RebuildOptions {
  readonly log: Log;
  readonly groups: Groups;
  /** Name of the sink. Default hot-store. */
  readonly name?: string;
}

export interface Rereading extends TopicPartition {
  readonly topic: HotTopic;
  /** The earliest offset that the topic keeps: the sink's new position. */
  readonly start: bigint;
  readonly end: bigint;
  /** Undefined if nothing was committed. */
  readonly committed: bigint | undefined;
}

export interface RebuildPlan {
  readonly group: string;
  /** Members of the group, which have to be stopped first. */
  readonly members: readonly string[];
  readonly partitions: readonly Rereading[];
}

/** The ranges that a rebuild of the hot store would read. Changes nothing. @throws MillraceError KAFKA_UNREACHABLE, TOPIC_MISSING */
export async function planRebuild({ log, groups, name = 'hot-store' }: RebuildOptions): Promise<RebuildPlan> {
  const group = groupOf(name);
  const partitions: Rereading[] = [];
  for (const topic of hotTopics) {
    const [starts, ends, committed] = await Promise.all([
      log.starts(topic),
      log.ends(topic),
      log.committed(group, topic),
    ]);
    for (const [partition, end] of ends.entries()) {
      const at = committed.find((each) => each.partition === partition)?.offset;
      partitions.push({ topic, partition, start: starts[partition] ?? 0n, end, committed: at });
    }
  }
  return { group, members: await groups.members(group), partitions };
}

/**
 * Empties the tables, then resets the sink to the start of its topics. The order matters. A sink that starts in between takes the
 * partition, so its offset does not move (FENCED), and a second run finishes the rest. In the other order, the first rows of that sink
 * would be deleted.
 *
 * @throws MillraceError GROUP_ACTIVE: the sink runs. FENCED: the sink was started meanwhile.
 */
export async function rebuild({ log, groups }: RebuildOptions, plan: RebuildPlan, client: Client): Promise<void> {
  const { group, partitions } = plan;
  await requireStopped(groups, group, 'hot-store');
  await changingSchema(client, async () => {
    for (const { name } of Object.values(hotTables)) {
      const table = `${hotSchema}.${name}`;
      const { rows } = await client.query<{ there: boolean }>('SELECT to_regclass($1) IS NOT NULL AS there', [table]);
      if (rows[0]?.there === true) await client.query(`TRUNCATE ${table}`);
    }
  });
  for (const { topic, partition, start: offset } of partitions) {
    await using writer = await log.writer(transactionalId(group, { topic, partition }));
    await writer.transact({ records: [], offsets: { group, positions: [{ topic, partition, offset }] } });
  }
}
