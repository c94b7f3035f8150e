import { MillraceError, unlessDead } from '../../base/errors.ts';
import { DAY, parseInterval } from '../../values/time.ts';

/** Half open, [start, end). Microseconds since 1970, exact to ±2^53. */
export interface Window {
  readonly start: number;
  readonly end: number;
}

/**
 * Which windows an instant belongs to. A function of the instant alone: windows that depend on other records are sessions (`sessions.ts`).
 *
 * All numbers are microseconds since 1970 and safe integers; NaN stands for "there is none", so that asking allocates nothing.
 */
export interface Windows {
  /** As users write it, and as outputs carry it: `1m`, `5m/1m`, `session`. */
  readonly name: string;
  /** Start of the latest window that holds `time`; NaN when none does. */
  at(time: number): number;
  /** Start of the window before the one that starts at `start`, if it holds `time` as well; NaN otherwise. */
  before(start: number, time: number): number;
  /** End of the window that starts at `start`. */
  end(start: number): number;
  /** Start of the next window that does not overlap the one at `start`; NaN where windows overlap, or when there is none. */
  next(start: number): number;
  /** The window whose `next` is the one at `start`; NaN likewise. */
  previous(start: number): number;
  /** Every start and every end is a multiple of this. Windows whose length divides it never lie across an edge. */
  readonly grain: number;
  /** Length of the longest window. */
  readonly longest: number;
  /** Whether some instants are in no window. */
  readonly gappy: boolean;
}

/** All windows that hold `time`, earliest first. */
export function assign(windows: Windows, time: number): Window[] {
  const all: Window[] = [];
  for (let start = windows.at(time); !Number.isNaN(start); start = windows.before(start, time)) {
    all.unshift({ start, end: windows.end(start) });
  }
  return all;
}

/** End of the window that starts there; undefined when none does, as after a change of the calendar. */
export function endOf(windows: Windows, start: number): number | undefined {
  return unlessDead(() => windows.at(start)) === start ? windows.end(start) : undefined;
}

/** Windows of one length, one after the other, aligned to 1970-01-01T00:00Z, also before it. */
export class Tumbling implements Windows {
  readonly name: string;
  readonly size: number;
  readonly gappy = false;

  /** @param size microseconds; has to divide a day, or windows would begin at another time each day. */
  constructor(name: string, size: number) {
    this.name = name;
    this.size = size;
  }

  get grain(): number {
    return this.size;
  }

  get longest(): number {
    return this.size;
  }

  at(time: number): number {
    return floor(time, this.size);
  }

  before(): number {
    return Number.NaN;
  }

  end(start: number): number {
    return start + this.size;
  }

  next(start: number): number {
    return start + this.size;
  }

  previous(start: number): number {
    return start - this.size;
  }
}

/** Windows of one length that begin `every` so often: each instant is in size / every of them. */
export class Hopping implements Windows {
  readonly name: string;
  readonly size: number;
  readonly every: number;
  readonly gappy = false;

  constructor(name: string, size: number, every: number) {
    this.name = name;
    this.size = size;
    this.every = every;
  }

  get grain(): number {
    return this.every;
  }

  get longest(): number {
    return this.size;
  }

  at(time: number): number {
    return floor(time, this.every);
  }

  before(start: number, time: number): number {
    const earlier = start - this.every;
    return time < earlier + this.size ? earlier : Number.NaN;
  }

  end(start: number): number {
    return start + this.size;
  }

  next(): number {
    return Number.NaN;
  }

  previous(): number {
    return Number.NaN;
  }
}

/** `tumbling('5m')`. @throws MillraceError CONFIG_INVALID when the length does not divide a day. */
export function tumbling(size: string): Tumbling {
  return new Tumbling(size, lengthOf(size));
}

/** `hopping('5m', '1m')`: five minutes, a new one every minute. @throws MillraceError CONFIG_INVALID */
export function hopping(size: string, every: string): Hopping {
  const length = parseInterval(size);
  const step = lengthOf(every);
  if (length % BigInt(step) !== 0n || Number(length) === step) {
    throw new MillraceError('CONFIG_INVALID', `windows of ${size} cannot begin every ${every}`, {
      remedy: 'The length has to be a multiple of the step, and longer than it: 5m/1m, 1h/15m.',
    });
  }
  return new Hopping(`${size}/${every}`, Number(length), step);
}

/** `1m` is tumbling, `5m/1m` is hopping. @throws MillraceError CONFIG_INVALID */
export function parseWindows(name: string): Windows {
  const [size = '', every, ...rest] = name.split('/');
  if (rest.length > 0) throw new MillraceError('CONFIG_INVALID', `not an interval: ${JSON.stringify(name)}`);
  return every === undefined ? tumbling(size) : hopping(size, every);
}

function lengthOf(name: string): number {
  const length = parseInterval(name);
  if (DAY % length !== 0n) {
    throw new MillraceError('CONFIG_INVALID', `an interval has to divide a day, and ${name} does not`, {
      remedy: 'Use lengths such as 1s, 1m, 5m, 15m, 1h, 1d.',
    });
  }
  return Number(length);
}

/** The greatest multiple of `size` that is not after `time`, also before 1970. */
export function floor(time: number, size: number): number {
  const into = time % size;
  return into < 0 ? time - into - size : time - into;
}
