import { describe, expect, test } from '@jest/globals';
import fc from '../../test/support/property.ts';
import { MillraceError } from '../base/errors.ts';
import {
  divide,
  divideRounded,
  fits,
  formatDecimal,
  formatTrimmed,
  multiply,
  parseDecimal,
  pow10,
  rescale,
} from './decimal.ts';

const scale = fc.integer({ min: 0, max: 20 });
const units = fc.bigInt({ min: -(10n ** 38n), max: 10n ** 38n });

/** Long addition of digit strings: an oracle that shares nothing with bigint. */
function increment(digits: string): string {
  let carry = 1;
  let sum = '';
  for (let at = digits.length - 1; at >= 0; at--) {
    const digit = Number(digits[at]) + carry;
    carry = digit > 9 ? 1 : 0;
    sum = String(digit % 10) + sum;
  }
  return carry === 1 ? `1${sum}` : sum;
}

/** Rounding to `places` by looking at characters only. */
function roundText(text: string, places: number): string {
  const negative = text.startsWith('-');
  const [whole = '', fraction = ''] = text.replace('-', '').split('.');
  const kept = whole + fraction.slice(0, places).padEnd(places, '0');
  const rounded = (fraction[places] ?? '0') >= '5' ? increment(kept) : kept;
  const result = rounded.padStart(places + 1, '0');
  const split = result.length - places;
  const shown = places === 0 ? result : `${result.slice(0, split)}.${result.slice(split)}`;
  return negative && /[1-9]/.test(shown) ? `-${shown}` : shown;
}

/** Long multiplication of digit strings. */
function multiplyText(a: string, b: string): string {
  const cells = new Array<number>(a.length + b.length).fill(0);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      const sum = Number(a[i]) * Number(b[j]) + (cells[i + j + 1] ?? 0);
      cells[i + j + 1] = sum % 10;
      cells[i + j] = (cells[i + j] ?? 0) + Math.floor(sum / 10);
    }
  }
  return cells.join('').replace(/^0+(?=\d)/, '');
}

describe('text', () => {
  test('every decimal is the same after formatting and parsing', () => {
    fc.assert(fc.property(units, scale, (value, at) => parseDecimal(formatDecimal(value, at), at) === value));
    fc.assert(fc.property(units, scale, (value, at) => parseDecimal(formatTrimmed(value, at), at) === value));
  });

  test('formatting has exactly as many fraction digits as the scale', () => {
    expect(formatDecimal(1_250_000_000n, 8)).toBe('12.50000000');
    expect(formatDecimal(-5n, 8)).toBe('-0.00000005');
    expect(formatDecimal(0n, 8)).toBe('0.00000000');
    expect(formatDecimal(-7n, 0)).toBe('-7');
    expect(formatTrimmed(1_250_000_000n, 8)).toBe('12.5');
    expect(formatTrimmed(1_000_000_000n, 8)).toBe('10');
    expect(formatTrimmed(100n, 0)).toBe('100');
  });

  test.each([
    ['+1.5', 150_000_000n],
    ['.5', 50_000_000n],
    ['5.', 500_000_000n],
    ['1e-8', 1n],
    ['1.25E2', 12_500_000_000n],
    ['-0', 0n],
    ['1.000000000000', 100_000_000n],
  ])('%s is taken as Postgres takes it', (text, value) => {
    expect(parseDecimal(text, 8)).toBe(value);
  });

  test.each([
    '',
    '.',
    '-',
    '1,5',
    '1.2.3',
    'NaN',
    'Infinity',
    '0x10',
    ' 1',
    '1 ',
    '1e',
    '1e9999',
    '1e401',
    '1_000',
    '٣',
  ])('a decimal is not read from %j', (text) => {
    expect(() => parseDecimal(text, 8)).toThrow(MillraceError);
  });

  test('digits beyond the scale are refused, or rounded half away from zero when asked for', () => {
    expect(() => parseDecimal('0.123456789', 8)).toThrow('more than 8 fraction digits');
    expect(parseDecimal('0.123456785', 8, { round: true })).toBe(12_345_679n);
    expect(parseDecimal('-0.123456785', 8, { round: true })).toBe(-12_345_679n);
    expect(parseDecimal('0.123456784999', 8, { round: true })).toBe(12_345_678n);
  });

  test('a text of a megabyte is refused, not computed', () => {
    expect(() => parseDecimal('9'.repeat(1_000_000), 8)).toThrow(MillraceError);
  });
});

describe('arithmetic', () => {
  test('rescaling to fewer digits equals rounding the text half away from zero', () => {
    fc.assert(
      fc.property(units, scale, scale, (value, from, to) => {
        const expected =
          from <= to ? value * pow10(to - from) : parseDecimal(roundText(formatDecimal(value, from), to), to);
        expect(rescale(value, from, to)).toBe(expected);
      }),
    );
  });

  test('a product at the sum of both scales equals long multiplication of the digits', () => {
    const positive = fc.bigInt({ min: 0n, max: 10n ** 30n });
    fc.assert(
      fc.property(positive, positive, (a, b) => {
        expect(multiply(a, 8, b, 8, 16).toString()).toBe(multiplyText(a.toString(), b.toString()));
      }),
    );
  });

  test('a quotient is the nearest one, and the farther from zero of two as near', () => {
    const divisor = fc.bigInt({ min: -(10n ** 20n), max: 10n ** 20n }).filter((value) => value !== 0n);
    fc.assert(
      fc.property(units, divisor, (a, b) => {
        const magnitude = (value: bigint) => (value < 0n ? -value : value);
        const quotient = divideRounded(a, b);
        const distance = magnitude(a - quotient * b) * 2n;
        expect(distance <= magnitude(b)).toBe(true);
        if (distance === magnitude(b)) expect(magnitude(quotient * b) > magnitude(a)).toBe(true);
      }),
    );
  });

  test('halves go away from zero on both sides', () => {
    expect([divideRounded(5n, 2n), divideRounded(-5n, 2n), divideRounded(5n, -2n), divideRounded(-5n, -2n)]).toEqual([
      3n,
      -3n,
      -3n,
      3n,
    ]);
  });

  test('a division rounds once, whatever the scales', () => {
    expect(divide(1n, 0, 3n, 0, 8)).toBe(33_333_333n);
    expect(divide(2n, 16, 3n, 0, 8)).toBe(0n);
    // 0.4999 at scale 0 would become 1 if it were rounded to one digit (0.5) first.
    expect(divide(4_999n, 4, 1n, 0, 0)).toBe(0n);
    expect(() => divide(1n, 0, 0n, 0, 8)).toThrow(RangeError);
  });

  test('a value fits when it has at most so many digits', () => {
    expect([fits(999n, 3), fits(1_000n, 3), fits(-999n, 3), fits(-1_000n, 3)]).toEqual([true, false, true, false]);
  });
});
