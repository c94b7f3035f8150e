import { expect, test } from '@jest/globals';
import { objectKey } from '../../core/archive/keys.ts';
import { MemoryStore } from '../../core/archive/s3/memory.ts';
import { elsewhere } from './epochs.ts';

test('objects of other logs are counted, for any form of their ids; those of this one and other files are not', async () => {
  const store = new MemoryStore();
  const put = (epoch: string, firstOffset: bigint, size: number) =>
    store.putIfAbsent(
      objectKey({ prefix: 'a/', epoch, topic: 'market.candles', day: '2025-06-02', partition: 0, firstOffset }),
      Buffer.alloc(size),
    );
  await put('mine+/', 0n, 1);
  await put('gone', 0n, 10);
  await put('gone', 7n, 20);
  await put('a+b/', 0n, 3);
  await store.putIfAbsent('a/gone/_manifest/market.candles/2025-06-02/00000001.json', Buffer.alloc(5));
  await store.putIfAbsent('a/notes.parquet', Buffer.alloc(5));
  await store.putIfAbsent('a/100%/theirs/year=2025/x.parquet', Buffer.alloc(7));
  expect(await elsewhere(store, 'a/', 'mine+/')).toEqual([
    { epoch: '100%', objects: 1, bytes: 7 },
    { epoch: 'a+b/', objects: 1, bytes: 3 },
    { epoch: 'gone', objects: 2, bytes: 30 },
  ]);
});
