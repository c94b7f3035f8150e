import { describe, expect, test } from '@jest/globals';
import fc from '../../../test/support/property.ts';
import { Dedup, type Seen } from './dedup.ts';

describe('dedup by id', () => {
  test('admits an id once within its time to live, and again when that has passed since it was first seen', () => {
    const dedup = new Dedup(new Map(), 1);
    expect([0, 999, 1000, 1500, 2000].map((logTime) => dedup.admit('a', logTime))).toEqual([
      true,
      false,
      true,
      false,
      true,
    ]);
  });

  test('keeps ids apart', () => {
    const dedup = new Dedup(new Map(), 1);
    expect([dedup.admit('a', 0), dedup.admit('b', 0), dedup.admit('a', 1)]).toEqual([true, true, false]);
  });

  test('admits what a list of everything seen admits, whenever the store drops what has expired', () => {
    const step = fc.record({ id: fc.constantFrom('a', 'b', 'c'), pause: fc.nat(1500), sweep: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const seen = new Map<string, Seen>();
        const dedup = new Dedup(seen, 2);
        const admitted = new Map<string, number>();
        let now = 0;
        for (const { id, pause, sweep } of steps) {
          now += pause;
          if (sweep) for (const [key, { at }] of seen) if (now - at >= 2000) seen.delete(key);
          const isNew = now - (admitted.get(id) ?? Number.NEGATIVE_INFINITY) >= 2000;
          if (isNew) admitted.set(id, now);
          expect(dedup.admit(id, now)).toBe(isNew);
        }
      }),
    );
  });
});
