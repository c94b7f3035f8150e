/** A clean start on a broker where other contestants ran before. */
import { setTimeout as delay } from 'node:timers/promises';
import kafkajs from 'kafkajs';
import { applyTopics } from '../../connectors/definition/topics.ts';
import type { Config } from '../../core/base/config.ts';
import { TopicAdmin } from '../../core/kafka/admin.ts';
import { topics } from '../../schemas/topics.ts';
import type { Contestant } from './contestants.ts';

/** Deletes topics and offsets of earlier runs. */
export async function reset(
  config: Config,
  contestant: Pick<Contestant, 'group' | 'output' | 'leaves'>,
): Promise<void> {
  const kafka = { brokers: [...config.kafka.brokers], clientId: 'bench' };
  const admin = new kafkajs.Kafka({ ...kafka, logLevel: kafkajs.logLevel.NOTHING }).admin();
  await admin.connect();
  try {
    const { groups } = await admin.listGroups();
    const mine = groups.filter(({ groupId }) => groupId === contestant.group || groupId === 'millrace.ohlcv');
    for (let attempt = 0; mine.length > 0; attempt++) {
      try {
        await admin.deleteGroups(mine.map(({ groupId }) => groupId));
        break;
      } catch (error) {
        // Killed members stay in the group until their session ends.
        if (attempt === 30) throw error;
        await delay(500);
      }
    }
    const old = (await admin.listTopics()).filter((topic) => topic === contestant.output || contestant.leaves(topic));
    if (old.length > 0) await admin.deleteTopics({ topics: old });
    for (let present = old; present.length > 0; await delay(200)) {
      const left = await admin.listTopics();
      present = old.filter((topic) => left.includes(topic));
    }
  } finally {
    await admin.disconnect();
  }
  await using millraceAdmin = await TopicAdmin.open(kafka);
  await applyTopics(millraceAdmin, topics);
  await millraceAdmin.create([{ name: 'peer.candles', partitions: 6, settings: {} }]);
}
