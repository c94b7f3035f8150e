import { describe, expect, test } from '@jest/globals';
import { planOf } from '../../core/archive/keys.ts';
import fc from '../../test/support/property.ts';
import { CompactionHarness, Crash, type Witness } from './fixtures/harness.ts';

const day = '2013-11-25';
const other = '2013-11-26';

/** A complete day with two objects in each partition. */
async function small(partitions = 2): Promise<CompactionHarness> {
  const harness = await CompactionHarness.open(partitions);
  for (const time of ['03:00:00', '01:00:00']) {
    for (let partition = 0; partition < partitions; partition++) await harness.archive(day, [time], { partition });
  }
  await harness.settle();
  return harness;
}

/** Counts effects, and kills the process at one of them. */
function crashAt(at: number, moment: 'before' | 'after'): { readonly witness: Witness; effects: number } {
  const state = {
    effects: 0,
    witness: (_effect: string, when: 'before' | 'after') => {
      if (when === 'before') state.effects++;
      if (at > 0 && state.effects >= at && when === moment) throw new Crash('killed');
    },
  };
  return state;
}

/** The final content of the bucket and the list. */
async function stateOf(harness: CompactionHarness) {
  const listed = await harness.listed();
  return { keys: harness.manifests.keys(), listed, rows: await harness.rowsOf(listed) };
}

describe('a compaction that is killed', () => {
  test('at any effect, before or after it, ends as one that was not; each row is listed once all the time', async () => {
    await using undisturbed = await small(1);
    const rows = await undisturbed.rowsOf(await undisturbed.listed());
    const counter = crashAt(0, 'before');
    await undisturbed.seen(counter.witness, () => undisturbed.compact());
    await undisturbed.settle();
    const expected = await stateOf(undisturbed);
    expect(expected.listed).toHaveLength(1);
    // The plan, two objects fetched, one stored, the replacement.
    expect(counter.effects).toBe(5);
    for (let at = 1; at <= counter.effects; at++) {
      for (const moment of ['before', 'after'] as const) {
        await using harness = await small(1);
        const killed = harness.seen(crashAt(at, moment).witness, () => harness.compact());
        await expect(killed).rejects.toThrow(Crash);
        expect(await harness.rowsOf(await harness.listed())).toEqual(rows);
        await harness.compact();
        await harness.settle();
        const { keys, listed, rows: left } = await stateOf(harness);
        expect(left).toEqual(rows);
        expect(listed.map(({ row_hash }) => row_hash)).toEqual(expected.listed.map(({ row_hash }) => row_hash));
        // No orphans: the next owner lists the object that the killed one stored.
        expect(keys.filter((key) => planOf(key) !== undefined).sort()).toEqual(listed.map(({ key }) => key).sort());
        expect(keys).toHaveLength(expected.keys.length);
      }
    }
  });

  test('again and again is finished by the last owner', async () => {
    await using harness = await small();
    const rows = await harness.rowsOf(await harness.listed());
    for (let at = 1; at <= 10; at++) {
      await harness.seen(crashAt(at, 'after').witness, () => harness.compact()).catch(() => undefined);
    }
    await harness.compact();
    expect(await harness.rowsOf(await harness.listed())).toEqual(rows);
    expect(await harness.listed()).toHaveLength(2);
    const steps = await harness.steps();
    expect(steps.filter((kind) => kind === 'PLANNED')).toHaveLength(2);
    expect(steps.filter((kind) => kind === 'COMPACTED')).toHaveLength(2);
  });

  test('finishes a plan from the objects listed when it was made, after any later changes', async () => {
    await using harness = await small();
    // The plan, two inputs, then the upload.
    await harness.seen(crashAt(4, 'before').witness, () => harness.compact()).catch(() => undefined);
    await harness.archive(day, ['02:00:00']);
    await using compactor = await harness.open({ settings: { targetBytes: 1 } });
    expect(compactor.resumed.done).toMatchObject([
      { partition: 0, plan: 0n, before: { files: 2 }, after: { files: 1 } },
    ]);
    expect(await harness.rowsOf(await harness.listed(day))).toHaveLength(5);
  });
});

test('a zombie commits nothing, and the objects that it stores are those that the new owner lists', async () => {
  await using harness = await small();
  const rows = await harness.rowsOf(await harness.listed());
  let second: Promise<unknown> | undefined;
  const zombie = harness.seen(
    async (effect, moment) => {
      if (second !== undefined || moment !== 'before' || !effect.startsWith('put ')) return;
      // The first compactor is about to store its object. Meanwhile the second takes over and does everything.
      second = harness.compact();
      await second;
    },
    () => harness.compact(),
  );
  await expect(zombie).rejects.toMatchObject({ code: 'FENCED' });
  await second;
  const listed = await harness.listed();
  expect(listed).toHaveLength(2);
  expect(await harness.rowsOf(listed)).toEqual(rows);
  expect(
    harness.manifests
      .keys()
      .filter((key) => planOf(key) !== undefined)
      .sort(),
  ).toEqual(listed.map(({ key }) => key).sort());
});

test('a lost answer of the log causes no second compaction', async () => {
  for (const fault of ['abort', 'unknown-committed', 'unknown-aborted'] as const) {
    for (const passing of [0, 1]) {
      await using harness = await small();
      const rows = await harness.rowsOf(await harness.listed());
      let commits = 0;
      const failing: Witness = (effect, moment) => {
        if (effect !== 'commit' || moment !== 'before' || commits++ !== passing) return;
        harness.manifests.archive.log.fault('millrace.compaction.archive.replacements.0', fault);
      };
      await expect(harness.seen(failing, () => harness.compact())).rejects.toMatchObject({ disposition: 'retry' });
      await harness.compact();
      expect(await harness.rowsOf(await harness.listed())).toEqual(rows);
      expect(await harness.listed()).toHaveLength(2);
    }
  }
});

test('readers of the list and of the manifests have each row once, during any archiving, compaction, kill and removal', async () => {
  const action = fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({
        what: fc.constant('archive' as const),
        day: fc.constantFrom(day, other),
        partition: fc.nat(1),
      }),
    },
    { weight: 2, arbitrary: fc.record({ what: fc.constant('settle' as const) }) },
    {
      weight: 3,
      arbitrary: fc.record({
        what: fc.constant('compact' as const),
        crash: fc.option(fc.integer({ min: 1, max: 8 })),
        late: fc.boolean(),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ what: fc.constant('sweep' as const), waitMs: fc.constantFrom(0, 600, 1_000) }),
    },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(action, { minLength: 4, maxLength: 12 }), async (actions) => {
      await using harness = await CompactionHarness.open(2);
      let archived = 0;
      const archive = async (of: string, partition: number): Promise<void> => {
        await harness.archive(of, [`12:00:${String(archived % 60).padStart(2, '0')}`], { partition });
        archived++;
      };
      /** A reader's earlier list, read now. */
      let slow: {
        readonly files: readonly { readonly key: string }[];
        readonly rows: number;
        readonly sinceMs: number;
      }[] = [];
      const look = async (): Promise<void> => {
        const listed = await harness.listed();
        const rows = await harness.rowsOf(listed);
        expect(new Set(rows).size).toBe(rows.length);
        expect(rows).toHaveLength(archived);
        slow.push({ files: listed, rows: rows.length, sinceMs: harness.store.nowMs });
        for (const { files } of harness.newestManifests()) {
          const own = await harness.rowsOf(files);
          expect(new Set(own).size).toBe(own.length);
          slow.push({ files, rows: own.length, sinceMs: harness.store.nowMs });
        }
        slow = slow.filter(({ sinceMs }) => harness.store.nowMs - sinceMs < 1_000);
        for (const { files, rows: had } of slow) expect(await harness.rowsOf(files)).toHaveLength(had);
      };
      for (const each of actions) {
        if (each.what === 'archive') await archive(each.day, each.partition);
        else if (each.what === 'settle') await harness.settle();
        else if (each.what === 'sweep') {
          harness.store.nowMs += each.waitMs;
          await harness.sweep(1_000);
        } else {
          let [effects, late, busy] = [0, each.late, false];
          const witness: Witness = async (effect, moment) => {
            if (busy) return;
            await look();
            // Late rows of the same day, between the plan and the replacement.
            if (late && effect.startsWith('put ')) {
              [late, busy] = [false, true];
              await archive(day, 0);
              await harness.settle();
              busy = false;
            }
            if (moment === 'after' && ++effects === each.crash) throw new Crash('killed');
          };
          await harness
            .seen(witness, () => harness.compact())
            .catch((error: unknown) => {
              if (!(error instanceof Crash)) throw error;
            });
        }
        await look();
      }
      await harness.compact();
      await harness.settle();
      await look();
      const inManifests = (
        await Promise.all(harness.newestManifests().map(({ files }) => harness.rowsOf(files)))
      ).flat();
      expect(inManifests.sort()).toEqual(await harness.rowsOf(await harness.listed()));
    }),
    { numRuns: 15 },
  );
});
