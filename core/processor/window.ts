import { MillraceError } from '../errors.ts';
import { DAY, parseInterval } from '../time.ts';

/** A kind of tumbling window. */
export interface Interval {
  /** As users write it: `1s`, `5m`, `1h`, `1d`. */
  readonly name: string;
  /** Length, microseconds. */
  readonly micros: number;
}

/**
 * The interval of that name. Windows are aligned to 1970-01-01T00:00Z, so an interval has to divide a day: otherwise its windows
 * would begin at another time each day.
 *
 * @throws MillraceError CONFIG_INVALID for anything else.
 */
export function toInterval(name: string): Interval {
  const length = parseInterval(name);
  if (DAY % length !== 0n) {
    throw new MillraceError('CONFIG_INVALID', `an interval has to divide a day, and ${name} does not`, {
      remedy: 'Use lengths such as 1s, 1m, 5m, 15m, 1h, 1d.',
    });
  }
  return { name, micros: Number(length) };
}

/**
 * Start of the window that holds `time`: windows are half open, [start, start + size), aligned to 1970-01-01T00:00Z, also before it.
 * Microseconds; `time` and `size` are safe integers.
 */
export function windowStart(time: number, size: number): number {
  const into = time % size;
  return into < 0 ? time - into - size : time - into;
}
