import { describe, expect, test } from '@jest/globals';
import type { CapturePosition } from '../client.ts';
import { lossOf, type Remembered, SlotGuard, slotStateOf } from './guard.ts';
import type { Slot } from './slot.ts';

const slot = (overrides: Partial<Slot> = {}): Slot => ({
  slot: 's',
  active: false,
  reader: null,
  walLsn: 1_000n,
  walStatus: 'reserved',
  invalidation: null,
  confirmedLsn: 100n,
  retainedBytes: 0n,
  confirmedLagBytes: 0n,
  safeBytes: null,
  ...overrides,
});
const at = (lsn: bigint, unfinished = false): CapturePosition => ({ lsn, time: 0n, unfinished });

describe('a slot', () => {
  test('that is gone, given up or made anew is a loss once something was captured', () => {
    expect(lossOf('s', undefined, at(100n))?.kind).toBe('missing');
    expect(lossOf('s', slot({ walStatus: 'lost' }), at(100n))?.kind).toBe('invalidated');
    expect(lossOf('s', slot({ invalidation: 'wal_removed' }), at(100n))?.reason).toContain('wal_removed');
    expect(lossOf('s', slot({ confirmedLsn: 101n }), at(100n))).toEqual({
      kind: 'recreated',
      reason: 'replication slot s begins at 0/65, and what was captured ends at 0/64',
      captured: 100n,
    });
  });

  test('that is behind what was captured, or not made yet, is none', () => {
    expect(lossOf('s', slot({ confirmedLsn: 99n }), at(100n))).toBeUndefined();
    expect(lossOf('s', slot({ confirmedLsn: 100n }), at(100n))).toBeUndefined();
    expect(lossOf('s', slot({ confirmedLsn: null }), at(100n))).toBeUndefined();
    expect(lossOf('s', undefined, undefined)).toBeUndefined();
    expect(lossOf('s', slot({ confirmedLsn: 900n }), undefined)).toBeUndefined();
  });

  test('that is gone or made anew within the first snapshot is none, as there are no changes yet; one that Postgres gave up is', () => {
    expect(lossOf('s', undefined, at(100n, true))).toBeUndefined();
    expect(lossOf('s', slot({ confirmedLsn: 101n }), at(100n, true))).toBeUndefined();
    expect(lossOf('s', slot({ walStatus: 'lost' }), at(100n, true))?.kind).toBe('invalidated');
    expect(lossOf('s', slot({ walLsn: 99n }), at(100n, true))?.kind).toBe('restored');
  });

  test('of a Postgres that ends before what was captured is lost, also while it is read', () => {
    for (const active of [false, true]) {
      expect(lossOf('s', slot({ active, confirmedLsn: 40n, walLsn: 99n }), at(100n))).toEqual({
        kind: 'restored',
        reason: 'Postgres ends at 0/63, and what was captured at 0/64: it was restored to an earlier point',
        captured: 100n,
      });
    }
    expect(lossOf('s', slot({ walLsn: 100n }), at(100n))).toBeUndefined();
  });

  test('of a Postgres that was restored stays lost when Postgres has written past the place, until it is recaptured', () => {
    const known = lossOf('s', slot({ walLsn: 99n }), at(100n));
    expect(lossOf('s', slot({ confirmedLsn: 40n }), at(100n), known)?.kind).toBe('restored');
    expect(lossOf('s', slot({ confirmedLsn: 200n }), at(200n), known)).toBeUndefined();
  });

  test('with a reader passed Debezium’s own comparison: a slot confirmed after the position was read is no loss', () => {
    expect(lossOf('s', slot({ active: true, confirmedLsn: 101n }), at(100n))).toBeUndefined();
    expect(lossOf('s', slot({ active: true, walStatus: 'lost' }), at(100n))?.kind).toBe('invalidated');
  });
});

describe('the guard', () => {
  const world = () => {
    const state = { slot: slot({ active: true, reader: 7 }) as Slot | undefined, connector: 'RUNNING', asked: 0 };
    const events: string[] = [];
    const kept: { known: Remembered | undefined } = { known: undefined };
    const guardOf = () =>
      new SlotGuard({
        slot: 's',
        memory: {
          recall: async () => kept.known,
          remember: async (known) => {
            kept.known = known;
          },
        },
        connector: 'c',
        read: async () => state.slot,
        drop: async () => {
          events.push('drop');
          state.slot = undefined;
        },
        client: {
          position: async () => {
            state.asked++;
            return at(100n);
          },
          status: async () => ({ name: 'c', state: state.connector, worker: 'w', trace: undefined, tasks: [] }),
          stop: async () => {
            events.push('stop');
            state.connector = 'STOPPED';
          },
          resume: async () => {
            events.push('resume');
            state.connector = 'RUNNING';
          },
        },
        listener: {
          lost: ({ kind }, first) => events.push(`${kind}${first ? ' first' : ''}`),
          kept: () => events.push('kept'),
        },
      });
    return { state, events, guard: guardOf(), anew: guardOf, kept };
  };

  test('asks Kafka Connect once for each reader of the slot', async () => {
    const { state, guard, events } = world();
    await guard.look();
    await guard.look();
    expect(state.asked).toBe(1);
    state.slot = slot({ active: true, reader: 8 });
    await guard.look();
    await guard.look();
    expect(state.asked).toBe(2);
    expect(events).toEqual([]);
  });

  test('finds a Postgres that was restored by its new reader, and drops the slot that would seem to fit later; changes between two looks are none', async () => {
    const { state, guard, events } = world();
    await guard.look();
    state.slot = slot({ active: true, reader: 8, walLsn: 99n });
    await guard.look();
    await guard.look();
    await guard.look();
    expect(events).toEqual(['restored first', 'restored', 'stop', 'drop', 'missing']);

    const going = [slot({ walLsn: 99n }), slot({ walLsn: 101n })];
    const { loss } = await slotStateOf(
      's',
      async () => going.shift(),
      async () => at(100n),
    );
    expect(loss).toBeUndefined();
  });

  test('stops the connector at the second look, once, and says at every look what is lost', async () => {
    const { state, guard, events } = world();
    state.slot = undefined;
    await guard.look();
    expect(events).toEqual(['missing first']);
    await guard.look();
    await guard.look();
    expect(events).toEqual(['missing first', 'missing', 'stop', 'missing']);
    expect(guard.loss?.kind).toBe('missing');
  });

  test('lets a connector that it stopped go on when slot and position fit again, and no other', async () => {
    const { state, guard, events } = world();
    state.slot = undefined;
    await guard.look();
    await guard.look();
    state.slot = slot({ confirmedLsn: 100n });
    await guard.look();
    expect(events.slice(-2)).toEqual(['kept', 'resume']);
    expect(guard.loss).toBeUndefined();
    state.connector = 'STOPPED';
    state.slot = undefined;
    await guard.look();
    await guard.look();
    state.slot = slot();
    await guard.look();
    expect(events.filter((event) => event === 'resume')).toHaveLength(1);
  });

  test('stops it again when it was let go on between two looks, and there is a loss still or anew', async () => {
    const { state, guard, events } = world();
    state.slot = undefined;
    await guard.look();
    await guard.look();
    state.connector = 'RUNNING';
    await guard.look();
    expect(events.filter((event) => event === 'stop')).toHaveLength(2);
  });

  test('does not take a slot that is just being made, and read by who makes it, for the end of a loss', async () => {
    const { state, guard, events } = world();
    state.slot = undefined;
    await guard.look();
    await guard.look();
    state.slot = slot({ active: true, confirmedLsn: null });
    await guard.look();
    state.slot = slot({ active: true, confirmedLsn: 200n });
    await guard.look();
    expect(guard.loss?.kind).toBe('recreated');
    expect(events).not.toContain('resume');
    state.slot = slot({ active: true, confirmedLsn: 100n });
    await guard.look();
    expect(guard.loss).toBeUndefined();
  });

  test('leaves its answer as it is while it cannot look', async () => {
    const { state, guard } = world();
    state.slot = undefined;
    await guard.look();
    Object.defineProperty(state, 'slot', {
      get: () => {
        throw new Error('no answer');
      },
    });
    await expect(guard.look()).rejects.toThrow('no answer');
    expect(guard.loss?.kind).toBe('missing');
  });

  test('that was started anew lets the connector go on that the one before had stopped, and no other', async () => {
    const { state, guard, events, anew, kept } = world();
    state.slot = undefined;
    await guard.look();
    await guard.look();
    expect(kept.known).toMatchObject({ stopped: true, loss: { kind: 'missing' } });
    state.slot = slot({ confirmedLsn: 100n });
    await anew().look();
    expect(events.slice(-2)).toEqual(['kept', 'resume']);
    expect(kept.known).toBeUndefined();
    state.connector = 'STOPPED';
    await anew().look();
    expect(events.filter((event) => event === 'resume')).toHaveLength(1);
  });

  test('that was started anew still knows of a Postgres that was restored, and says so, when Postgres has written past the place', async () => {
    const { state, guard, events, anew, kept } = world();
    state.slot = slot({ walLsn: 99n });
    await guard.look();
    expect(kept.known).toMatchObject({ stopped: false, loss: { kind: 'restored' } });
    state.slot = slot({ walLsn: 500n, confirmedLsn: 40n });
    await anew().look();
    expect(events).toEqual(['restored first', 'restored first', 'stop', 'drop']);
  });

  test('remembers that it stops the connector before it does', async () => {
    const { state, guard, kept } = world();
    state.slot = undefined;
    await guard.look();
    Object.defineProperty(state, 'connector', {
      get: () => 'RUNNING',
      set: () => {
        throw new Error(`crash, ${kept.known?.stopped}`);
      },
    });
    await expect(guard.look()).rejects.toThrow('crash, true');
  });
});
