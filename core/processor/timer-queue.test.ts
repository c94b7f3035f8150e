import { describe, expect, test } from '@jest/globals';
import fc from '../../test/support/property.ts';
import { TimerQueue } from './timer-queue.ts';

function drain(queue: TimerQueue, now = Number.POSITIVE_INFINITY): string[] {
  const taken: string[] = [];
  for (let timer = queue.take(now); timer !== undefined; timer = queue.take(now)) taken.push(`${timer.at}${timer.tie}`);
  return taken;
}

describe('a queue of keyed timers', () => {
  test('gives the earliest first, equal ones by key', () => {
    const queue = new TimerQueue();
    for (const [key, at] of [
      ['b', 2],
      ['c', 1],
      ['a', 2],
    ] as const)
      queue.set(key, at);
    expect(drain(queue)).toEqual(['1c', '2a', '2b']);
  });

  test('a timer that is put off is due at its new time only, and does not hide those behind it', () => {
    const queue = new TimerQueue();
    queue.set('a', 1);
    queue.set('b', 2);
    queue.set('a', 5);
    expect([queue.isDue(1), queue.first(), queue.isDue(2)]).toEqual([false, 2, true]);
    expect(drain(queue, 4)).toEqual(['2b']);
    expect(queue.get('a')).toBe(5);
    expect(drain(queue, 5)).toEqual(['5a']);
  });

  test('tells whether anything has changed', () => {
    const queue = new TimerQueue();
    expect([queue.set('a', 1), queue.set('a', 1), queue.set('a', 2)]).toEqual([true, false, true]);
    expect([queue.delete('a'), queue.delete('a')]).toEqual([true, false]);
    expect(queue.first()).toBe(Number.POSITIVE_INFINITY);
  });

  test('after anything was set, put off, brought forward, deleted and taken, it is a sorted list of the newest times', () => {
    const key = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f');
    const step = fc.oneof(
      { weight: 5, arbitrary: fc.record({ key, at: fc.integer({ min: -3, max: 8 }) }) },
      { weight: 2, arbitrary: fc.record({ key, at: fc.constant(null) }) },
      { weight: 2, arbitrary: fc.record({ now: fc.integer({ min: -3, max: 8 }) }) },
    );
    const sorted = (timers: ReadonlyMap<string, number>, now: number) =>
      [...timers].filter(([, at]) => at <= now).sort(([a, x], [b, y]) => x - y || (a < b ? -1 : 1));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const queue = new TimerQueue();
        const expected = new Map<string, number>();
        for (const each of steps) {
          if ('now' in each) {
            const due = sorted(expected, each.now);
            expect(drain(queue, each.now)).toEqual(due.map(([name, at]) => `${at}${name}`));
            for (const [name] of due) expected.delete(name);
          } else if (each.at === null) expect(queue.delete(each.key)).toBe(expected.delete(each.key));
          else {
            queue.set(each.key, each.at);
            expected.set(each.key, each.at);
          }
          expect(queue.size).toBe(expected.size);
        }
        const all = sorted(expected, Number.POSITIVE_INFINITY);
        expect(queue.first()).toBe(all[0]?.[1] ?? Number.POSITIVE_INFINITY);
        expect(drain(queue)).toEqual(all.map(([name, at]) => `${at}${name}`));
      }),
    );
  });

  test('gives the memory of a deleted timer back at once, however late it would have been due', () => {
    const queue = new TimerQueue();
    for (let i = 0; i < 1_000; i++) queue.set(`k${i}`, 1e15 + i);
    for (let i = 0; i < 1_000; i++) queue.delete(`k${i}`);
    expect(queue.size).toBe(0);
    expect(queue.first()).toBe(Number.POSITIVE_INFINITY);
  });
});
