import { describe, expect, test } from '@jest/globals';
import fc from '../../test/support/property.ts';
import { MillraceError } from '../base/errors.ts';
import {
  floorTo,
  formatDay,
  formatInterval,
  formatTimestamp,
  MINUTE,
  parseInterval,
  parseTimeOrDay,
  parseTimestamp,
} from './time.ts';

/** From 0000-01-01 to 9999-12-31. */
const instant = fc.bigInt({ min: -62_167_219_200_000_000n, max: 253_402_300_799_999_999n });

describe('timestamps', () => {
  test('every microsecond of ten thousand years is the same after formatting and parsing', () => {
    fc.assert(fc.property(instant, (micros) => parseTimestamp(formatTimestamp(micros)) === micros));
  });

  test('milliseconds agree with Date', () => {
    fc.assert(
      fc.property(
        fc.date({ min: new Date('0001-01-01T00:00:00Z'), max: new Date('9999-12-31T23:59:59Z'), noInvalidDate: true }),
        (date) => parseTimestamp(date.toISOString()) === BigInt(date.getTime()) * 1_000n,
      ),
    );
  });

  test.each([
    ['1970-01-01T00:00:00Z', 0n],
    ['2013-11-25T00:00:01.123456Z', 1_385_337_601_123_456n],
    ['2013-11-25T00:00:01.1Z', 1_385_337_601_100_000n],
    ['2013-11-25 00:00:01.123456+00', 1_385_337_601_123_456n],
    ['2013-11-25T01:30:01+01:30', 1_385_337_601_000_000n],
    ['2013-11-24T16:00:01-0800', 1_385_337_601_000_000n],
    ['2013-11-25T00:00:01.123456000Z', 1_385_337_601_123_456n],
    ['1969-12-31T23:59:59.999999Z', -1n],
    ['2000-02-29T00:00:00Z', 951_782_400_000_000n],
    ['9999-12-31T23:59:59.999999Z', 253_402_300_799_999_999n],
  ])('%s is read to the microsecond', (text, micros) => {
    expect(parseTimestamp(text)).toBe(micros);
  });

  test.each([
    '',
    'infinity',
    '2013-11-25',
    '2013-11-25T00:00:01',
    '2013-11-25T00:00Z',
    '2013-02-29T00:00:00Z',
    '1900-02-29T00:00:00Z',
    '2013-00-10T00:00:00Z',
    '2013-13-10T00:00:00Z',
    '2013-11-31T00:00:00Z',
    '2013-11-25T24:00:00Z',
    '2013-11-25T00:60:00Z',
    '2013-11-25T00:00:60Z',
    '2013-11-25T00:00:01.Z',
    '2013-11-25T00:00:01.1234567Z',
    '2013-11-25T00:00:01Zx',
    '2013-11-25T00:00:01+',
    '2013-11-25T00:00:01+1',
    '2013-11-25T00:00:01+01:',
    '2013-11-25T00:00:01+01:3',
    '2013-11-25T00:00:01+19:00',
    '2013-11-25T00:00:01+01:60',
    '+12013-11-25T00:00:01Z',
    '2013-11-25t00:00:01Z',
    '２013-11-25T00:00:01Z',
  ])('an instant is not read from %j', (text) => {
    expect(() => parseTimestamp(text)).toThrow(MillraceError);
  });

  test('text that is nearly a timestamp gives an instant or MillraceError, nothing else', () => {
    const nearly = fc
      .tuple(instant, fc.nat(27), fc.string({ minLength: 0, maxLength: 2 }))
      .map(
        ([micros, at, noise]) => formatTimestamp(micros).slice(0, at) + noise + formatTimestamp(micros).slice(at + 1),
      );
    fc.assert(
      fc.property(fc.oneof(nearly, fc.string()), (text) => {
        try {
          expect(typeof parseTimestamp(text)).toBe('bigint');
        } catch (error) {
          expect(error).toMatchObject({ code: 'BAD_RECORD' });
        }
      }),
    );
  });

  test('an instant belongs to its UTC day, also before 1970', () => {
    expect([formatDay(0n), formatDay(-1n), formatDay(86_399_999_999n), formatDay(86_400_000_000n)]).toEqual([
      '1970-01-01',
      '1969-12-31',
      '1970-01-01',
      '1970-01-02',
    ]);
  });
});

test('a UTC day stands for its beginning, where people give a time', () => {
  expect(parseTimeOrDay('2024-02-29')).toBe(parseTimestamp('2024-02-29T00:00:00Z'));
  expect(parseTimeOrDay('2024-02-29T12:00:00Z')).toBe(parseTimestamp('2024-02-29T12:00:00Z'));
  for (const text of ['2023-02-29', '2024-2-9', 'soon']) expect(() => parseTimeOrDay(text)).toThrow(MillraceError);
});

describe('windows', () => {
  test('a window starts at the greatest multiple of its length that is not after the instant', () => {
    fc.assert(
      fc.property(instant, fc.constantFrom('1s', '1m', '5m', '1h', '1d'), (micros, text) => {
        const length = parseInterval(text);
        const start = floorTo(micros, length);
        expect(start <= micros && micros < start + length && start % length === 0n).toBe(true);
      }),
    );
  });

  test('an interval is a count and a unit', () => {
    expect(parseInterval('5m')).toBe(5n * MINUTE);
    expect(formatInterval(5n * MINUTE)).toBe('5m');
    expect(formatInterval(parseInterval('60m'))).toBe('1h');
    for (const text of ['', 'm', '0m', '-1m', '1.5m', '1M', '1ms', '01m', '1 m', '1w']) {
      expect(() => parseInterval(text)).toThrow('not an interval');
    }
    expect(() => formatInterval(1n)).toThrow(RangeError);
    expect(() => formatInterval(0n)).toThrow(RangeError);
  });
});
