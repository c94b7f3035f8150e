import { expect, test } from '@jest/globals';
import type { LogRecord } from '../../core/log/log.ts';
import { positionsOfProcessor } from '../../core/operations/offsets/positions.ts';
import { MemoryLog } from '../../core/testing/memory-log.ts';
import { countRecords, otherStages, readStages, type Stage } from './stages.ts';

const stage: Stage = { name: 'ohlcv', kind: 'processor', inputs: ['trades'] };
/** In these tests a record's value is its event time. */
const eventTimeOf = async (_topic: string, record: LogRecord) =>
  record.value === null ? undefined : BigInt(record.value.toString());

function logWith(...partitions: (number | 'marker')[][]): MemoryLog {
  const log = new MemoryLog();
  log.create('trades', partitions.length);
  for (const [partition, entries] of partitions.entries()) {
    for (const entry of entries) {
      const at = { topic: 'trades', partition };
      if (entry === 'marker') log.appendMarker(at);
      else log.append({ ...at, key: null, value: Buffer.from(String(entry)), timestamp: BigInt(entry) + 1_000n });
    }
  }
  return log;
}

async function commit(log: MemoryLog, partition: number, offset: bigint): Promise<void> {
  await using writer = await log.writer(`w${partition}`);
  await writer.transact({
    records: [],
    offsets: { group: 'millrace.ohlcv', positions: [{ topic: 'trades', partition, offset }] },
  });
}

test('a stage that never committed is behind by everything there is', async () => {
  const [lag] = await readStages({ log: logWith([100, 160], [130]), stages: [stage], eventTimeOf });
  expect(lag).toEqual({
    stage: 'ohlcv',
    kind: 'processor',
    topic: 'trades',
    partitions: 2,
    started: false,
    expired: 0,
    lagRecords: 3n,
    lagMs: 60,
    lastEvent: 160n,
  });
});

test('records add up over partitions, and the partition furthest behind decides the lag in log time', async () => {
  const log = logWith([100, 110, 200], [100, 110, 150]);
  await commit(log, 0, 1n);
  await commit(log, 1, 1n);
  const [lag] = await readStages({ log, stages: [stage], eventTimeOf });
  expect(lag).toMatchObject({ started: true, lagRecords: 4n, lagMs: 90, lastEvent: 200n });
});

test('a transaction marker at the end is no lag', async () => {
  const log = logWith([100, 'marker'], []);
  await commit(log, 0, 1n);
  const [lag] = await readStages({ log, stages: [stage], eventTimeOf });
  expect(lag).toMatchObject({ lagRecords: 0n, lagMs: 0, lastEvent: 100n });
});

test('an empty topic has no newest event time and no lag', async () => {
  const [lag] = await readStages({ log: logWith([], []), stages: [stage], eventTimeOf });
  expect(lag).toMatchObject({ started: false, lagRecords: 0n, lagMs: 0, lastEvent: undefined });
});

test('a load of old events is behind by its time in the log, not by the age of its events', async () => {
  const log = new MemoryLog();
  log.create('trades', 1);
  const years = 3n * 365n * 86_400_000_000n;
  for (const [at, event] of [0n, years].entries()) {
    const value = Buffer.from(String(event));
    log.append({ topic: 'trades', partition: 0, key: null, value, timestamp: BigInt(at * 20) });
  }
  const [lag] = await readStages({ log, stages: [stage], eventTimeOf });
  expect(lag).toMatchObject({ lagRecords: 2n, lagMs: 20, lastEvent: years });
});

test("groups of users' processors are stages, too; groups of other programs and our own are not", async () => {
  const groups = ['billing', 'millrace.activity', 'millrace.ohlcv', 'millrace.manifests'];
  const found = await otherStages(groups, async () => ['market.candles', 'a']);
  expect(found).toEqual([{ name: 'activity', kind: 'processor', inputs: ['a', 'market.candles'] }]);
});

test('a stage with state whose offsets are gone has expired, and is behind by what its state lacks', async () => {
  const log = logWith([100, 160, 190], [130], [150]);
  await commit(log, 1, 1n);
  const positionsOf = () => ({
    ...positionsOfProcessor('ohlcv', ['trades']),
    read: async (_log: unknown, _primary: string, partition: number) =>
      [new Map([['trades', 2n]]), new Map([['trades', 1n]]), undefined][partition],
  });
  const [lag] = await readStages({ log, stages: [stage], eventTimeOf, positionsOf });
  expect(lag).toMatchObject({ started: true, expired: 1, lagRecords: 2n });
});

test('a topic that does not exist is an error with its name', async () => {
  await expect(readStages({ log: new MemoryLog(), stages: [stage], eventTimeOf })).rejects.toMatchObject({
    code: 'TOPIC_MISSING',
  });
});

test('records are counted without markers, up to the limit', async () => {
  const log = logWith([1, 'marker', 2, 'marker'], [3, 'marker']);
  expect(await countRecords(log, 'trades', 100)).toEqual({ records: 3, more: false });
  expect(await countRecords(log, 'trades', 2)).toEqual({ records: 2, more: true });
});
