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
  /** Of the sink. Default hot-store. */
  readonly name?: string;
}

export interface Rereading extends TopicPartition {
  readonly topic: HotTopic;
  /** The earliest offset that the topic keeps: where it begins again. */
  readonly start: bigint;
  readonly end: bigint;
  /** Undefined where nothing was committed. */
  readonly committed: bigint | undefined;
}

export interface RebuildPlan {
  readonly group: string;
  /** Who has to be stopped first. */
  readonly members: readonly string[];
  readonly partitions: readonly Rereading[];
}

/** What building the hot store anew would read. Changes nothing. @throws MillraceError KAFKA_UNREACHABLE, TOPIC_MISSING */
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
 * Empties the tables, then moves the sink to the beginning of its topics. In this order: a sink that was started in between takes the
 * partition, so that its offset is not moved (FENCED), and saying it again finishes what is left. The other way round its first rows
 * would be emptied away.
 *
 * @throws MillraceError GROUP_ACTIVE while the sink runs; FENCED when it was started meanwhile.
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
