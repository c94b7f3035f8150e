import { expect, test } from '@jest/globals';
import { AvroEncoder } from '../../core/avro/encoder.ts';
import { MemorySchemas } from '../../core/avro/registry/memory.ts';
import { partitionOf } from '../../core/capture/routing.ts';
import { MemoryLog } from '../../core/testing/memory-log.ts';
import type { Features } from '../../schemas/gen/features.ts';
import type { FeaturesKey } from '../../schemas/gen/features_key.ts';
import { schemas as contracts } from '../../schemas/gen/index.ts';
import { type FeaturesQuery, readFeatures } from './features.ts';

const partitions = 3;

/** A log with one row per `venue set minute`. */
async function logOf(...rows: readonly string[]) {
  const [log, schemas] = [new MemoryLog(), new MemorySchemas()];
  log.create('market.features', partitions);
  const keys = await AvroEncoder.open<FeaturesKey>(schemas, 'market.features-key', contracts.features_key);
  const values = await AvroEncoder.open<Features>(schemas, 'market.features-value', contracts.features);
  for (const each of rows) {
    const [venue = '', feature_set = '', minute = ''] = each.split(' ');
    const key = { venue, symbol: 'S', feature_set, as_of: BigInt(minute) };
    const provenance = { processor_version: '1', from_offset: 0n, to_offset: 0n, to_lsn: 0n };
    const value = { ...key, price: BigInt(minute), price_time: null, windows: [], profile: [], provenance };
    const partition = partitionOf([venue, 'S'], partitions);
    const bytes = { key: keys.encode(key), value: values.encode(value) };
    log.append({ topic: 'market.features', partition, timestamp: 0n, ...bytes });
  }
  return async (query: Partial<FeaturesQuery> = {}) =>
    (await readFeatures(log, schemas, { symbol: 'S', ...query })).map(
      (row) => `${row.venue} ${row.feature_set} ${row.price}`,
    );
}

const rows = ['v a 1', 'v a 2', 'v a 4', 'v b 3', 'w a 1'];

test('the latest row of each venue and feature set is found', async () => {
  const read = await logOf(...rows);
  expect(await read()).toEqual(['v a 4', 'v b 3', 'w a 1']);
});

test('the latest row at or before a time is found, also when there is none at it', async () => {
  const read = await logOf(...rows);
  expect(await read({ venue: 'v', set: 'a', at: 3n })).toEqual(['v a 2']);
  expect(await read({ venue: 'v', set: 'a', at: 2n })).toEqual(['v a 2']);
  expect(await read({ venue: 'v', set: 'a', at: 0n })).toEqual([]);
});

test('venue, set and symbol choose', async () => {
  const read = await logOf(...rows);
  expect(await read({ venue: 'w' })).toEqual(['w a 1']);
  expect(await read({ set: 'b' })).toEqual(['v b 3']);
  expect(await read({ symbol: 'T' })).toEqual([]);
});
