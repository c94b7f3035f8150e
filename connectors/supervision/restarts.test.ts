import { expect, test } from '@jest/globals';
import { restartLine, summarize, withRestarts } from './restarts.ts';

const minute = 60_000;
const now = Date.parse('2026-01-01T12:00:00Z');
const at = (minutesAgo: number) => ({
  at: new Date(now - minutesAgo * minute).toISOString(),
  part: 'task 0',
  cause: 'Caused by: RecordTooLargeException',
});

test('three restarts within 15 minutes, the newest within 5, mean a failing connector in any present state', () => {
  const summary = summarize([at(50), at(9), at(5), at(1)], now);
  expect(summary).toMatchObject({ lastHour: 4, failing: true });
  expect(restartLine(summary)).toBe(
    'failing: restarted 4 times within the last hour, last at 2026-01-01T11:59:00.000Z (task 0): Caused by: RecordTooLargeException',
  );
});

test('one that was restarted and has run since is told, and does not fail', () => {
  expect(summarize([at(12), at(10), at(8), at(6)], now)).toMatchObject({ lastHour: 4, failing: false });
  expect(summarize([at(2), at(1)], now)).toMatchObject({ lastHour: 2, failing: false });
  expect(restartLine(summarize([at(59)], now))).toMatch(/^restarted once /);
});

test('restarts older than an hour are neither told nor kept', () => {
  expect(restartLine(summarize([at(61)], now))).toBeUndefined();
  expect(restartLine(summarize(undefined, now))).toBeUndefined();
  expect(withRestarts([at(61), at(5)], [at(1)], now)).toEqual([at(5), at(1)]);
});
