import { expect, test } from '@jest/globals';
import { MemorySchemas } from '../../core/avro/registry/memory.ts';
import { MemoryLog } from '../../core/testing/memory-log.ts';
import type { TaskHistory } from './history.ts';
import { Published } from './published.ts';

const at = { topic: 'market.candles', partition: 0 };

/** Records with these timestamps, the first one deleted, as seen by a replay from a snapshot at millisecond 5. */
async function kept(...timestamps: readonly bigint[]): Promise<Published> {
  const log = new MemoryLog();
  log.create(at.topic, 1);
  for (const timestamp of [1n, ...timestamps]) log.append({ ...at, key: null, value: Buffer.from('x'), timestamp });
  log.trim(at, 1n);
  const base = { position: 0n, outputEnds: new Map(), snapshot: { positions: new Map(), task: { logTime: 5_000n } } };
  const history = { processor: 'ohlcv', partition: 0, base } as unknown as TaskHistory;
  return (await Published.open(log, new MemorySchemas(), at.topic, history, { partly: true })) as Published;
}

async function rest(published: Published): Promise<readonly bigint[]> {
  const found: bigint[] = [];
  for (let next = await published.next(); next !== undefined; next = await published.next()) found.push(next.timestamp);
  return found;
}

test('records kept from before the snapshot are compared from its millisecond on, as many of that as the replay gives', async () => {
  await using published = await kept(4n, 5n, 5n, 5n, 6n);
  expect([published.isForgotten(5n), published.isAtBoundary(5n)]).toEqual([false, true]);
  await published.pass(2);
  expect(await rest(published)).toEqual([5n, 5n, 6n]);
});

test.each([
  ['the snapshot’s millisecond', [5n, 5n, 6n, 7n], 5n, [6n, 7n]],
  ['a later one', [6n, 6n, 7n], 6n, [7n]],
])(
  'records kept from %s on are compared after that, since others of it may be gone',
  async (_of, timestamps, forgotten, left) => {
    await using published = await kept(...timestamps);
    expect([published.isForgotten(forgotten), published.isForgotten(forgotten + 1n)]).toEqual([true, false]);
    expect(published.isAtBoundary(forgotten)).toBe(false);
    await published.pass(2);
    expect(await rest(published)).toEqual(left);
  },
);
