import { describe, expect, test } from '@jest/globals';
import { listObjects } from '../../core/archive/listing/objects.ts';
import type { StoreFault } from '../../core/archive/s3/memory.ts';
import { AvroEncoder } from '../../core/avro/encoder.ts';
import { MillraceError } from '../../core/base/errors.ts';
import type { TransactionFault } from '../../core/testing/memory-log.ts';
import { addRowHashes, formatRowHash } from '../../core/values/rowhash/rowhash.ts';
import { archiveObjectSchema } from '../../schemas/gen/archive_object.ts';
import { objectsTopic } from '../../schemas/topics.ts';
import { ManifestHarness, trades } from './fixtures/harness.ts';

const day = '2013-11-25';
const other = '2013-11-26';
const folder = `cluster-1/_manifest/${trades}/${day}`;
const success = `cluster-1/${trades}/year=2013/month=11/day=25/_SUCCESS.json`;
/** Log time long after the days of the tests. */
const later = '2023-11-14T00:00:00Z';

describe('a manifest', () => {
  test('lists every object of its day as in its record, and their sums', async () => {
    const harness = await ManifestHarness.open({ partitions: 2 });
    harness.send(day, 1);
    await harness.archive.run(trades, { partition: 1 });
    await harness.list(day, other, day);
    await harness.run();
    const [manifest, ...more] = harness.manifests(day);
    expect(more).toEqual([]);
    expect(manifest).toMatchObject({ epoch: 'cluster-1', topic: trades, day, number: 1 });
    const listed = await listObjects(harness.archive.log, harness.archive.schemas, trades, { day });
    const told = listed.map(({ epoch: _e, topic: _t, day: _d, dead_letters: _l, ...file }) => ({ ...file }));
    expect(manifest?.files).toEqual(told);
    expect(told).toHaveLength(3);
    const json = JSON.parse(harness.bytes(`${folder}/00000001.json`)?.toString() ?? '');
    const hash = listed.reduce((sum, { row_hash }) => addRowHashes(sum, BigInt(`0x${row_hash}`)), 0n);
    expect(json).toMatchObject({
      format: 1,
      previous: null,
      totals: {
        files: '3',
        rows: '3',
        bytes: String(listed.reduce((sum, { bytes }) => sum + bytes, 0n)),
        row_hash: formatRowHash(hash),
        partitions: [
          { partition: 0, first_offset: '0', last_offset: '2', files: '2', rows: '2' },
          { partition: 1, first_offset: '0', last_offset: '0', files: '1', rows: '1' },
        ],
      },
    });
  });

  test('is followed by one that lists the whole day again and names it; nothing is overwritten', async () => {
    const harness = await ManifestHarness.open();
    await harness.list(day);
    await harness.run();
    const first = harness.bytes(`${folder}/00000001.json`)?.toString();
    await harness.list(day, other);
    await harness.run();
    expect(harness.manifests(day).map(({ number, files }) => [number, files.length])).toEqual([
      [1, 1],
      [2, 2],
    ]);
    expect(JSON.parse(harness.bytes(`${folder}/00000002.json`)?.toString() ?? '')).toMatchObject({ previous: 1 });
    expect(harness.bytes(`${folder}/00000001.json`)?.toString()).toBe(first);
    expect(await harness.history(day)).toEqual(['OPEN 1 1', 'OPEN 1 2']);
  });

  test('is not written without a new object', async () => {
    const harness = await ManifestHarness.open();
    await harness.list(day);
    await harness.run();
    const transactions = harness.archive.log.transactions.length;
    await harness.run();
    const owner = await harness.own();
    await owner.step();
    await owner.step();
    expect(harness.manifests(day)).toHaveLength(1);
    expect(harness.archive.log.transactions).toHaveLength(transactions);
  });

  test('has the same bytes wherever it is made', async () => {
    const [a, b] = [await ManifestHarness.open(), await ManifestHarness.open()];
    for (const harness of [a, b]) {
      await harness.list(day, other);
      await harness.run();
      await harness.list(day);
      await harness.run(later);
      await harness.run(later);
    }
    expect(a.written().size).toBe(5);
    expect(a.written()).toEqual(b.written());
  });

  test('lists an object once whose record is there twice, word for word; two that differ are a conflict', async () => {
    const harness = await ManifestHarness.open();
    await harness.list(day);
    const at = `archive.${trades}.objects`;
    const [record] = harness.archive.log.records(at);
    if (record === undefined) throw new Error('nothing is listed');
    const again = { topic: at, partition: 0, key: null, timestamp: 0n };
    harness.archive.log.append({ ...again, value: record.value });
    await harness.run();
    expect(harness.manifests(day).map(({ files }) => files.length)).toEqual([1]);
    const changed = Buffer.from(record.value as Buffer);
    const hash = changed.indexOf((await harness.listed(day))[0]?.sha256 ?? '');
    changed.write('0000', hash);
    harness.archive.log.append({ ...again, value: changed });
    await expect(harness.run()).rejects.toMatchObject({ code: 'S3_CONFLICT', disposition: 'stop' });
  });

  test('that is there already with the same bytes is done; with other bytes it is a conflict, and nothing is committed', async () => {
    const twin = await ManifestHarness.open();
    await twin.list(day);
    await twin.run();
    const key = `${folder}/00000001.json`;
    for (const [bytes, outcome] of [
      [twin.bytes(key), 'done'],
      [Buffer.from('{}'), 'S3_CONFLICT'],
    ] as const) {
      const harness = await ManifestHarness.open();
      await harness.list(day);
      harness.archive.memory.objects.set(key, { bytes: bytes ?? Buffer.alloc(0), metadata: {} });
      const done = await harness.run().then(
        () => 'done',
        (error: MillraceError) => error.code,
      );
      expect(done).toBe(outcome);
      expect((await harness.day(day))?.manifest).toBe(outcome === 'done' ? 1 : undefined);
    }
  });

  test('that is gone is made again from the log, byte for byte, before the next one; one that was changed is a conflict', async () => {
    const harness = await ManifestHarness.open();
    await harness.list(day, day);
    await harness.run();
    const key = `${folder}/00000001.json`;
    const bytes = harness.bytes(key) as Buffer;
    harness.archive.memory.objects.delete(key);
    await harness.list(day);
    await harness.run();
    expect(harness.bytes(key)?.equals(bytes)).toBe(true);
    expect(harness.manifests(day).map(({ files }) => files.length)).toEqual([2, 3]);
    harness.archive.memory.objects.set(`${folder}/00000002.json`, { bytes, metadata: {} });
    await harness.list(day);
    await expect(harness.run()).rejects.toMatchObject({ code: 'S3_CONFLICT' });
  });

  test('takes a backlog of more days than fit into one step, in several', async () => {
    const harness = await ManifestHarness.open();
    const days = Array.from({ length: 600 }, (_, i) => new Date(i * 86_400_000).toISOString().slice(0, 10));
    await harness.list(day);
    const [like] = await harness.listed(day);
    const encoder = await AvroEncoder.open(harness.archive.schemas, 'objects', archiveObjectSchema);
    for (const each of days) {
      const value = encoder.encode({ ...like, key: each, day: each });
      harness.archive.log.append({ topic: objectsTopic(trades), partition: 0, key: null, value, timestamp: 0n });
    }
    await harness.run(later);
    const owner = await harness.own();
    await owner.step(later);
    await owner.step(later);
    for (const each of [days[0], days[499], days[599]]) {
      expect(await harness.history(each ?? '')).toEqual(['OPEN 1 1', 'COMPLETE 1 1']);
    }
    expect(harness.keys().filter((key) => key.endsWith('.json'))).toHaveLength(1202);
  });
});

const lost = () => new MillraceError('S3_UNREACHABLE', 'no answer');
const before: StoreFault = { kind: 'before', error: lost() };
const after: StoreFault = { kind: 'after', error: lost() };

describe('a crash of the manifests', () => {
  /** A step that writes two manifests and marks a day: two transactions (plan, done) and four uploads. */
  async function prepared(): Promise<ManifestHarness> {
    const harness = await ManifestHarness.open();
    await harness.list(day, other);
    await harness.run();
    await harness.list('2013-11-27', other);
    return harness;
  }

  /** Files in the bucket after an uninterrupted step, to compare with. */
  async function uninterrupted(): Promise<ReadonlyMap<string, string>> {
    const whole = await prepared();
    await whole.run(later);
    return whole.written();
  }

  test('nowhere: the reference for the others', async () => {
    const harness = await prepared();
    await harness.run(later);
    expect(await harness.history(day)).toEqual(['OPEN 1 1', 'COMPLETE 1 1']);
    expect(await harness.history(other)).toEqual(['OPEN 1 1', 'OPEN 1 2']);
    expect(await harness.history('2013-11-27')).toEqual(['OPEN 1 1']);
    expect([...harness.written().keys()]).toHaveLength(5);
  });

  test.each(['abort', 'unknown-aborted'] as const)(
    'before the plan is committed (%s) leaves nothing behind',
    async (fault) => {
      const harness = await prepared();
      const before = harness.written();
      harness.fault(fault);
      await expect((await harness.own()).step(later)).rejects.toMatchObject({ disposition: 'retry' });
      await harness.own();
      expect(harness.written()).toEqual(before);
      await harness.run(later);
      expect(harness.written()).toEqual(await uninterrupted());
    },
  );

  /** The transaction after the next upload meets the fault. */
  function armed(harness: ManifestHarness, fault: TransactionFault): void {
    const { memory } = harness.archive;
    const upload = memory.putIfAbsent.bind(memory);
    memory.putIfAbsent = async (...call) => {
      memory.putIfAbsent = upload;
      harness.fault(fault);
      return upload(...call);
    };
  }

  const places: readonly [string, (harness: ManifestHarness) => void][] = [
    ['while it is unknown whether the plan is committed, and it is,', (harness) => harness.fault('unknown-committed')],
    ['before the first upload', (harness) => harness.archive.memory.fault(before)],
    ['after the first upload', (harness) => harness.archive.memory.fault(after)],
    ['between uploads', (harness) => harness.archive.memory.fault(undefined, before)],
    ['before the mark of success', (harness) => harness.archive.memory.fault(undefined, undefined, before)],
    ['after the last upload', (harness) => harness.archive.memory.fault(undefined, undefined, after)],
    ['at the last commit, which is aborted,', (harness) => armed(harness, 'abort')],
    ['at the last commit, whose answer is lost,', (harness) => armed(harness, 'unknown-committed')],
    ['at the last commit, which is lost,', (harness) => armed(harness, 'unknown-aborted')],
  ];

  test.each(places)('%s leaves the planned result, although more was listed meanwhile', async (_where, crash) => {
    const harness = await prepared();
    const owner = await harness.own();
    crash(harness);
    await expect(owner.step(later)).rejects.toMatchObject({ disposition: 'retry' });
    await harness.list(other, day);
    await harness.own();
    expect(harness.written()).toEqual(await uninterrupted());
    await harness.run();
    expect(harness.manifests(other).map(({ files }) => files.length)).toEqual([1, 2, 3]);
    expect(await harness.history(day)).toEqual(['OPEN 1 1', 'COMPLETE 1 1', 'REOPENED 2 2']);
  });

  test('of an owner that lives on as a zombie changes nothing: its uploads are the planned ones', async () => {
    const whole = await uninterrupted();
    const harness = await prepared();
    const zombie = await harness.own();
    const upload = harness.archive.memory.putIfAbsent.bind(harness.archive.memory);
    let wake: () => void = () => undefined;
    const asleep = new Promise<void>((resolve) => {
      wake = resolve;
    });
    let slept: () => void = () => undefined;
    const sleeps = new Promise<void>((resolve) => {
      slept = resolve;
    });
    harness.archive.memory.putIfAbsent = async (...call) => {
      harness.archive.memory.putIfAbsent = upload;
      slept();
      await asleep;
      return upload(...call);
    };
    const late = zombie.step(later);
    await sleeps;
    await harness.run();
    expect(harness.written()).toEqual(whole);
    wake();
    await expect(late).rejects.toMatchObject({ code: 'FENCED' });
    expect(harness.written()).toEqual(whole);
    expect(await harness.history(day)).toEqual(['OPEN 1 1', 'COMPLETE 1 1']);
  });

  test('with a plan that this version does not know stops, and says so', async () => {
    const harness = await prepared();
    const writer = await harness.archive.log.writer('somebody');
    const positions = [{ topic: 'archive.partitions', partition: 0, offset: 0n, metadata: '{"v":9}' }];
    await writer.transact({ records: [], offsets: { group: 'millrace.manifests', positions } });
    await expect(harness.run()).rejects.toMatchObject({ code: 'CUT_UNREADABLE' });
  });
});

test('a mark of success is beside the objects and has the sums of its manifest', async () => {
  const harness = await ManifestHarness.open();
  await harness.list(day, day);
  await harness.run();
  await harness.run(later);
  const stands = await harness.day(day);
  const json = JSON.parse(harness.bytes(success)?.toString() ?? '');
  expect(json).toMatchObject({
    epoch: 'cluster-1',
    topic: trades,
    day,
    revision: 1,
    manifest: 1,
    manifest_key: `${folder}/00000001.json`,
    manifest_sha256: stands?.manifest_sha256,
    passed: '2023-11-14T00:00:00.000000Z',
  });
  const manifest = JSON.parse(harness.bytes(`${folder}/00000001.json`)?.toString() ?? '');
  expect(json.totals).toEqual(manifest.totals);
  expect(stands).toMatchObject({ state: 'COMPLETE', success_key: success, rows: 2n, files: 2n });
});
