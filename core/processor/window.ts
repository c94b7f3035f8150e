/** A kind of tumbling window. */
export interface Interval {
  /** As users write it: `1s`, `5m`, `1h`, `1d`. */
  readonly name: string;
  /** Length, microseconds. */
  readonly micros: number;
}

const UNITS: Readonly<Record<string, number>> = {
  s: 1_000_000,
  m: 60_000_000,
  h: 3_600_000_000,
  d: 86_400_000_000,
};

/**
 * Reads an interval: a count without leading zeros, and a unit (s, m, h, d). Windows are aligned to 1970-01-01T00:00Z, so an
 * interval has to divide a day: otherwise its windows would begin at another time each day.
 *
 * @throws RangeError for anything else.
 */
export function parseInterval(name: string): Interval {
  const match = /^([1-9]\d{0,4})([smhd])$/.exec(name);
  const unit = UNITS[match?.[2] ?? ''];
  if (match === null || unit === undefined) {
    throw new RangeError(`an interval is a count and a unit, such as 1s, 5m, 1h or 1d, not ${JSON.stringify(name)}`);
  }
  const size = Number(match[1]) * unit;
  if (86_400_000_000 % size !== 0) throw new RangeError(`an interval has to divide a day; ${name} does not`);
  return { name, micros: size };
}

/**
 * Start of the window that holds `time`: windows are half open, [start, start + size), aligned to 1970-01-01T00:00Z, also before it.
 * Microseconds; `time` and `size` are safe integers.
 */
export function windowStart(time: number, size: number): number {
  const into = time % size;
  return into < 0 ? time - into - size : time - into;
}
