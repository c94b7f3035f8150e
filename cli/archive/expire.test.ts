import { expect, test } from '@jest/globals';
import { firstKeptDay } from './expire.ts';

const now = Date.parse('2026-03-01T23:59:59.999Z');

test.each([
  [1, '2026-03-01'],
  [2, '2026-02-28'],
  [366, '2025-03-01'],
])('of %d days that are kept the first is %s, today included, in UTC', (days, first) => {
  expect(firstKeptDay(days, now)).toBe(first);
});

test('nothing is old where all days are kept', () => {
  expect(() => firstKeptDay(0, now)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
});
