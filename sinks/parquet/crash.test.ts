import { createHash } from 'node:crypto';
import { zstdDecompressSync } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { parquetReadObjects } from 'hyparquet';
import { dispositionOf, isError, MillraceError } from '../../core/errors.ts';
import type { Fetched } from '../../core/runtime/log.ts';
import { transactionalId } from '../../core/runtime/takeover.ts';
import { MemoryStore, type StoreFault } from '../../core/s3/memory.ts';
import type { TransactionFault } from '../../core/testing/memory-log.ts';
import { Harness, trade } from './fixtures/harness.ts';

const trades = 'cdc.public.trades';
const writerId = transactionalId('millrace.parquet', { topic: trades, partition: 0 });

/** Calls back before each write, so that a test can break what follows it. */
class WatchedStore extends MemoryStore {
  onPut: (() => void) | undefined;

  override putIfAbsent(...args: Parameters<MemoryStore['putIfAbsent']>): ReturnType<MemoryStore['putIfAbsent']> {
    this.onPut?.();
    return super.putIfAbsent(...args);
  }
}

const lost = (): MillraceError => new MillraceError('S3_UNREACHABLE', 'no answer');

/** Twelve records over three days, with poison, a marker, a delete and a change without a row. */
function fill(harness: Harness): void {
  for (let i = 0; i < 12; i++) {
    const executed_at = `2013-11-2${5 + (i % 3)}T10:00:0${i % 10}.00000${i % 10}Z`;
    if (i === 4) harness.send(trades, Buffer.from('no avro'));
    else if (i === 7) harness.send(trades, { ...trade({ op: 't' }), after: null });
    else harness.send(trades, trade({ trade_id: `t${i}`, executed_at, op: i === 9 ? 'd' : 'c' }));
    if (i % 5 === 2) harness.log.appendMarker({ topic: trades, partition: 0 });
  }
}

/** As `Harness.run`, and after each failure there is more to archive and it comes in other chunks: a cut made anew would be another one. */
async function runThroughGrowth(harness: Harness, chunk: number): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      const owner = await harness.own(trades);
      await owner.drain(chunk + tries);
      await owner.flush();
      return;
    } catch (error) {
      if (dispositionOf(error) !== 'retry') throw error;
      harness.send(trades, trade({ trade_id: `grown${tries}` }));
    }
  }
}

/** What a reader of the list sees; fails when the list is not a partition of the log. */
async function audit(harness: Harness): Promise<string[]> {
  const listed = await harness.listed(trades);
  const cuts = [...new Set(listed.map(({ from_offset, to_offset }) => `${from_offset}-${to_offset}`))];
  let end = 0n;
  for (const cut of cuts) {
    const [from, to] = cut.split('-').map(BigInt);
    expect(from ?? -1n).toBeGreaterThanOrEqual(end);
    end = to ?? 0n;
  }
  const offsets: bigint[] = [];
  for (const object of listed) {
    const stored = await harness.store.get(object.key);
    if (stored === undefined) throw new Error(`${object.key} is listed but not there`);
    expect(createHash('sha256').update(stored.bytes).digest('hex')).toBe(object.sha256);
    const file = new Uint8Array(stored.bytes).buffer;
    const rows = await parquetReadObjects({ file, compressors: { ZSTD: (bytes) => zstdDecompressSync(bytes) } });
    expect(BigInt(rows.length)).toBe(object.rows);
    for (const row of rows) {
      const offset = BigInt(row['_offset'] as bigint);
      expect(offset >= object.from_offset && offset < object.to_offset).toBe(true);
      offsets.push(offset);
    }
  }
  const dead = (await harness.dead()).map(({ origin }) => origin.offset);
  const seen = [...offsets, ...dead].sort((a, b) => (a < b ? -1 : 1));
  expect(seen).toEqual(harness.log.records(trades, 0).map(({ offset }) => offset));
  expect(new Set(listed.map(({ key }) => key)).size).toBe(listed.length);
  return listed.map(({ key, sha256, row_hash }) => `${key} ${sha256} ${row_hash}`).sort();
}

async function undisturbed(): Promise<string[]> {
  const harness = await Harness.open();
  fill(harness);
  await harness.run(trades);
  return audit(harness);
}

describe('a crash at any step of a cut', () => {
  const outcomes: TransactionFault[] = ['abort', 'unknown-committed', 'unknown-aborted'];

  test.each(outcomes)('when the cut itself has the outcome %s, the same objects are listed once', async (outcome) => {
    const harness = await Harness.open();
    fill(harness);
    harness.fault(trades, outcome);
    await harness.run(trades);
    expect(await audit(harness)).toEqual(await undisturbed());
  });

  test.each([0, 1, 2].flatMap((nth) => (['before', 'after'] as const).map((kind) => ({ nth, kind }))))(
    'when the process dies $kind upload $nth, the same objects are listed once',
    async ({ nth, kind }) => {
      const store = new MemoryStore();
      const harness = await Harness.open({ store, settings: { uploads: 1 } });
      fill(harness);
      const passing = Array.from({ length: nth }, (): StoreFault | undefined => undefined);
      store.fault(...passing, { kind, error: lost() });
      await harness.run(trades);
      expect(await audit(harness)).toEqual(await undisturbed());
      expect(store.objects.size).toBe((await harness.listed(trades)).length);
    },
  );

  test.each(outcomes)('when the listing has the outcome %s, the same objects are listed once', async (outcome) => {
    const store = new WatchedStore();
    const harness = await Harness.open({ store });
    fill(harness);
    store.onPut = () => {
      harness.log.fault(writerId, outcome);
      store.onPut = undefined;
    };
    await harness.run(trades);
    expect(await audit(harness)).toEqual(await undisturbed());
    expect(store.objects.size).toBe((await harness.listed(trades)).length);
  });

  test('a planned cut is finished as it was planned, though the log has grown meanwhile', async () => {
    const store = new MemoryStore();
    const harness = await Harness.open({ store, settings: { uploads: 1 } });
    fill(harness);
    const owner = await harness.own(trades);
    await owner.drain();
    store.fault(undefined, { kind: 'before', error: lost() });
    await expect(owner.flush()).rejects.toThrow('no answer');
    for (let i = 0; i < 5; i++) harness.send(trades, trade({ trade_id: `late${i}` }));
    await harness.run(trades);
    const all = await audit(harness);
    for (const line of await undisturbed()) expect(all).toContain(line);
  });

  test('other bytes under a key of ours stop the sink and list nothing', async () => {
    const [first = ''] = await undisturbed();
    const key = first.split(' ')[0] ?? '';
    const harness = await Harness.open();
    harness.memory.objects.set(key, { bytes: Buffer.from('something else'), metadata: {} });
    fill(harness);
    const failure = await harness.run(trades).then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(isError(failure, 'S3_CONFLICT')).toBe(true);
    expect((failure as MillraceError).disposition).toBe('stop');
    expect(await harness.listed(trades)).toEqual([]);
  });

  test('a range without rows commits: only poison, or only markers', async () => {
    const harness = await Harness.open();
    harness.send(trades, Buffer.from('poison'));
    harness.log.appendMarker({ topic: trades, partition: 0 });
    await harness.run(trades);
    expect(await harness.committed(trades)).toMatchObject({ offset: 2n, metadata: '' });
    expect(await harness.dead()).toMatchObject([{ processor: 'parquet', reason: 'BAD_MAGIC', origin: { offset: 0n } }]);
    harness.log.appendMarker({ topic: trades, partition: 0 });
    await harness.run(trades);
    expect(await harness.committed(trades)).toMatchObject({ offset: 3n, metadata: '' });
    expect(await harness.listed(trades)).toEqual([]);
  });
});

describe('a zombie', () => {
  test('cannot commit a cut or list objects once another owner has taken over', async () => {
    const harness = await Harness.open();
    fill(harness);
    const zombie = await harness.own(trades);
    await zombie.drain();
    await harness.run(trades);
    const listed = await audit(harness);
    const failure = await zombie.flush().then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(isError(failure, 'FENCED')).toBe(true);
    expect(await audit(harness)).toEqual(listed);
  });

  test('that was already uploading lists nothing, and the new owner lists the same objects once', async () => {
    const store = new WatchedStore();
    const harness = await Harness.open({ store, settings: { uploads: 1 } });
    fill(harness);
    const zombie = await harness.own(trades);
    await zombie.drain();
    let takenOver: Promise<void> | undefined;
    store.onPut = () => {
      store.onPut = undefined;
      takenOver = harness.run(trades);
    };
    await expect(zombie.flush()).rejects.toThrow(/newer owner/);
    await takenOver;
    expect(await audit(harness)).toEqual(await undisturbed());
  });
});

describe('cuts tile the log', () => {
  const fault = fc.constantFrom('abort', 'unknown-committed', 'unknown-aborted', 'before', 'after', 'none');

  test('whatever the chunks, the rotation and the faults are', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          flushRows: fc.integer({ min: 1, max: 9 }),
          flushBytes: fc.integer({ min: 200, max: 4_000 }),
          chunk: fc.integer({ min: 1, max: 15 }),
          faults: fc.array(fault, { maxLength: 8 }),
          rounds: fc.integer({ min: 1, max: 2 }),
        }),
        async ({ flushRows, flushBytes, chunk, faults, rounds }) => {
          const store = new MemoryStore();
          const harness = await Harness.open({ store, settings: { flushRows, flushBytes } });
          for (const each of faults) {
            if (each === 'none') store.fault(undefined);
            else if (each === 'before' || each === 'after') store.fault({ kind: each, error: lost() });
            else harness.fault(trades, each);
          }
          for (let round = 0; round < rounds; round++) {
            fill(harness);
            await runThroughGrowth(harness, chunk);
          }
          await audit(harness);
          expect(store.objects.size).toBe((await harness.listed(trades)).length);
        },
      ),
      { numRuns: 20 },
    );
  }, 120_000);

  test('a record that arrives while a cut is due is in the next cut', async () => {
    const harness = await Harness.open({ settings: { flushRows: 3 } });
    const owner = await harness.own(trades);
    fill(harness);
    const records = harness.log.records(trades, 0);
    const fetched: Fetched = {
      topic: trades,
      partition: 0,
      from: 0n,
      next: records.at(-1)?.offset ?? 0n,
      records,
      end: 99n,
    };
    await owner.taken.handler.process({ ...fetched, next: fetched.next + 1n });
    await owner.flush();
    const cuts = new Set(
      (await harness.listed(trades)).map(({ from_offset, to_offset }) => `${from_offset}-${to_offset}`),
    );
    expect(cuts.size).toBeGreaterThanOrEqual(4);
    await audit(harness);
  });
});
