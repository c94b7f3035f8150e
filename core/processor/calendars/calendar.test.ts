import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import fc from '../../../test/support/property.ts';
import { formatTimestamp, parseTimestamp } from '../../values/time.ts';
import { assign } from '../windows/windows.ts';
import { Calendar, CalendarWindows, calendar, calendarSchema } from './calendar.ts';
import { Zone } from './zone.ts';

const at = (text: string) => Number(parseTimestamp(text));
const window = (name: string, text: string) =>
  assign(new CalendarWindows('session', calendar(name)), at(text)).map(({ start, end }) =>
    [start, end].map((time) => formatTimestamp(BigInt(time)).slice(0, 16)),
  )[0];
const hours = (name: string, text: string) => {
  const [found] = assign(new CalendarWindows('session', calendar(name)), at(text));
  return found === undefined ? undefined : (found.end - found.start) / 3_600_000_000;
};

describe('the calendar XNYS', () => {
  test.each([
    ['a winter day', '2025-01-15T15:00:00Z', ['2025-01-15T14:30', '2025-01-15T21:00']],
    ['a summer day', '2025-07-15T15:00:00Z', ['2025-07-15T13:30', '2025-07-15T20:00']],
    ['the Friday before the clocks go forward', '2025-03-07T15:00:00Z', ['2025-03-07T14:30', '2025-03-07T21:00']],
    ['the Monday after', '2025-03-10T15:00:00Z', ['2025-03-10T13:30', '2025-03-10T20:00']],
    ['a half day', '2024-11-29T15:00:00Z', ['2024-11-29T14:30', '2024-11-29T18:00']],
  ])('has %s', (_, time, session) => {
    expect(window('XNYS', time)).toEqual(session);
  });

  test.each([
    ['before the open', '2025-01-15T14:29:59.999999Z'],
    ['at the close', '2025-01-15T21:00:00Z'],
    ['after the close of a half day', '2024-11-29T18:00:00Z'],
    ['on a Sunday', '2025-01-12T15:00:00Z'],
    ['on Thanksgiving', '2024-11-28T15:00:00Z'],
    ['when it stayed closed after 11 September 2001', '2001-09-12T15:00:00Z'],
    ['on the day of mourning for Jimmy Carter', '2025-01-09T15:00:00Z'],
  ])('has no session %s', (_, time) => {
    expect(window('XNYS', time)).toBeUndefined();
  });

  test('has the sessions of its source, to the minute', () => {
    const xnys = calendar('XNYS');
    const lines: string[] = [];
    for (let year = 2000; year <= 2030; year++) {
      for (const { start, end } of xnys.sessions(year)) lines.push(`${start},${end}\n`);
    }
    expect(lines).toHaveLength(7794);
    expect(createHash('sha256').update(lines.join('')).digest('hex')).toBe(
      'd302df4a43ea7cea843dbd6b4a83fb65d745fa337a57e2e6b5b2da8fd89ef8b4',
    );
  });

  test.each(['1999-12-31T15:00:00Z', '2031-01-02T15:00:00Z'])('refuses %s, which its data does not cover', (time) => {
    expect(() => window('XNYS', time)).toThrow(
      expect.objectContaining({
        code: 'OUTSIDE_CALENDAR',
        message: expect.stringContaining('covers 2000-01-01 to 2030-12-31'),
      }),
    );
  });

  test('has a next session over weekends and holidays, until its data ends', () => {
    const windows = new CalendarWindows('session', calendar('XNYS'));
    const next = windows.next(windows.at(at('2024-11-27T15:00:00Z')));
    expect(formatTimestamp(BigInt(next))).toBe('2024-11-29T14:30:00.000000Z');
    expect(windows.next(windows.at(at('2030-12-31T15:00:00Z')))).toBeNaN();
  });
});

describe('the calendar 24x7', () => {
  test('has days of 23 and 25 hours where the clocks change', () => {
    expect(hours('24x7:America/New_York', '2025-03-09T12:00:00Z')).toBe(23);
    expect(hours('24x7:America/New_York', '2025-11-02T12:00:00Z')).toBe(25);
    expect(hours('24x7:America/New_York', '2025-11-03T12:00:00Z')).toBe(24);
    expect(hours('24x7:Australia/Lord_Howe', '2025-04-06T00:00:00Z')).toBe(24.5);
    expect(hours('24x7', '2025-03-09T12:00:00Z')).toBe(24);
  });

  test('begins a day whose midnight was skipped when its clocks had gone forward', () => {
    expect(window('24x7:America/Sao_Paulo', '2018-11-04T12:00:00Z')).toEqual(['2018-11-04T03:00', '2018-11-05T02:00']);
    expect(window('24x7:America/Sao_Paulo', '2018-11-03T12:00:00Z')).toEqual(['2018-11-03T03:00', '2018-11-04T03:00']);
  });

  test('leaves no instant out and none twice, in any zone', () => {
    const zones = ['UTC', 'Europe/Berlin', 'America/New_York', 'Asia/Kolkata', 'Pacific/Apia', 'Asia/Beirut'];
    const calendars = zones.map((zone) => new CalendarWindows('session', calendar(`24x7:${zone}`)));
    fc.assert(
      fc.property(
        fc.nat(zones.length - 1),
        fc.integer({ min: at('1980-01-02T00:00:00Z'), max: at('2060-01-01T00:00:00Z') }),
        (zone, time) => {
          const windows = calendars[zone] as CalendarWindows;
          const start = windows.at(time);
          expect(start <= time && time < windows.end(start)).toBe(true);
          expect(windows.at(start)).toBe(start);
          expect(windows.at(windows.end(start) - 1)).toBe(start);
          expect(windows.next(start)).toBe(windows.end(start));
          expect(start % windows.grain).toBe(0);
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe('a calendar', () => {
  test('is a data file that says what it covers and where it is from', () => {
    const folder = new URL('./', import.meta.url);
    for (const file of readdirSync(folder).filter((name) => name.endsWith('.json'))) {
      const data = calendarSchema.parse(JSON.parse(readFileSync(new URL(file, folder), 'utf8')));
      expect(`${data.name}.json`).toBe(file);
    }
  });

  test.each(['XLON', '../XNYS', 'XNYS:Europe/Berlin', '24x7:Mars/Olympus', ''])('%j is refused', (name) => {
    expect(() => calendar(name)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
  });

  test('that is malformed is refused with the names of its fields', () => {
    expect(() => new Calendar({ name: 'X', zone: 'UTC' })).toThrow(/version.*weekdays/s);
  });

  test('may have sessions that go on over midnight, also of a year', () => {
    const data = { ...calendar('24x7').data, name: 'NIGHT', zone: 'America/Chicago', open: '17:00', close: '16:00' };
    const night = new CalendarWindows('session', new Calendar(data));
    for (const time of ['2026-01-01T03:00:00Z', '2026-01-01T15:00:00Z']) {
      expect(assign(night, at(time))).toEqual([{ start: at('2025-12-31T23:00:00Z'), end: at('2026-01-01T22:00:00Z') }]);
    }
    expect(assign(night, at('2026-01-01T22:30:00Z'))).toEqual([]);
  });
});

describe('a zone', () => {
  test('takes the earlier of two instants, and the end of the gap for a time that was skipped', () => {
    const zone = new Zone('Europe/Berlin');
    expect(new Date(zone.instant(Date.UTC(2025, 9, 26, 2, 30))).toISOString()).toBe('2025-10-26T00:30:00.000Z');
    expect(new Date(zone.instant(Date.UTC(2025, 2, 30, 2, 30))).toISOString()).toBe('2025-03-30T01:00:00.000Z');
  });
});
