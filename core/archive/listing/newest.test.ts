import { expect, test } from '@jest/globals';
import { type ArchiveObject, archiveObjectSchema } from '../../../schemas/gen/archive_object.ts';
import { objectsTopic } from '../../../schemas/topics.ts';
import { AvroEncoder } from '../../avro/encoder.ts';
import { MemorySchemas } from '../../avro/registry/memory.ts';
import type { FetchPosition, Log } from '../../log/log.ts';
import { MemoryLog } from '../../testing/memory-log.ts';
import { newestObject } from './newest.ts';

const topic = 'market.candles';
const name = objectsTopic(topic);

async function list(cuts: number, markers = 1) {
  const [log, schemas] = [new MemoryLog(), new MemorySchemas()];
  log.create(name, 2);
  const encoder = await AvroEncoder.open<ArchiveObject>(schemas, `${name}-value`, archiveObjectSchema);
  for (let i = 0; i < cuts; i++) {
    const from_offset = BigInt(i);
    const object = {
      ...{ key: `k${i}`, epoch: 'e', topic, partition: 1, day: '2013-11-25', from_offset, to_offset: from_offset + 1n },
      ...{ first_offset: from_offset, last_offset: from_offset, rows: 1n, row_hash: '', sha256: '', bytes: 1n },
      ...{ dead_letters: 0n, schema_id: 1, writer_version: 1 },
    };
    log.append({ topic: name, partition: 1, key: null, value: encoder.encode(object), timestamp: from_offset });
    for (let marker = 0; marker < markers; marker++) log.appendMarker({ topic: name, partition: 1 });
  }
  return { log, schemas };
}

test('the newest record of a partition is found from the end, before an offset if asked, also behind many markers', async () => {
  const { log, schemas } = await list(100);
  const newest = await newestObject(log, schemas, topic, 1);
  expect(newest).toMatchObject({ offset: 198n, timestamp: 99n, object: { key: 'k99' } });
  expect((await newestObject(log, schemas, topic, 1, { before: 100n }))?.object.key).toBe('k49');
  expect(await newestObject(log, schemas, topic, 1, { before: 0n })).toBeUndefined();
  expect(await newestObject(log, schemas, topic, 0)).toBeUndefined();
  const sparse = await list(1, 500);
  expect((await newestObject(sparse.log, sparse.schemas, topic, 1))?.object.key).toBe('k0');
});

test('nothing but the end of the partition is read', async () => {
  const { log, schemas } = await list(2_000);
  const positions: FetchPosition[] = [];
  const watched: Log = Object.create(log, {
    fetcher: {
      value: () => {
        const fetcher = log.fetcher();
        return Object.assign(Object.create(fetcher), {
          fetch: (asked: readonly FetchPosition[], options: Parameters<typeof fetcher.fetch>[1]) => {
            positions.push(...asked);
            return fetcher.fetch(asked, options);
          },
        });
      },
    },
    starts: { value: (each: string) => log.starts(each) },
    ends: { value: (each: string) => log.ends(each) },
  });
  await newestObject(watched, schemas, topic, 1);
  expect(positions).toEqual([expect.objectContaining({ partition: 1, offset: 3_936n, to: 4_000n })]);
});
