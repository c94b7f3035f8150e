import { describe, expect, test } from '@jest/globals';
import { captureRecordBytes, type Topic, topics } from '../../schemas/topics.ts';
import { type Admin, applyTopics, planTopics, topicSpec } from './topics.ts';

const topic: Topic = {
  name: 'market.candles',
  partitions: 6,
  cleanup: 'delete',
  retentionMs: 1000,
  compression: 'zstd',
  key: null,
  value: null,
  createdBy: 'millrace',
};

class Cluster implements Admin {
  readonly topics = new Map<string, { partitions: number; settings: Record<string, string> }>();
  calls: string[] = [];

  async partitions() {
    return new Map([...this.topics].map(([name, { partitions }]) => [name, partitions]));
  }
  async settings(names: readonly string[]) {
    return new Map(names.map((name) => [name, this.topics.get(name)?.settings ?? {}]));
  }
  async create(specs: Parameters<Admin['create']>[0]) {
    for (const { name, partitions, settings } of specs) {
      this.calls.push(`create ${name}`);
      this.topics.set(name, { partitions, settings: { ...settings } });
    }
  }
  async alter(name: string, settings: Readonly<Record<string, string>>) {
    this.calls.push(`alter ${name}`);
    Object.assign(this.topics.get(name)?.settings ?? {}, settings);
  }
}

describe('topics apply', () => {
  test('creates what is missing, and a second time finds nothing to do', async () => {
    const cluster = new Cluster();
    expect((await applyTopics(cluster, [topic])).map(({ action }) => action)).toEqual(['create']);
    expect((await applyTopics(cluster, [topic])).map(({ action }) => action)).toEqual(['ok']);
    expect(cluster.calls).toEqual(['create market.candles']);
  });

  test('keeps older records of a compacted topic as long as it says, and leaves others to Kafka', () => {
    const compacted = { ...topic, cleanup: 'compact', compactionLagMs: 7 } as const;
    expect(topicSpec(compacted).settings['min.compaction.lag.ms']).toBe('7');
    expect(topicSpec(topic).settings).not.toHaveProperty('min.compaction.lag.ms');
  });

  test('keeps records for its own retention time, also when the broker has a default limit on bytes', () => {
    expect(topicSpec(topic).settings).toMatchObject({ 'retention.ms': '1000', 'retention.bytes': '-1' });
  });

  test('lets a dead-letter topic take a letter that holds the largest record of its input', () => {
    const limit = (of: Topic): number | undefined => Number(topicSpec(of).settings['max.message.bytes']) || undefined;
    const letters = topics.filter(({ value }) => value === 'dead_letter');
    expect(letters.length).toBeGreaterThan(0);
    for (const each of letters) expect(limit(each)).toBeGreaterThan(captureRecordBytes + 65_536);
    expect(limit(topic)).toBeUndefined();
  });

  test('alters the settings that differ, and names them', async () => {
    const cluster = new Cluster();
    const settings = { ...topicSpec(topic).settings, 'retention.ms': '5', 'segment.ms': '7' };
    cluster.topics.set(topic.name, { partitions: 6, settings });
    const [plan] = await applyTopics(cluster, [topic]);
    expect(plan?.differences).toEqual([{ setting: 'retention.ms', actual: '5', wanted: '1000' }]);
    expect((await planTopics(cluster, [topic]))[0]?.action).toBe('ok');
    expect(settings['segment.ms']).toBe('7');
  });

  test('refuses a changed partition count with its reason and remedy, and changes nothing else either', async () => {
    const cluster = new Cluster();
    cluster.topics.set(topic.name, { partitions: 3, settings: {} });
    await expect(applyTopics(cluster, [{ ...topic, name: 'other' }, topic])).rejects.toMatchObject({
      code: 'TOPIC_DIFFERS',
      message: expect.stringContaining('market.candles: 3 partitions, should be 6'),
      remedy: expect.stringContaining('schemas/topics.ts'),
    });
    expect(cluster.calls).toEqual([]);
  });
});
