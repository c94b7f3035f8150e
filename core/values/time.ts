/**
 * Instants and lengths of time as `bigint` microseconds; instants since 1970, UTC. `Date` knows only milliseconds.
 */
import { MillraceError } from '../base/errors.ts';

export const SECOND = 1_000_000n;
export const MINUTE = 60n * SECOND;
export const HOUR = 60n * MINUTE;
export const DAY = 24n * HOUR;

const DAYS_BEFORE_MONTH = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334] as const;
const DAYS_IN_MONTH = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] as const;
/** Seconds up to which microseconds are exact in a `number` (the year 2255). */
const EXACT_SECONDS = 9_000_000_000;

const DASH = 45;
const PLUS = 43;
const COLON = 58;
const DOT = 46;
const ZERO = 48;

/** Microseconds of a time as people give it: a timestamp, or a UTC day, which stands for its beginning. @throws MillraceError BAD_RECORD */
export function parseTimeOrDay(text: string): bigint {
  return parseTimestamp(/^\d{4}-\d\d-\d\d$/.test(text) ? `${text}T00:00:00Z` : text);
}

/**
 * Microseconds of `YYYY-MM-DDTHH:MM:SS[.f…](Z|±HH[:]MM|±HH)`; a space may stand for the T. Strict: every field is in its range, 60 is
 * no second, and digits beyond microseconds must be zeros.
 *
 * @throws MillraceError BAD_RECORD
 */
export function parseTimestamp(text: string): bigint {
  const year = digits(text, 0, 4);
  const month = digits(text, 5, 2);
  const day = digits(text, 8, 2);
  const hour = digits(text, 11, 2);
  const minute = digits(text, 14, 2);
  const second = digits(text, 17, 2);
  const separator = text.charCodeAt(10);
  if (
    (year | month | day | hour | minute | second) < 0 ||
    text.charCodeAt(4) !== DASH ||
    text.charCodeAt(7) !== DASH ||
    (separator !== 84 && separator !== 32) ||
    text.charCodeAt(13) !== COLON ||
    text.charCodeAt(16) !== COLON ||
    hour > 23 ||
    minute > 59 ||
    second > 59 ||
    day < 1 ||
    day > daysIn(year, month)
  ) {
    throw notATimestamp(text);
  }
  let at = 19;
  let micros = 0;
  if (text.charCodeAt(at) === DOT) {
    let unit = 100_000;
    const from = ++at;
    for (; ; at++) {
      const digit = text.charCodeAt(at) - ZERO;
      if (!(digit >= 0 && digit <= 9)) break;
      if (unit === 0) {
        if (digit !== 0) throw notATimestamp(text);
      } else {
        micros += digit * unit;
        unit = unit === 1 ? 0 : unit / 10;
      }
    }
    if (at === from) throw notATimestamp(text);
  }
  const seconds =
    daysFromEpoch(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offsetSeconds(text, at);
  if (seconds > -EXACT_SECONDS && seconds < EXACT_SECONDS) return BigInt(seconds * 1_000_000 + micros);
  return BigInt(seconds) * SECOND + BigInt(micros);
}

/** `YYYY-MM-DDTHH:MM:SS.ffffffZ`, always six digits. Years 0000 to 9999. */
export function formatTimestamp(micros: bigint): string {
  const millis = floorDivide(micros, 1_000n);
  return `${new Date(Number(millis)).toISOString().slice(0, -1)}${(micros - millis * 1_000n).toString().padStart(3, '0')}Z`;
}

/** The UTC day of an instant, `YYYY-MM-DD`. Years 0000 to 9999. */
export function formatDay(micros: bigint): string {
  return new Date(Number(floorDivide(micros, 1_000n))).toISOString().slice(0, 10);
}

/** The greatest multiple of `length` that is not after `micros`: the start of its window. */
export function floorTo(micros: bigint, length: bigint): bigint {
  return floorDivide(micros, length) * length;
}

const units: Readonly<Record<string, bigint>> = { s: SECOND, m: MINUTE, h: HOUR, d: DAY };

/** Microseconds of `1s`, `1m`, `5m`, `1h`, `1d`. @throws MillraceError CONFIG_INVALID */
export function parseInterval(text: string): bigint {
  const match = /^([1-9]\d{0,5})([smhd])$/.exec(text);
  const unit = units[match?.[2] ?? ''];
  if (match?.[1] === undefined || unit === undefined) {
    throw new MillraceError('CONFIG_INVALID', `not an interval: ${JSON.stringify(text)}`, {
      remedy: 'Write a count and a unit: 30s, 1m, 5m, 1h, 1d.',
    });
  }
  return BigInt(match[1]) * unit;
}

/** The shortest text of an interval: 60_000_000n is `1m`. @throws RangeError when it is no whole positive number of seconds. */
export function formatInterval(micros: bigint): string {
  for (const [name, unit] of Object.entries(units).reverse()) {
    if (micros > 0n && micros % unit === 0n) return `${micros / unit}${name}`;
  }
  throw new RangeError(`${micros} µs is no whole positive number of seconds`);
}

function floorDivide(a: bigint, b: bigint): bigint {
  const quotient = a / b;
  return a < 0n && quotient * b !== a ? quotient - 1n : quotient;
}

/** The number that `count` digits make, or -1. */
function digits(text: string, from: number, count: number): number {
  let value = 0;
  for (let at = from; at < from + count; at++) {
    const digit = text.charCodeAt(at) - ZERO;
    if (!(digit >= 0 && digit <= 9)) return -1;
    value = value * 10 + digit;
  }
  return value;
}

function offsetSeconds(text: string, at: number): number {
  const sign = text.charCodeAt(at);
  if (sign === 90 && text.length === at + 1) return 0;
  const colon = text.charCodeAt(at + 3) === COLON ? 1 : 0;
  const hours = digits(text, at + 1, 2);
  const minutes = text.length === at + 3 ? 0 : digits(text, at + 3 + colon, 2);
  const known = text.length === at + 3 || text.length === at + 5 + colon;
  if ((sign !== PLUS && sign !== DASH) || !known || hours < 0 || hours > 18 || minutes < 0 || minutes > 59) {
    throw notATimestamp(text);
  }
  const seconds = hours * 3_600 + minutes * 60;
  return sign === DASH ? -seconds : seconds;
}

function isLeap(year: number): boolean {
  return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
}

/** 0 for a month that does not exist. */
function daysIn(year: number, month: number): number {
  return month === 2 && isLeap(year) ? 29 : (DAYS_IN_MONTH[month - 1] ?? 0);
}

function daysFromEpoch(year: number, month: number, day: number): number {
  const before = year - 1;
  const leapDays = Math.floor(before / 4) - Math.floor(before / 100) + Math.floor(before / 400);
  const leapDay = month > 2 && isLeap(year) ? 1 : 0;
  return before * 365 + leapDays + (DAYS_BEFORE_MONTH[month - 1] ?? 0) + leapDay + day - 1 - 719_162;
}

function notATimestamp(text: string): MillraceError {
  return new MillraceError('BAD_RECORD', `not a timestamp: ${JSON.stringify(text.slice(0, 60))}`);
}
