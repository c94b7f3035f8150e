import { describe, expect, test } from '@jest/globals';
import fc from '../../test/support/property.ts';
import { Heap, type HeapEntry } from './heap.ts';

interface Entry extends HeapEntry {
  readonly tie: string;
}

const entry = (tie: string): Entry => ({ due: 0, tie, slot: -1 });

function drain(heap: Heap<Entry>): string[] {
  const order: string[] = [];
  for (let first = heap.first(); first !== undefined; first = heap.first()) {
    order.push(`${first.due}${first.tie}`);
    heap.delete(first);
  }
  return order;
}

describe('a heap of deadlines', () => {
  test('gives the earliest deadline first, equal ones by their tie', () => {
    const heap = new Heap<Entry>();
    heap.set(entry('b'), 2);
    heap.set(entry('c'), 1);
    heap.set(entry('a'), 2);
    expect(drain(heap)).toEqual(['1c', '2a', '2b']);
  });

  test('moves an entry whose deadline changed', () => {
    const heap = new Heap<Entry>();
    const moved = entry('m');
    heap.set(moved, 5);
    heap.set(entry('a'), 2);
    heap.set(moved, 1);
    expect(heap.first()).toBe(moved);
    heap.set(moved, 3);
    expect(drain(heap)).toEqual(['2a', '3m']);
  });

  test('an entry that was taken out can come back, and taking out a stranger does nothing', () => {
    const heap = new Heap<Entry>();
    const one = entry('one');
    heap.delete(one);
    heap.set(one, 1);
    heap.delete(one);
    expect(heap.first()).toBeUndefined();
    heap.set(one, 2);
    expect(drain(heap)).toEqual(['2one']);
  });

  test('after any insertions, moves and removals the order is that of a sorted list', () => {
    const step = fc.record({ id: fc.nat(12), due: fc.option(fc.integer({ min: -3, max: 3 })) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const heap = new Heap<Entry>();
        const all = Array.from({ length: 13 }, (_, id) => entry(String.fromCharCode(97 + id)));
        const expected = new Map<string, number>();
        for (const { id, due } of steps) {
          const at = all[id] as Entry;
          if (due === null) {
            heap.delete(at);
            expected.delete(at.tie);
          } else {
            heap.set(at, due);
            expected.set(at.tie, due);
          }
          expect(heap.size).toBe(expected.size);
        }
        const sorted = [...expected].sort(([a, x], [b, y]) => x - y || (a < b ? -1 : 1));
        expect(drain(heap)).toEqual(sorted.map(([tie, due]) => `${due}${tie}`));
      }),
    );
  });
});
