import { expect, test } from '@jest/globals';
import { Metrics } from './metrics.ts';

const at = { name: 'ohlcv', topic: 'cdc.public.trades', partition: 3 };

async function valuesOf(metrics: Metrics, name: string): Promise<{ labels: object; value: number }[]> {
  const found = await metrics.registry.getSingleMetric(name)?.get();
  return (found?.values ?? []).map(({ labels, value }) => ({ labels, value }));
}

test('every metric has a help text and a name of the known families, and a counter ends in _total', async () => {
  const described = await new Metrics({ node: false }).registry.getMetricsAsJSON();
  expect(described.length).toBeGreaterThan(20);
  for (const { name, help, type } of described) {
    expect(help.length).toBeGreaterThan(15);
    expect(name).toMatch(/^(millrace_|cold_storage_lag_seconds$|kafka_connect_connector_status$|wal_size_bytes$)/);
    expect(name.endsWith('_total')).toBe(String(type) === 'counter');
  }
});

test("a task's numbers carry its name, topic and partition", async () => {
  const metrics = new Metrics({ node: false });
  const task = metrics.task(at);
  task.processed(10);
  task.processed(5);
  task.lag(7n, 1.5);
  task.watermark(1_385_337_600_123_456n);
  task.deadLetter('BAD_AVRO');
  task.archived({ files: 2, rows: 300, bytes: 4096 });
  expect(await valuesOf(metrics, 'millrace_records_processed_total')).toEqual([{ labels: at, value: 15 }]);
  expect(await valuesOf(metrics, 'millrace_lag_records')).toEqual([{ labels: at, value: 7 }]);
  expect(await valuesOf(metrics, 'millrace_lag_seconds')).toEqual([{ labels: at, value: 1.5 }]);
  expect(await valuesOf(metrics, 'millrace_watermark_seconds')).toMatchObject([{ value: 1_385_337_600.123 }]);
  const dead = await valuesOf(metrics, 'millrace_dead_letters_total');
  expect(dead).toContainEqual({ labels: { name: 'ohlcv', reason: 'BAD_AVRO' }, value: 1 });
  // Present at 0 from the start: increase() of a series that appears with 1 is 0, and the first dead letter would raise no alert.
  expect(dead).toContainEqual({ labels: { name: 'ohlcv', reason: 'BAD_MAGIC' }, value: 0 });
  expect(await valuesOf(metrics, 'millrace_sink_rows_total')).toMatchObject([{ value: 300 }]);
});

test('a partition that moved away takes its gauges with it and leaves the counters', async () => {
  const metrics = new Metrics({ node: false });
  const task = metrics.task(at);
  task.processed(1);
  task.lag(1, 1);
  task.state(4);
  task.unarchivedSince(1);
  task[Symbol.dispose]();
  task[Symbol.dispose]();
  for (const gauge of [
    'millrace_lag_records',
    'millrace_lag_seconds',
    'millrace_state_entries',
    'cold_storage_lag_seconds',
  ]) {
    expect(await valuesOf(metrics, gauge)).toEqual([]);
  }
  expect(await valuesOf(metrics, 'millrace_records_processed_total')).toMatchObject([{ value: 1 }]);
});

test('the cold-storage lag is the age of the oldest unarchived record of the topic and grows while nothing happens', async () => {
  let now = 100_000;
  const metrics = new Metrics({ node: false, now: () => now });
  metrics.coldStorageOldest('market.candles', 0, 90_000);
  metrics.coldStorageOldest('market.candles', 1, 40_000);
  metrics.coldStorageOldest('market.candles', 2, undefined);
  metrics.coldStorageOldest('market.anomalies', 0, undefined);
  now = 101_000;
  expect(await valuesOf(metrics, 'cold_storage_lag_seconds')).toEqual([
    { labels: { topic: 'market.candles' }, value: 61 },
    { labels: { topic: 'market.anomalies' }, value: 0 },
  ]);
  metrics.coldStorageOldest('market.candles', 1, undefined);
  expect(await valuesOf(metrics, 'cold_storage_lag_seconds')).toContainEqual({
    labels: { topic: 'market.candles' },
    value: 11,
  });
});

test('a task that goes leaves the cold-storage lag to the sink that reads the same topic', async () => {
  const metrics = new Metrics({ node: false, now: () => 10_000 });
  metrics.task({ name: 'parquet', topic: 'market.candles', partition: 0 }).unarchivedSince(4_000);
  metrics.task({ name: 'hot-store', topic: 'market.candles', partition: 0 })[Symbol.dispose]();
  expect(await valuesOf(metrics, 'cold_storage_lag_seconds')).toEqual([
    { labels: { topic: 'market.candles' }, value: 6 },
  ]);
});

test('the lag of the hot store is the age of the oldest record that waits, and of a partition that went nobody waits', async () => {
  let now = 100_000;
  const metrics = new Metrics({ node: false, now: () => now });
  metrics.hotStoreOldest.set('market.candles', 0, 90_000);
  metrics.hotStoreOldest.set('market.candles', 1, 40_000);
  metrics.hotStoreOldest.set('market.features', 0, undefined);
  now = 101_000;
  expect(await valuesOf(metrics, 'millrace_hot_store_lag_seconds')).toEqual([
    { labels: { topic: 'market.candles' }, value: 61 },
    { labels: { topic: 'market.features' }, value: 0 },
  ]);
  metrics.hotStoreOldest.forget('market.candles', 1);
  expect(await valuesOf(metrics, 'millrace_hot_store_lag_seconds')).toContainEqual({
    labels: { topic: 'market.candles' },
    value: 11,
  });
});

test('two processes in one test do not share a registry', () => {
  expect(() => [new Metrics(), new Metrics()]).not.toThrow();
});
