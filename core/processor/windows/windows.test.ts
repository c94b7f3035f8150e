import { describe, expect, test } from '@jest/globals';
import fc from '../../../test/support/property.ts';
import { assign, hopping, parseWindows, tumbling, type Windows } from './windows.ts';

const MINUTE = 60_000_000;
const times = fc.integer({ min: -4_000_000_000_000_000, max: 9_000_000_000_000_000 });
const lengths = fc.constantFrom('1s', '30s', '1m', '5m', '15m', '1h', '4h', '1d');

function holds(windows: Windows, time: number): void {
  for (const { start, end } of assign(windows, time)) {
    expect(start <= time && time < end).toBe(true);
    expect(windows.end(start)).toBe(end);
    expect(Math.abs(start % windows.grain) + Math.abs(end % windows.grain)).toBe(0);
    expect(windows.at(start)).toBe(start);
  }
}

describe('a tumbling window', () => {
  test('is half open: its start is in it, its end is in the next one', () => {
    const windows = tumbling('1m');
    expect(assign(windows, 0)).toEqual([{ start: 0, end: MINUTE }]);
    expect(assign(windows, MINUTE - 1)).toEqual([{ start: 0, end: MINUTE }]);
    expect(assign(windows, MINUTE)).toEqual([{ start: MINUTE, end: 2 * MINUTE }]);
  });

  test('holds every instant exactly once, aligned to the epoch on both sides of it', () => {
    fc.assert(
      fc.property(times, lengths, (time, length) => {
        const windows = tumbling(length);
        expect(assign(windows, time)).toHaveLength(1);
        holds(windows, time);
        expect(windows.next(windows.at(time))).toBe(windows.end(windows.at(time)));
      }),
    );
  });

  test.each(['7m', '5h', '2d', '90s10', '', '0m', '1m/1m/1m'])('of length %j is refused', (name) => {
    expect(() => parseWindows(name)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
  });
});

describe('hopping windows', () => {
  test('overlap: five minutes every minute hold each instant five times', () => {
    const windows = parseWindows('5m/1m');
    expect(assign(windows, 7.5 * MINUTE).map(({ start }) => start / MINUTE)).toEqual([3, 4, 5, 6, 7]);
    expect(assign(windows, 8 * MINUTE).map(({ start }) => start / MINUTE)).toEqual([4, 5, 6, 7, 8]);
  });

  test('hold every instant length / step times', () => {
    fc.assert(
      fc.property(
        times,
        fc.constantFrom([5, '5m', '1m'], [4, '1h', '15m'], [24, '1d', '1h']),
        (time, [n, size, every]) => {
          const windows = hopping(size as string, every as string);
          expect(assign(windows, time)).toHaveLength(n as number);
          holds(windows, time);
        },
      ),
    );
  });

  test.each(['5m/2m', '5m/7m', '1m/5m', '1m/1m'])('%s is refused', (name) => {
    expect(() => parseWindows(name)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
  });
});
