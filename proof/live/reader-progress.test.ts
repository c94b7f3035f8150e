import { expect, test } from '@jest/globals';
import { groupOf } from '../../core/runtime/runner.ts';
import { MemoryLog } from '../../core/testing/memory-log.ts';
import { ReaderProgress } from './reader-progress.ts';

const topic = 'market.candles';
const { signal } = new AbortController();

function logOf(records: number): MemoryLog {
  const log = new MemoryLog();
  log.create(topic, 2);
  for (let i = 0; i < records; i++) {
    log.append({ topic, partition: 0, key: null, value: Buffer.from([i]), timestamp: 0n });
  }
  return log;
}

async function commit(log: MemoryLog, offset: bigint): Promise<void> {
  await using writer = await log.writer('reader');
  const positions = [{ topic, partition: 0, offset }];
  await writer.transact({ records: [], offsets: { group: groupOf('anomaly'), positions } });
}

test('a reader has passed a place when it has committed everything before it', async () => {
  const log = logOf(3);
  const progress = new ReaderProgress(log, { name: 'anomaly', topic }, await log.ends(topic));
  expect(await progress.look(signal)).toBe(false);
  expect(progress).toMatchObject({ started: false, behind: 3n });
  await commit(log, 2n);
  expect(await progress.look(signal)).toBe(false);
  expect(progress).toMatchObject({ started: true, behind: 1n });
  await commit(log, 3n);
  expect(await progress.look(signal)).toBe(true);
});

test('transaction markers are not waited for', async () => {
  const log = logOf(3);
  log.appendMarker({ topic, partition: 0 });
  await commit(log, 3n);
  const progress = new ReaderProgress(log, { name: 'anomaly', topic }, await log.ends(topic));
  expect(await progress.look(signal)).toBe(true);
});

test('records after the place are not waited for', async () => {
  const log = logOf(3);
  const progress = new ReaderProgress(log, { name: 'anomaly', topic }, await log.ends(topic));
  log.append({ topic, partition: 0, key: null, value: Buffer.from('more'), timestamp: 0n });
  await commit(log, 3n);
  expect(await progress.look(signal)).toBe(true);
});
