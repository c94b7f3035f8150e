import { describe, expect, test } from '@jest/globals';
import fc from '../../../test/support/property.ts';
import { type StoredVersion, Versions } from './versions.ts';

type Entries = Map<string, StoredVersion<string>>;

function open(retention: number, entries: Entries = new Map()): Versions<string> {
  const versions = new Versions<string>(entries, retention);
  versions.restored();
  return versions;
}

function held(versions: Versions<string>, key: string, time: number): string {
  const found = versions.at(key, time);
  return found.kind === 'version' ? found.version.value : found.kind;
}

describe('versions of a key', () => {
  test('answer what held at a time: the latest at or before it', () => {
    const versions = open(1000);
    versions.put('k', 10, 0n, 'a');
    versions.put('k', 20, 0n, 'b');
    expect([9, 10, 19, 20, 500].map((time) => held(versions, 'k', time))).toEqual(['none', 'a', 'a', 'b', 'b']);
    expect(held(versions, 'other', 10)).toBe('none');
  });

  test('of one time are ordered by their sequence, whatever order they came in', () => {
    const versions = open(1000);
    versions.put('k', 10, 7n, 'later');
    versions.put('k', 10, 3n, 'earlier');
    expect(held(versions, 'k', 10)).toBe('later');
    expect(versions.between('k', 10, 11).map(({ value }) => value)).toEqual(['earlier', 'later']);
  });

  test('of one time and sequence replace each other', () => {
    const versions = open(1000);
    versions.put('k', 10, 1n, 'first');
    versions.put('k', 10, 1n, 'second');
    expect(held(versions, 'k', 10)).toBe('second');
    expect(versions.size).toBe(1);
  });

  test('keep the one that held when the retention began, and say of a time before it that it is forgotten', () => {
    const versions = open(100);
    for (const time of [0, 50, 120, 200]) versions.put('k', time, 0n, `v${time}`);
    expect(versions.size).toBe(3);
    expect([49, 50, 99, 100, 120].map((time) => held(versions, 'k', time))).toEqual([
      'forgotten',
      'v50',
      'v50',
      'v50',
      'v120',
    ]);
    versions.put('k', 220, 0n, 'v220');
    expect([held(versions, 'k', 119), held(versions, 'k', 120), versions.size]).toEqual(['forgotten', 'v120', 3]);
  });

  test('refuse one that is older than what is kept', () => {
    const versions = open(100);
    versions.put('k', 200, 0n, 'new');
    expect(versions.put('k', 150, 0n, 'old')).toBe(true);
    expect(versions.put('k', 10, 0n, 'held at 100')).toBe(true);
    expect(versions.put('k', 5, 0n, 'older than what held at 100')).toBe(false);
    expect([held(versions, 'k', 120), held(versions, 'k', 6)]).toEqual(['held at 100', 'forgotten']);
    expect(versions.put('k', 7, 0n, 'nobody knows its neighbours')).toBe(false);
    expect(held(versions, 'k', 8)).toBe('forgotten');
  });

  test('can be taken out again, as if they had never been', () => {
    const versions = open(100);
    for (const time of [10, 20, 200]) versions.put('k', time, 0n, `v${time}`);
    versions.put('k', 150, 0n, 'wrong');
    versions.remove('k', 150, 0n);
    versions.remove('k', 151, 0n);
    expect([held(versions, 'k', 160), versions.size]).toEqual(['v20', 2]);
    versions.remove('k', 20, 0n);
    expect([held(versions, 'k', 160), held(versions, 'k', 200)]).toEqual(['forgotten', 'v200']);
    versions.remove('k', 200, 0n);
    // v10 was forgotten, and nobody can say any more that nothing held.
    expect(held(versions, 'k', 300)).toBe('forgotten');
  });

  test('leave nothing behind when all are taken out and none was forgotten', () => {
    const versions = open(100);
    for (const time of [10, 20]) versions.put('k', time, 0n, `v${time}`);
    for (const time of [20, 10]) versions.remove('k', time, 0n);
    expect([held(versions, 'k', 300), versions.size]).toEqual(['none', 0]);
    expect(versions.put('k', 5, 0n, 'v5')).toBe(true);
  });

  test('refuse what is older than the last one that was taken out, also after a restart', () => {
    const entries: Entries = new Map();
    let versions = open(100, entries);
    for (const time of [0, 50, 200]) versions.put('k', time, 0n, `v${time}`);
    for (const time of [200, 50]) versions.remove('k', time, 0n);
    for (const restarted of [false, true]) {
      if (restarted) versions = open(100, entries);
      expect(versions.put('k', 49, 0n, 'its neighbours are gone')).toBe(false);
      expect([held(versions, 'k', 49), held(versions, 'k', 60)]).toEqual(['forgotten', 'forgotten']);
    }
    expect(versions.put('k', 60, 0n, 'v60')).toBe(true);
    expect([versions.size, held(versions, 'k', 59), held(versions, 'k', 60)]).toEqual([1, 'forgotten', 'v60']);
    expect(versions.put('k', 55, 0n, 'older than what is kept')).toBe(false);
  });

  test('are listed by half-open range, and the next after a time is found', () => {
    const versions = open(1000);
    for (const time of [10, 20, 30]) versions.put('k', time, 0n, `v${time}`);
    expect(versions.between('k', 10, 30).map(({ time }) => time)).toEqual([10, 20]);
    expect([versions.next('k', 10)?.time, versions.next('k', 30)?.time]).toEqual([20, undefined]);
  });

  test('give the same answers as a search of the whole history, also after a restart', () => {
    const step = fc.record({ time: fc.nat(60), sequence: fc.nat(2), restart: fc.boolean() });
    fc.assert(
      fc.property(
        fc.array(step, { minLength: 1, maxLength: 40 }),
        fc.integer({ min: 1, max: 80 }),
        (steps, retention) => {
          const entries: Entries = new Map();
          let versions = open(retention, entries);
          const history: { time: number; sequence: number; value: string }[] = [];
          for (const [at, { time, sequence, restart }] of steps.entries()) {
            const value = `${at}`;
            if (versions.put('k', time, BigInt(sequence), value)) {
              const same = history.findIndex((each) => each.time === time && each.sequence === sequence);
              if (same >= 0) history.splice(same, 1);
              history.push({ time, sequence, value });
            }
            if (restart) versions = open(retention, entries);
            const newest = Math.max(...history.map((each) => each.time));
            for (let asked = newest - retention; asked <= 61; asked++) {
              const best = history
                .filter((each) => each.time <= asked)
                .sort((a, b) => b.time - a.time || b.sequence - a.sequence)[0];
              expect(held(versions, 'k', asked)).toBe(best?.value ?? 'none');
            }
          }
        },
      ),
    );
  });

  test('that come in another order leave the same state', () => {
    const arrivals = fc.uniqueArray(fc.record({ time: fc.nat(40), sequence: fc.nat(1) }), {
      selector: ({ time, sequence }) => `${time}/${sequence}`,
      maxLength: 20,
    });
    fc.assert(
      fc.property(
        arrivals.chain((list) => fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length }))),
        ([ordered, shuffled]) => {
          // A retention beyond all skew: nothing is refused, whatever comes first.
          const [a, b]: [Entries, Entries] = [new Map(), new Map()];
          const [left, right] = [open(100, a), open(100, b)];
          for (const { time, sequence } of ordered) left.put('k', time, BigInt(sequence), `${time}/${sequence}`);
          for (const { time, sequence } of shuffled) right.put('k', time, BigInt(sequence), `${time}/${sequence}`);
          expect([...a].sort()).toEqual([...b].sort());
        },
      ),
    );
  });
});
