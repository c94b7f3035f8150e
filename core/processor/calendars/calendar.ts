import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { MillraceError } from '../../base/errors.ts';
import type { Window, Windows } from '../windows/windows.ts';
import { Zone } from './zone.ts';

const clock = z.string().regex(/^(?:[01]\d|2[0-3]):[0-5]\d$|^24:00$/, 'HH:MM, at most 24:00');
const date = z.iso.date();
/** Days by year: `{ "2025": ["01-01", "12-25"] }`. */
const days = z.record(
  z.string().regex(/^\d{4}$/, 'a year'),
  z.array(z.string().regex(/^(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])$/, 'MM-DD')),
);

/** A calendar as its data file has it. Times are local, in `zone`; a session belongs to the local day on which it opens, and closes within a day. */
export const calendarSchema = z.strictObject({
  name: z.string().regex(/^[A-Za-z0-9]+$/),
  /** Raised with every change of the data. */
  version: z.number().int().min(1),
  title: z.string().min(1),
  /** Where the data is from, and how it was made. */
  source: z.string().min(1),
  zone: z.string().min(1),
  /** First and last day that the data covers. */
  from: date,
  to: date,
  /** 1 is Monday. */
  weekdays: z.array(z.number().int().min(1).max(7)).min(1),
  open: clock,
  close: clock,
  /** Days without a session. */
  holidays: days,
  /** Days with other hours than usual. */
  special: z.array(z.strictObject({ open: clock, close: clock, days })),
});

export type CalendarData = z.output<typeof calendarSchema>;

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

/** The sessions of an exchange: its trading days with holidays, half days and the clock changes of its zone. */
export class Calendar {
  readonly data: CalendarData;
  readonly #zone: Zone;
  readonly #holidays: ReadonlySet<string>;
  readonly #special: ReadonlyMap<string, { readonly open: string; readonly close: string }>;
  /** Sessions by local year, made when asked for. */
  readonly #years = new Map<number, readonly Window[]>();

  /** @throws MillraceError CONFIG_INVALID when the data is not a calendar. */
  constructor(data: unknown, zone?: string) {
    const parsed = calendarSchema.safeParse(data);
    if (!parsed.success) {
      const wrong = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; ');
      throw new MillraceError('CONFIG_INVALID', `not a calendar: ${wrong}`);
    }
    this.data = parsed.data;
    this.#zone = new Zone(zone ?? this.data.zone);
    this.#holidays = new Set(flat(this.data.holidays));
    this.#special = new Map(
      this.data.special.flatMap(({ open, close, days: on }) => flat(on).map((day) => [day, { open, close }])),
    );
  }

  get zone(): string {
    return this.#zone.name;
  }

  /** The sessions that open in a local year, in order. Empty outside what the data covers. */
  sessions(year: number): readonly Window[] {
    let sessions = this.#years.get(year);
    if (sessions === undefined) {
      sessions = this.#make(year);
      this.#years.set(year, sessions);
    }
    return sessions;
  }

  /** The session that is open at `time`, or else undefined. @throws MillraceError OUTSIDE_CALENDAR for a day that the data does not cover. */
  at(time: number): Window | undefined {
    const local = this.#zone.local(Math.floor(time / 1000));
    const day = new Date(local).toISOString().slice(0, 10);
    const { name, from, to } = this.data;
    if (day < from || day > to) {
      throw new MillraceError('OUTSIDE_CALENDAR', `calendar ${name} covers ${from} to ${to}, not ${day}`);
    }
    const year = new Date(local).getUTCFullYear();
    // A session that opened late on 31 December goes on in January.
    for (const sessions of [this.sessions(year), this.sessions(year - 1)]) {
      const found = sessions[lastAtOrBefore(sessions, time)];
      if (found !== undefined) return time < found.end ? found : undefined;
    }
    return undefined;
  }

  /** The first session that opens after `time`; undefined when the data ends before. */
  after(time: number): Window | undefined {
    const first = new Date(Math.floor(time / 1000)).getUTCFullYear() - 1;
    for (let year = first; year <= Number(this.data.to.slice(0, 4)); year++) {
      const sessions = this.sessions(year);
      const found = sessions[lastAtOrBefore(sessions, time) + 1];
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** The last session that opens before `time`; undefined when the data begins after. */
  earlier(time: number): Window | undefined {
    const last = new Date(Math.floor(time / 1000)).getUTCFullYear() + 1;
    for (let year = last; year >= Number(this.data.from.slice(0, 4)); year--) {
      const sessions = this.sessions(year);
      const found = sessions[lastAtOrBefore(sessions, time - 1)];
      if (found !== undefined) return found;
    }
    return undefined;
  }

  #make(year: number): Window[] {
    const { from, to, weekdays, open, close } = this.data;
    const sessions: Window[] = [];
    for (let local = Date.UTC(year, 0, 1); local < Date.UTC(year + 1, 0, 1); local += DAY_MS) {
      const day = new Date(local).toISOString().slice(0, 10);
      const weekday = new Date(local).getUTCDay() || 7;
      if (day < from || day > to || !weekdays.includes(weekday) || this.#holidays.has(day)) continue;
      const hours = this.#special.get(day) ?? { open, close };
      const start = this.#instant(local, hours.open);
      // A close that is not after the open is one of the next day.
      const end = this.#instant(hours.close > hours.open ? local : local + DAY_MS, hours.close);
      sessions.push({ start, end });
    }
    return sessions;
  }

  #instant(midnight: number, time: string): number {
    const [hours = '0', minutes = '0'] = time.split(':');
    return this.#zone.instant(midnight + (Number(hours) * 60 + Number(minutes)) * MINUTE_MS) * 1000;
  }
}

/** One window for each session of a calendar. Instants outside every session are in none. */
export class CalendarWindows implements Windows {
  readonly name: string;
  readonly calendar: Calendar;
  readonly grain: number;
  readonly longest = 26 * 3_600_000_000;
  readonly gappy = true;
  #latest: Window = { start: 0, end: 0 };

  constructor(name: string, calendar: Calendar) {
    this.name = name;
    this.calendar = calendar;
    // Offsets of zones have been whole quarters of an hour since 1972; a calendar's own times are whole minutes.
    this.grain = calendar.data.from >= '1972' ? MINUTE_MS * 1000 : 1;
  }

  at(time: number): number {
    if (time >= this.#latest.start && time < this.#latest.end) return this.#latest.start;
    const found = this.calendar.at(time);
    if (found === undefined) return Number.NaN;
    this.#latest = found;
    return found.start;
  }

  before(): number {
    return Number.NaN;
  }

  end(start: number): number {
    if (start !== this.#latest.start) {
      const found = this.calendar.at(start);
      if (found?.start !== start) throw new RangeError(`no session of ${this.calendar.data.name} opens at ${start} µs`);
      this.#latest = found;
    }
    return this.#latest.end;
  }

  next(start: number): number {
    return this.calendar.after(start)?.start ?? Number.NaN;
  }

  previous(start: number): number {
    return this.calendar.earlier(start)?.start ?? Number.NaN;
  }
}

/**
 * A calendar by name: a file of `core/processor/calendars`, and for one whose zone is free, the zone after a colon: `XNYS`, `24x7`,
 * `24x7:Europe/Berlin`.
 *
 * @throws MillraceError CONFIG_INVALID for an unknown name or zone.
 */
export function calendar(name: string): Calendar {
  const [file = '', zone, ...rest] = name.split(':');
  const data = /^[A-Za-z0-9]+$/.test(file) && rest.length === 0 ? read(file) : undefined;
  if (data === undefined || (zone !== undefined && file !== '24x7')) {
    throw new MillraceError('CONFIG_INVALID', `no calendar is called ${JSON.stringify(name)}`, {
      remedy: 'Use XNYS, 24x7, or 24x7 with a zone such as 24x7:Europe/Berlin; or add a data file.',
    });
  }
  return new Calendar(data, zone);
}

function read(file: string): unknown {
  try {
    return JSON.parse(readFileSync(new URL(`./${file}.json`, import.meta.url), 'utf8'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function flat(on: Readonly<Record<string, readonly string[]>>): string[] {
  return Object.entries(on).flatMap(([year, all]) => all.map((day) => `${year}-${day}`));
}

/** Index of the last session that opens at or before `time`; -1 when there is none. */
function lastAtOrBefore(sessions: readonly Window[], time: number): number {
  let low = 0;
  let high = sessions.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sessions[middle] as Window).start <= time) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
