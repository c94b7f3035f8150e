/** An archive with values at the edges of their types, made by the real sink over a bucket in memory. */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { candle } from '../../core/archive/fixtures/candle.ts';
import type { MemoryStore } from '../../core/archive/s3/memory.ts';
import type { ArchiveObject } from '../../schemas/gen/archive_object.ts';
import { type ArchivedTopic, archivedTopics } from '../../schemas/topics.ts';
import { Harness, trade } from '../../sinks/parquet/fixtures/harness.ts';

export interface Archive {
  readonly store: MemoryStore;
  readonly objects: ReadonlyMap<ArchivedTopic, readonly ArchiveObject[]>;
}

/**
 * Trades of two days in files of three changes: one that is updated, one that is deleted, one that moves to the next day, texts of all
 * kinds. Candles of two revisions. No anomaly.
 */
export async function makeArchive(): Promise<Archive> {
  const harness = await Harness.open({ settings: { flushSize: 3, topicsDir: 'archive' } });
  const trades = [
    trade({ trade_id: 'plain' }),
    trade({ trade_id: 'changed', price: 1n, venue_sequence: 9_007_199_254_740_993n }),
    trade({ trade_id: 'deleted' }),
    trade({ trade_id: 'changed', price: 10n ** 20n - 1n, op: 'u' }),
    trade({ trade_id: 'deleted', op: 'd' }),
    trade({ trade_id: 'moved' }),
    trade({ trade_id: 'moved', executed_at: '2013-11-26T00:00:00.000001Z', op: 'u' }),
    trade({ trade_id: 'text', conditions: 'é\u0000 "x",\n\u{1f600}' }),
    trade({ trade_id: 'empty', conditions: '', size: 0n }),
  ];
  for (const each of trades) harness.send('cdc.public.trades', each);
  for (const each of [
    { ...candle, revision: 1 },
    { ...candle, revision: 2, provenance: null, close: 0n },
  ]) {
    harness.send('market.candles', each);
  }
  const objects = new Map<ArchivedTopic, readonly ArchiveObject[]>();
  for (const topic of archivedTopics) {
    await harness.run(topic);
    objects.set(topic, await harness.listed(topic));
  }
  return { store: harness.memory, objects };
}

/** Writes the objects under a folder, by their keys, and returns the paths of each topic. */
export async function writeArchive(
  { store, objects }: Archive,
  dir: string,
): Promise<ReadonlyMap<ArchivedTopic, readonly string[]>> {
  const paths = new Map<ArchivedTopic, readonly string[]>();
  for (const [topic, listed] of objects) {
    for (const { key } of listed) {
      await mkdir(dirname(join(dir, key)), { recursive: true });
      await writeFile(join(dir, key), store.objects.get(key)?.bytes ?? '');
    }
    paths.set(
      topic,
      listed.map(({ key }) => join(dir, key)),
    );
  }
  return paths;
}
