import { MillraceError } from '../../base/errors.ts';

const DAY_MS = 86_400_000;

/**
 * Local time of a named zone, by the platform's IANA database. Milliseconds since 1970 throughout; a local time is written as the
 * instant that would have it as its UTC time.
 */
export class Zone {
  readonly name: string;
  readonly #format: Intl.DateTimeFormat;

  /** @throws MillraceError CONFIG_INVALID for a name that the platform does not know. */
  constructor(name: string) {
    this.name = name;
    try {
      this.#format = new Intl.DateTimeFormat('en-US', {
        timeZone: name,
        calendar: 'gregory',
        numberingSystem: 'latn',
        hourCycle: 'h23',
        year: 'numeric',
        month: 'numeric',
        day: 'numeric',
        hour: 'numeric',
        minute: 'numeric',
        second: 'numeric',
      });
    } catch (cause) {
      throw new MillraceError('CONFIG_INVALID', `no time zone is called ${JSON.stringify(name)}`, {
        cause,
        remedy: 'Use a name of the IANA database, such as America/New_York.',
      });
    }
  }

  /** The local time of an instant from 1900 on. */
  local(instant: number): number {
    const fields: Record<string, number> = {};
    for (const { type, value } of this.#format.formatToParts(instant)) fields[type] = Number(value);
    const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = fields;
    return Date.UTC(year, month - 1, day, hour, minute, second) + (((instant % 1000) + 1000) % 1000);
  }

  /** The instant of a local time: the earlier one of two, and the end of the gap for a time that the clocks skipped. */
  instant(local: number): number {
    const before = this.local(local - DAY_MS) - (local - DAY_MS);
    const after = this.local(local + DAY_MS) - (local + DAY_MS);
    const early = local - before;
    if (before === after || this.local(early) === local) return early;
    const late = local - after;
    return this.local(late) === local ? late : this.#endOfGap(late, early);
  }

  /** The instant between the two at which the offset changes. */
  #endOfGap(from: number, to: number): number {
    const offset = this.local(from) - from;
    let low = from;
    let high = to;
    while (high - low > 1000) {
      const middle = low + Math.floor((high - low) / 2000) * 1000;
      if (this.local(middle) - middle === offset) low = middle;
      else high = middle;
    }
    return high;
  }
}
