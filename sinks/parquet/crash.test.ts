import { describe, expect, test } from '@jest/globals';
import { readColumns } from '../../core/archive/fixtures/read.ts';
import type { StoreFault } from '../../core/archive/s3/memory.ts';
import { parseUnlisted } from '../../core/archive/unlisted.ts';
import { MillraceError } from '../../core/base/errors.ts';
import type { TransactionFault } from '../../core/testing/memory-log.ts';
import fc from '../../test/support/property.ts';

import { Harness, trade } from './fixtures/harness.ts';

const topic = 'cdc.public.trades';
const lost = () => new MillraceError('S3_UNREACHABLE', 'no answer');
const before: StoreFault = { kind: 'before', error: lost() };
const after: StoreFault = { kind: 'after', error: lost() };

const days = ['2013-11-25T23:59:59.9Z', '2013-11-26T00:00:00Z', '2013-11-27T12:00:00Z'];

type Sent = 'row' | 'poison' | 'marker' | 'tombstone';
type Step = readonly [kind: Sent, day: number];

function send(harness: Harness, steps: readonly Step[], from = 0): void {
  for (const [i, [kind, day]] of steps.entries()) {
    if (i < from) continue;
    if (kind === 'row') harness.send(topic, trade({ trade_id: `${i}`, executed_at: days[day] ?? '' }));
    else if (kind === 'poison') harness.send(topic, Buffer.from([0, 0, 0]));
    else if (kind === 'tombstone') harness.send(topic, null);
    else harness.log.appendMarker({ topic, partition: 0 });
  }
}

/** Each offset exactly once, in a listed object or a dead letter, and no unlisted object in the store. */
async function expectExactlyOnce(harness: Harness, steps: readonly Step[]): Promise<void> {
  const listed = await harness.listed(topic);
  const offsets: bigint[] = [];
  for (const object of listed) {
    const stored = await harness.store.get(object.key);
    expect(stored?.bytes.length).toBe(Number(object.bytes));
    const rows = await readColumns(stored?.bytes as Buffer, ['_offset']);
    const own = rows.map((row) => row['_offset'] as bigint);
    expect(BigInt(own.length)).toBe(object.rows);
    expect([own[0], own.at(-1)]).toEqual([object.first_offset, object.last_offset]);
    expect(own.every((offset) => offset >= object.from_offset && offset < object.to_offset)).toBe(true);
    offsets.push(...own);
  }
  const of = (...kinds: Sent[]) => steps.flatMap(([kind], i) => (kinds.includes(kind) ? [BigInt(i)] : []));
  const ascending = (a: bigint, b: bigint) => (a < b ? -1 : 1);
  expect(offsets.sort(ascending)).toEqual(of('row'));
  const dead = (await harness.dead()).map(({ origin }) => origin.offset);
  expect(dead.sort(ascending)).toEqual(of('poison', 'tombstone'));
  expect([...harness.memory.objects.keys()].sort()).toEqual(listed.map(({ key }) => key).sort());
  // The cuts tile the log. The committed offset covers the records after the last cut.
  const cuts = [...new Map(listed.map((object) => [object.from_offset, object])).values()];
  for (const [i, { from_offset }] of cuts.entries()) expect(from_offset).toBe(cuts[i - 1]?.to_offset ?? 0n);
  const since = cuts.at(-1)?.to_offset ?? 0n;
  const end = BigInt(steps.length);
  if (end === 0n) return;
  const committed = await harness.committed(topic);
  const unlisted = parseUnlisted(committed?.metadata ?? '');
  expect([committed?.offset, unlisted?.since]).toEqual([end, since === end ? undefined : since]);
  const counted = cuts.reduce((sum, { dead_letters }) => sum + Number(dead_letters), unlisted?.deadLetters ?? 0);
  expect(counted).toBe(dead.length);
}

function contents(harness: Harness): Map<string, string> {
  return new Map([...harness.memory.objects].map(([key, { bytes }]) => [key, bytes.toString('base64')]));
}

const steps: readonly Step[] = [
  ['row', 0],
  ['marker', 0],
  ['row', 1],
  ['poison', 0],
  ['row', 0],
  ['row', 2],
];

describe('a crash of the Parquet sink', () => {
  const places: readonly [string, TransactionFault[], (StoreFault | undefined)[]][] = [
    ['before the cut is committed', ['abort'], []],
    ['while it is unknown whether the cut is committed, and it is', ['unknown-committed'], []],
    ['while it is unknown whether the cut is committed, and it is not', ['unknown-aborted'], []],
    ['after the cut, before the first upload', [], [before]],
    ['after the first upload', [], [after]],
    ['between uploads', [], [undefined, before]],
    ['after the last upload', [], [undefined, undefined, after]],
  ];

  test.each(places)('%s leaves each offset in exactly one listed object', async (_where, transactions, uploads) => {
    const harness = await Harness.open();
    send(harness, steps);
    harness.fault(topic, ...transactions);
    harness.memory.fault(...uploads);
    await harness.run(topic);
    await expectExactlyOnce(harness, steps);
  });

  test.each(['abort', 'unknown-committed', 'unknown-aborted'] as const)(
    'at the commit of the objects (%s) leaves each offset in exactly one listed object',
    async (fault) => {
      const harness = await Harness.open();
      send(harness, steps);
      const owner = await harness.own(topic);
      await owner.drain();
      // The first transaction (the cut) succeeds, the second fails.
      const upload = harness.memory.putIfAbsent.bind(harness.memory);
      let armed = true;
      harness.memory.putIfAbsent = async (...call) => {
        if (armed) harness.fault(topic, fault);
        armed = false;
        return upload(...call);
      };
      await expect(owner.flush()).rejects.toMatchObject({ disposition: 'retry' });
      const made = contents(harness);
      await harness.run(topic);
      await expectExactlyOnce(harness, steps);
      expect(contents(harness)).toEqual(made);
    },
  );

  test('of an owner that lives on as a zombie changes nothing: its commit is refused, its uploads are the same', async () => {
    const harness = await Harness.open();
    send(harness, steps);
    const zombie = await harness.own(topic);
    await zombie.drain();
    let wake: () => void = () => undefined;
    const asleep = new Promise<void>((resolve) => {
      wake = resolve;
    });
    const upload = harness.memory.putIfAbsent.bind(harness.memory);
    let first = true;
    harness.memory.putIfAbsent = async (...call) => {
      if (first) {
        first = false;
        await asleep;
      }
      return upload(...call);
    };
    const failed = expect(zombie.flush()).rejects.toMatchObject({ code: 'FENCED' });
    while (first) await new Promise((resolve) => setTimeout(resolve, 1));
    harness.send(topic, trade({ trade_id: 'new' }));
    await harness.run(topic);
    wake();
    await failed;
    await expectExactlyOnce(harness, [...steps, ['row', 0]]);
  });

  test('finds other bytes under its key and stops, without listing anything', async () => {
    const harness = await Harness.open();
    send(harness, [['row', 0]]);
    const key =
      'cluster-1/cdc.public.trades/year=2013/month=11/day=25/cdc.public.trades+0+00000000000000000000.parquet';
    await harness.memory.putIfAbsent(key, Buffer.from('something else'));
    await expect(harness.run(topic)).rejects.toMatchObject({ code: 'S3_CONFLICT' });
    expect(await harness.listed(topic)).toEqual([]);
    expect(await harness.committed(topic)).toMatchObject({ offset: 0n });
  });

  test('finds the same rows in the bytes of another zstd and keeps them', async () => {
    const harness = await Harness.open();
    send(harness, [['row', 0]]);
    await harness.run(topic);
    const [[key, object] = ['', undefined]] = harness.memory.objects;
    const other = await Harness.open();
    send(other, [['row', 0]]);
    await other.memory.putIfAbsent(key, Buffer.concat([object?.bytes ?? Buffer.alloc(0), Buffer.alloc(1)]), {
      metadata: { ...object?.metadata, build: '2/zstd-0' },
    });
    await other.run(topic);
    expect(await other.listed(topic)).toMatchObject([{ key, bytes: BigInt((object?.bytes.length ?? 0) + 1) }]);
  });

  const step = fc.tuple(
    fc.constantFrom<Sent>('row', 'row', 'row', 'row', 'poison', 'marker', 'tombstone'),
    fc.nat(days.length - 1),
  );
  const transactionFaults = fc.array(
    fc.constantFrom<TransactionFault>('abort', 'unknown-committed', 'unknown-aborted'),
    {
      maxLength: 5,
    },
  );
  const uploadFaults = fc.array(fc.constantFrom(before, after, undefined), { maxLength: 8 });
  const atMost = (max: number) => fc.integer({ min: 1, max });

  test('anywhere, with any portions fetched, makes the same objects, each offset once', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 24 }),
        atMost(9),
        atMost(30),
        transactionFaults,
        uploadFaults,
        async (sent, flushSize, chunk, transactions, uploads) => {
          const calm = await Harness.open({ settings: { flushSize } });
          send(calm, sent);
          await calm.run(topic);
          await expectExactlyOnce(calm, sent);
          const stormy = await Harness.open({ settings: { flushSize } });
          send(stormy, sent);
          stormy.fault(topic, ...transactions);
          stormy.memory.fault(...uploads);
          await stormy.run(topic, { chunk });
          await expectExactlyOnce(stormy, sent);
          expect(contents(stormy)).toEqual(contents(calm));
        },
      ),
      { numRuns: 50 },
    );
  });

  test('anywhere keeps the planned cut, with any records that arrive before the next owner', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 2, maxLength: 24 }),
        atMost(9),
        atMost(23),
        transactionFaults,
        uploadFaults,
        async (sent, flushSize, first, transactions, uploads) => {
          const harness = await Harness.open({ settings: { flushSize } });
          send(harness, sent.slice(0, first));
          harness.fault(topic, ...transactions);
          harness.memory.fault(...uploads);
          let arrived = first;
          await harness.run(topic, {
            onCrash: () => {
              send(harness, sent, arrived);
              arrived = sent.length;
            },
          });
          if (arrived < sent.length) send(harness, sent, arrived);
          await harness.run(topic);
          await expectExactlyOnce(harness, sent);
        },
      ),
      { numRuns: 80 },
    );
  });
});
