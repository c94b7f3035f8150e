/**
 * Exact decimals: a `bigint` of units at a known scale, so 12.5 at scale 8 is 1_250_000_000n. Nothing here passes through a
 * `number`. Rounding is half away from zero, as Postgres does it.
 *
 * Not its job: remembering scales. They are in the schema, and the caller names them.
 */
import { MillraceError } from '../base/errors.ts';

/** Scale of prices, sizes, vwap and volume. */
export const PRICE_SCALE = 8;
/** Scale of price times size. */
export const NOTIONAL_SCALE = 16;

/** Greatest exponent that `parseDecimal` takes: ten characters of text must not become a billion digits. */
const MAX_EXPONENT = 400;
const MAX_TEXT = 1_000;

const powers: bigint[] = [1n];

/** 10 to the `exponent`, 0 or more. */
export function pow10(exponent: number): bigint {
  for (let known = powers.length; known <= exponent; known++) powers.push((powers[known - 1] ?? 1n) * 10n);
  const power = powers[exponent];
  if (power === undefined) throw new RangeError(`no power of ten for exponent ${exponent}`);
  return power;
}

/**
 * Units at `scale` of decimal text: optional sign, digits, optional fraction, optional exponent.
 *
 * @throws MillraceError BAD_RECORD when it is not a decimal, or has more non-zero fraction digits than `scale`: it would not be
 *   exact. With `round` such digits are rounded half away from zero instead.
 */
export function parseDecimal(text: string, scale: number, options: { readonly round?: boolean } = {}): bigint {
  const match = text.length > MAX_TEXT ? null : /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,4}))?$/.exec(text);
  const [, sign, whole = '', fraction = '', exponentText = '0'] = match ?? [];
  const exponent = Number(exponentText);
  if (match === null || whole.length + fraction.length === 0 || Math.abs(exponent) > MAX_EXPONENT) {
    throw new MillraceError('BAD_RECORD', `not a decimal: ${JSON.stringify(text.slice(0, 60))}`);
  }
  const digits = BigInt(whole + fraction);
  const shift = scale + exponent - fraction.length;
  let units: bigint;
  if (shift >= 0) {
    units = digits * pow10(shift);
  } else {
    const divisor = pow10(-shift);
    if (options.round !== true && digits % divisor !== 0n) {
      throw new MillraceError('BAD_RECORD', `${text.slice(0, 60)} has more than ${scale} fraction digits`);
    }
    units = divideRounded(digits, divisor);
  }
  return sign === '-' ? -units : units;
}

/** Text with exactly `scale` fraction digits: (1_250_000_000n, 8) is `12.50000000`. Never an exponent, never `-0`. */
export function formatDecimal(units: bigint, scale: number): string {
  const negative = units < 0n;
  const digits = (negative ? -units : units).toString().padStart(scale + 1, '0');
  const split = digits.length - scale;
  const text = scale === 0 ? digits : `${digits.slice(0, split)}.${digits.slice(split)}`;
  return negative ? `-${text}` : text;
}

/** As `formatDecimal`, without trailing zeros of the fraction: for people. */
export function formatTrimmed(units: bigint, scale: number): string {
  const text = formatDecimal(units, scale);
  return scale === 0 ? text : text.replace(/\.?0+$/, '');
}

/** The quotient rounded half away from zero. @throws RangeError when `denominator` is zero. */
export function divideRounded(numerator: bigint, denominator: bigint): bigint {
  const quotient = numerator / denominator;
  const rest = numerator - quotient * denominator;
  if (rest === 0n) return quotient;
  const twice = (rest < 0n ? -rest : rest) * 2n;
  if (twice < (denominator < 0n ? -denominator : denominator)) return quotient;
  return numerator < 0n === denominator < 0n ? quotient + 1n : quotient - 1n;
}

/** The same number at another scale, rounded half away from zero where digits go. */
export function rescale(units: bigint, from: number, to: number): bigint {
  return to >= from ? units * pow10(to - from) : divideRounded(units, pow10(from - to));
}

/** The product at `scale`. Exact when `scale` is at least the sum of both scales. */
export function multiply(a: bigint, aScale: number, b: bigint, bScale: number, scale: number): bigint {
  return rescale(a * b, aScale + bScale, scale);
}

/** The quotient at `scale`, rounded once, half away from zero. @throws RangeError when `b` is zero. */
export function divide(a: bigint, aScale: number, b: bigint, bScale: number, scale: number): bigint {
  const shift = scale + bScale - aScale;
  return shift >= 0 ? divideRounded(a * pow10(shift), b) : divideRounded(a, b * pow10(-shift));
}

/** Whether `units` has at most `precision` decimal digits. */
export function fits(units: bigint, precision: number): boolean {
  const bound = pow10(precision);
  return units < bound && units > -bound;
}
