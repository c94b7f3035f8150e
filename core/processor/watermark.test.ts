import { describe, expect, test } from '@jest/globals';
import fc from '../../test/support/property.ts';
import { changeLateness, dueAt, micros, observe, startProgress, watermarkAt } from './watermark.ts';

describe('the watermark of a key', () => {
  test('is the greatest event time, plus the log time since, minus the lateness', () => {
    const progress = startProgress(1000, 5000, 10);
    expect(watermarkAt(progress, 5000)).toBe(990);
    expect(watermarkAt(progress, 5400)).toBe(1390);
    observe(progress, 2000, 5500, 5500);
    expect(watermarkAt(progress, 5500)).toBe(1990);
  });

  test('does not care how far event time is behind log time', () => {
    const year = 365 * 86_400_000_000;
    const progress = startProgress(1000, 1000 + year, 10);
    expect(watermarkAt(progress, 1000 + year)).toBe(990);
  });

  test('is not moved by a record behind the greatest event time', () => {
    const progress = startProgress(1000, 5000, 10);
    expect(observe(progress, 999, 6000, 6000)).toBe(false);
    expect(observe(progress, 1000, 6000, 6000)).toBe(false);
    expect(watermarkAt(progress, 6000)).toBe(1990);
  });

  test('stands still, instead of going back, when a delayed record has the greatest event time', () => {
    const progress = startProgress(1000, 5000, 10);
    expect(watermarkAt(progress, 6000)).toBe(1990);
    expect(observe(progress, 1001, 6000, 6000)).toBe(true);
    expect(watermarkAt(progress, 6000)).toBe(1990);
    expect(watermarkAt(progress, 6900)).toBe(1990);
    expect(watermarkAt(progress, 7100)).toBe(2091);
  });

  test('counts the log time that passed since the record itself, not since it was read', () => {
    const progress = startProgress(1000, 5000, 10);
    observe(progress, 2000, 5000, 5300);
    expect(watermarkAt(progress, 5300)).toBe(2290);
  });

  test('goes on from where it was when the allowed lateness changes', () => {
    const progress = startProgress(1000, 5000, 10);
    expect(changeLateness(progress, 10, 6000)).toBe(false);
    expect(changeLateness(progress, 500, 6000)).toBe(true);
    expect(watermarkAt(progress, 6000)).toBe(1990);
    expect(watermarkAt(progress, 7000)).toBe(2500);
  });

  test('never goes back, and reaches a time exactly when it is due, whatever arrives', () => {
    const step = fc.record({ event: fc.integer({ min: 0, max: 500 }), delay: fc.nat(100), pause: fc.nat(50) });
    fc.assert(
      fc.property(fc.nat(100), fc.array(step, { minLength: 1, maxLength: 40 }), (lateness, steps) => {
        const progress = startProgress(0, 0, lateness);
        let now = 0;
        let reached = watermarkAt(progress, now);
        for (const { event, delay, pause } of steps) {
          now += pause;
          expect(watermarkAt(progress, now)).toBeGreaterThanOrEqual(reached);
          reached = watermarkAt(progress, now);
          observe(progress, event, now - delay, now);
          expect(watermarkAt(progress, now)).toBeGreaterThanOrEqual(reached);
          reached = watermarkAt(progress, now);
          const later = reached + 7;
          const due = dueAt(progress, later);
          expect(watermarkAt(progress, due)).toBe(later);
          expect(watermarkAt(progress, due - 1)).toBeLessThan(later);
        }
      }),
    );
  });
});

test('microseconds beyond ±2^53 are refused, not rounded', () => {
  expect(micros(9_007_199_254_740_991n)).toBe(Number.MAX_SAFE_INTEGER);
  expect(() => micros(9_007_199_254_740_993n)).toThrow('beyond the year 2255');
});
