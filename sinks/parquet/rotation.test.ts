import { createHash } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { formatUnlisted, parseUnlisted } from '../../core/archive/unlisted.ts';
import { MillraceError } from '../../core/base/errors.ts';
import type { Fetched, LogRecord } from '../../core/log/log.ts';
import { redrivenHeaders } from '../../core/log/redriven.ts';
import { Budget } from './building/budget.ts';
import { RecordBuffer } from './building/buffer.ts';
import { formatCut, parseCut } from './cut.ts';
import { Harness, trade } from './fixtures/harness.ts';
import { Mutex } from './mutex.ts';

const topic = 'cdc.public.trades';

async function cuts(harness: Harness): Promise<string[]> {
  const listed = await harness.listed(topic);
  return [...new Set(listed.map(({ from_offset, to_offset }) => `${from_offset}-${to_offset}`))];
}

function fill(harness: Harness, rows: number, partition = 0): void {
  for (let i = 0; i < rows; i++) harness.send(topic, trade({ trade_id: `${i}` }), partition);
}

describe('a cut', () => {
  test('archives a partition: an object per day, listed with its offsets, and the offset committed', async () => {
    const harness = await Harness.open();
    harness.send(topic, trade({ trade_id: 'a' }));
    harness.send(topic, trade({ trade_id: 'b', executed_at: '2013-11-26T00:00:00Z' }));
    harness.log.appendMarker({ topic: topic, partition: 0 });
    harness.send(topic, trade({ trade_id: 'c', op: 'd' }));
    await harness.run(topic);
    const listed = await harness.listed(topic);
    expect(listed.map(({ key }) => key)).toEqual([
      'cluster-1/cdc.public.trades/year=2013/month=11/day=25/cdc.public.trades+0+00000000000000000000.parquet',
      'cluster-1/cdc.public.trades/year=2013/month=11/day=26/cdc.public.trades+0+00000000000000000001.parquet',
    ]);
    expect(listed).toMatchObject([
      { day: '2013-11-25', from_offset: 0n, to_offset: 4n, first_offset: 0n, last_offset: 3n, rows: 2n },
      { day: '2013-11-26', from_offset: 0n, to_offset: 4n, first_offset: 1n, last_offset: 1n, rows: 1n },
    ]);
    expect([...harness.memory.objects.keys()].sort()).toEqual(listed.map(({ key }) => key));
    expect(await harness.committed(topic)).toMatchObject({ offset: 4n, metadata: '' });
  });

  test('commits the cut before it uploads, and the next owner makes the very same objects', async () => {
    const harness = await Harness.open();
    harness.send(topic, trade());
    const owner = await harness.own(topic);
    await owner.drain();
    harness.memory.fault({ kind: 'after', error: new MillraceError('S3_UNREACHABLE', 'lost') });
    await expect(owner.flush()).rejects.toThrow('lost');
    expect(await harness.committed(topic)).toMatchObject({
      offset: 0n,
      metadata: '{"v":1,"end":"1","schemaId":1,"writerVersion":2}',
    });
    const before = [...harness.memory.objects.values()].map(({ bytes }) => bytes);
    harness.send(topic, trade({ trade_id: 'later' }));
    await harness.run(topic);
    expect(await harness.listed(topic)).toMatchObject([
      { from_offset: 0n, to_offset: 1n },
      { from_offset: 1n, to_offset: 2n },
    ]);
    expect([...harness.memory.objects.values()].map(({ bytes }) => bytes).slice(0, 1)).toEqual(before);
  });
});

describe('a cut is due', () => {
  test('after so many records, wherever the fetched portions end', async () => {
    const harness = await Harness.open({ settings: { flushSize: 4 } });
    fill(harness, 10);
    const owner = await harness.own(topic);
    await owner.drain(3);
    expect(await cuts(harness)).toEqual(['0-4', '4-8']);
    await owner.flush();
    expect(await cuts(harness)).toEqual(['0-4', '4-8', '8-10']);
  });

  test('after so many bytes', async () => {
    const harness = await Harness.open({ settings: { flushBytes: 350 } });
    fill(harness, 6);
    await (await harness.own(topic)).drain();
    expect(await cuts(harness)).toEqual(['0-3', '3-6']);
  });

  test('so long after the first record of the buffer, and never for an empty one', async () => {
    const harness = await Harness.open({ settings: { flushMs: 100 } });
    const owner = await harness.own(topic);
    harness.nowMs += 1_000;
    await owner.taken.handler.tick(harness.nowMs);
    fill(harness, 1);
    await owner.drain();
    harness.nowMs += 99;
    await owner.taken.handler.tick(harness.nowMs);
    expect(await cuts(harness)).toEqual([]);
    harness.nowMs += 1;
    await owner.taken.handler.tick(harness.nowMs);
    expect(await cuts(harness)).toEqual(['0-1']);
    const { transactions } = harness.log;
    harness.nowMs += 10_000;
    await owner.taken.handler.tick(harness.nowMs);
    expect(harness.log.transactions).toHaveLength(transactions.length);
  });

  test('before a record that is so much younger than the first one of the buffer, independent of the clock', async () => {
    const harness = await Harness.open({ settings: { rotateIntervalMs: 1_000 } });
    for (const ms of [0n, 999n, 500n, 1_000n, 1_999n, 7_000n]) harness.send(topic, trade(), 0, 1_700_000_000_000n + ms);
    const owner = await harness.own(topic);
    await owner.drain(2);
    expect(await cuts(harness)).toEqual(['0-3', '3-5']);
    await owner.flush();
    expect(await cuts(harness)).toEqual(['0-3', '3-5', '5-6']);
  });

  test('early for a large buffer when all partitions together hold too much, and not for a small one', async () => {
    const harness = await Harness.open({ partitions: 2, settings: { bufferBytes: 700 } });
    const [large, small] = [await harness.own(topic, 0), await harness.own(topic, 1)];
    fill(harness, 5, 0);
    await large.drain(1);
    fill(harness, 2, 1);
    await small.drain(1);
    expect(await cuts(harness)).toEqual([]);
    fill(harness, 1, 0);
    await large.drain(1);
    expect(await harness.listed(topic)).toMatchObject([{ partition: 0, rows: 6n }]);
  });

  test('no longer because of a partition that another owner has now', async () => {
    const harness = await Harness.open({ partitions: 2, settings: { bufferBytes: 700 } });
    const stop = new AbortController();
    const gone = await harness.own(topic, 1, stop.signal);
    fill(harness, 4, 1);
    await gone.drain();
    stop.abort();
    const owner = await harness.own(topic, 0);
    fill(harness, 4, 0);
    await owner.drain(1);
    expect(await harness.listed(topic)).toEqual([]);
  });

  test('at an orderly end only when it is asked for', async () => {
    for (const flushOnClose of [false, true]) {
      const harness = await Harness.open({ settings: { flushOnClose } });
      fill(harness, 1);
      const owner = await harness.own(topic);
      await owner.drain();
      await owner.taken.handler.close();
      expect(await cuts(harness)).toEqual(flushOnClose ? ['0-1'] : []);
    }
  });
});

test('while an upload hangs, fetched records are not taken, so that fetching pauses; then it continues', async () => {
  const harness = await Harness.open({ settings: { flushSize: 2 } });
  fill(harness, 4);
  const upload = harness.memory.putIfAbsent.bind(harness.memory);
  let answer: () => void = () => undefined;
  const asked = new Promise<void>((called) => {
    harness.memory.putIfAbsent = async (...call) => {
      called();
      await new Promise<void>((resolve) => {
        answer = resolve;
      });
      return upload(...call);
    };
  });
  const owner = await harness.own(topic);
  let taken = false;
  const drained = owner.drain(1).then(() => {
    taken = true;
  });
  await asked;
  await new Promise((resolve) => setTimeout(resolve, 5));
  expect([taken, owner.position]).toEqual([false, 1n]);
  harness.memory.putIfAbsent = upload;
  answer();
  await drained;
  expect(await cuts(harness)).toEqual(['0-2', '2-4']);
});

describe('a range without rows', () => {
  test('of transaction markers only commits its end and lists nothing', async () => {
    const harness = await Harness.open();
    for (let i = 0; i < 3; i++) harness.log.appendMarker({ topic, partition: 0 });
    await harness.run(topic);
    expect(await harness.committed(topic)).toMatchObject({ offset: 3n, metadata: '{"v":1,"since":"0","dead":0}' });
    expect(await harness.listed(topic)).toEqual([]);
  });

  test('of bad records only commits its end with a dead letter for each', async () => {
    const harness = await Harness.open();
    harness.send(topic, Buffer.from([0, 0, 0, 0, 99, 1]));
    harness.send(topic, Buffer.from('not Avro'));
    await harness.run(topic);
    expect(await harness.committed(topic)).toMatchObject({ offset: 2n, metadata: '{"v":1,"since":"0","dead":2}' });
    expect(await harness.dead()).toMatchObject([
      { processor: 'parquet', reason: 'SCHEMA_UNKNOWN', schema_id: 99, origin: { topic, partition: 0, offset: 0n } },
      { reason: 'BAD_MAGIC', key: Buffer.from('key'), value: Buffer.from('not Avro'), schema_id: null, attempts: 1 },
    ]);
    expect(harness.memory.objects.size).toBe(0);
  });
});

test('a record of an unreadable batch is a dead letter, and the objects of its cut count it', async () => {
  const harness = await Harness.open();
  const unreadable = new MillraceError('BAD_RECORD', 'the batch is damaged');
  const value = harness.encode(topic, trade());
  const records: LogRecord[] = [
    { offset: 0n, timestamp: 1n, key: null, value },
    { offset: 1n, timestamp: 2n, key: null, value: null, unreadable },
  ];
  const fetched: Fetched = { topic, partition: 0, from: 0n, next: 2n, end: 2n, records };
  const owner = await harness.own(topic);
  await owner.taken.handler.process(fetched);
  await owner.flush();
  expect(await harness.dead()).toMatchObject([{ reason: 'BAD_RECORD', error: 'the batch is damaged' }]);
  expect(await harness.listed(topic)).toMatchObject([{ rows: 1n, to_offset: 2n, dead_letters: 1n }]);
});

test('the record that waits longest for the archive is a metric, and none waits after a cut', async () => {
  const harness = await Harness.open();
  harness.send(topic, trade(), 0, 1_699_999_999_000n);
  const owner = await harness.own(topic);
  await owner.drain();
  const lag = async () => (await harness.metrics.coldStorageLagSeconds.get()).values.map(({ value }) => value > 0);
  expect(await lag()).toEqual([true]);
  await owner.flush();
  expect(await lag()).toEqual([false]);
});

describe('a planned cut', () => {
  const cut = { end: 2n ** 62n, schemaId: 7, writerVersion: 1 };

  test('is small, and read back as it was', () => {
    expect(formatCut(cut).length).toBeLessThan(200);
    expect(parseCut(formatCut(cut), [1])).toEqual(cut);
    expect(parseCut('', [1])).toBeUndefined();
  });

  test('keeps the records that are committed before it and in no object', () => {
    const unlisted = { since: 2n ** 61n, deadLetters: 3 };
    expect(parseCut(formatCut({ ...cut, unlisted }), [1])).toEqual({ ...cut, unlisted });
    expect(parseUnlisted(formatCut({ ...cut, unlisted }))).toEqual(unlisted);
    expect(parseCut(formatUnlisted(unlisted), [1])).toBeUndefined();
    expect(parseUnlisted(formatUnlisted(unlisted))).toEqual(unlisted);
    expect(parseUnlisted(formatCut(cut))).toBeUndefined();
  });

  test.each([
    'x',
    '{}',
    'null',
    '[]',
    formatCut({ ...cut, writerVersion: 2 }),
    formatCut(cut).replace('"v":1', '"v":2'),
  ])('that is not understood stops: %s', (metadata) => {
    expect(() => parseCut(metadata, [1])).toThrow(expect.objectContaining({ code: 'CUT_UNREADABLE' }));
  });
});

describe('the buffer', () => {
  test('gives records back as they were, also null, empty and large ones', () => {
    const buffer = new RecordBuffer();
    const records = Array.from({ length: 3_000 }, (_, i) => ({
      offset: BigInt(i) * 2n ** 40n,
      timestamp: -BigInt(i),
      key: i % 3 === 0 ? null : Buffer.alloc(i % 5, i),
      value: i % 7 === 0 ? null : Buffer.alloc(i === 100 ? 3 << 20 : i % 900, i),
    }));
    for (const record of records) buffer.push(record);
    // Comparing thousands of buffers through `toEqual` takes many seconds.
    const plain = (all: Iterable<LogRecord>) =>
      [...all].map(({ offset, timestamp, key, value }) => `${offset} ${timestamp} ${hex(key)} ${hex(value)}`);
    expect(plain(buffer)).toEqual(plain(records));
    expect([buffer.firstTimestamp, buffer.lastTimestamp]).toEqual([0n, -2_999n]);
    buffer.clear();
    expect([buffer.length, buffer.bytes, buffer.firstTimestamp, [...buffer]]).toEqual([0, 0, undefined, []]);
  });

  test('keeps the headers of a redriven record, and no others', () => {
    const buffer = new RecordBuffer();
    const plain = { timestamp: 0n, key: null, value: Buffer.from('x') };
    const headers = redrivenHeaders({ processor: 'ohlcv', attempts: 2, firstOrigin: 't/0/1', letter: 'd/0/0' });
    buffer.push({ ...plain, offset: 0n, headers: { trace: Buffer.from('abc') } });
    buffer.push({ ...plain, offset: 1n, headers });
    expect([...buffer].map((record) => record.headers)).toEqual([undefined, headers]);
  });
});

describe('the budget', () => {
  test('forgets a partition, and counts one only once', () => {
    const budget = new Budget(10);
    budget.set('a', 8);
    budget.set('a', 9);
    budget.set('b', 4);
    expect([budget.total, budget.exceededBy('a'), budget.exceededBy('b')]).toEqual([13, true, false]);
    budget.set('a', 0);
    expect([budget.total, budget.exceededBy('b')]).toEqual([4, false]);
  });
});

test('a cut without a row is in the range of the next object, dead letters included, under any owner', async () => {
  const harness = await Harness.open();
  const flush = async () => {
    const owner = await harness.own(topic);
    await owner.drain();
    await owner.flush();
  };
  harness.send(topic, trade());
  await flush();
  harness.log.appendMarker({ topic, partition: 0 });
  await flush();
  harness.send(topic, Buffer.from('poison'));
  await flush();
  harness.send(topic, trade({ trade_id: '2' }));
  harness.send(topic, Buffer.from('poison'));
  harness.fault(topic, 'unknown-committed');
  await harness.run(topic);
  harness.send(topic, trade({ trade_id: '3' }));
  await flush();
  expect(await harness.listed(topic)).toMatchObject([
    { from_offset: 0n, to_offset: 1n, dead_letters: 0n },
    { from_offset: 1n, to_offset: 5n, first_offset: 3n, dead_letters: 2n },
    { from_offset: 5n, to_offset: 6n, dead_letters: 0n },
  ]);
});

describe('mutex', () => {
  test('come one after the other, past a failed one, and not after an abort', async () => {
    const mutex = new Mutex();
    const order: number[] = [];
    const { signal } = new AbortController();
    const aborted = AbortSignal.abort(new Error('stop'));
    const outcomes = await Promise.allSettled([
      mutex.run(async () => void order.push(await later(1)), signal),
      mutex.run(async () => Promise.reject(new Error('bad')), signal),
      mutex.run(async () => void order.push(2), aborted),
      mutex.run(async () => void order.push(3), signal),
    ]);
    expect(order).toEqual([1, 3]);
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected', 'fulfilled']);
  });
});

function hex(bytes: Buffer | null): string {
  return bytes === null
    ? 'null'
    : bytes.length > 10_000
      ? createHash('md5').update(bytes).digest('hex')
      : bytes.toString('hex');
}

async function later(value: number): Promise<number> {
  await new Promise((resolve) => setTimeout(resolve, 5));
  return value;
}
