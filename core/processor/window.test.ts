import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { MillraceError } from '../errors.ts';
import { toInterval, windowStart } from './window.ts';

const MINUTE = 60_000_000;

describe('an interval', () => {
  test('is a count and a unit', () => {
    expect(toInterval('1s')).toEqual({ name: '1s', micros: 1_000_000 });
    expect(toInterval('5m').micros).toBe(300_000_000);
    expect(toInterval('1d').micros).toBe(86_400_000_000);
  });

  test.each(['', '5', 'm', '0m', '05m', '1.5m', '-1m', '5 m', '5M', '1w'])('cannot be %j', (name) => {
    expect(() => toInterval(name)).toThrow(MillraceError);
  });

  test('has to divide a day, so that windows begin at the same times each day', () => {
    expect(() => toInterval('7m')).toThrow('an interval has to divide a day, and 7m does not');
    expect(() => toInterval('2d')).toThrow(MillraceError);
  });
});

describe('a tumbling window', () => {
  test('is half open: its start belongs to it, its end to the next', () => {
    expect(windowStart(MINUTE - 1, MINUTE)).toBe(0);
    expect(windowStart(MINUTE, MINUTE)).toBe(MINUTE);
    expect(windowStart(2 * MINUTE - 1, MINUTE)).toBe(MINUTE);
  });

  test('is aligned to 1970 before 1970, too', () => {
    expect(windowStart(-1, MINUTE)).toBe(-MINUTE);
    expect(windowStart(-MINUTE, MINUTE)).toBe(-MINUTE);
    expect(windowStart(-MINUTE - 1, MINUTE)).toBe(-2 * MINUTE);
  });

  test('holds every time exactly once, whatever the time and the size', () => {
    const time = fc.integer({ min: -(2 ** 52), max: 2 ** 52 });
    const size = fc.constantFrom('1s', '1m', '5m', '15m', '1h', '1d');
    fc.assert(
      fc.property(time, size, (at, name) => {
        const { micros } = toInterval(name);
        const start = windowStart(at, micros);
        expect(start).toBeLessThanOrEqual(at);
        expect(at - start).toBeLessThan(micros);
        expect(BigInt(start) % BigInt(micros)).toBe(0n);
      }),
    );
  });
});
