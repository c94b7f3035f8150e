import { expect, test } from '@jest/globals';
import { daysOf } from './list.ts';

const days = ['2013-11-24', '2013-11-25', '2013-11-26'];

test.each([
  [{}, days],
  [{ day: '2013-11-25' }, ['2013-11-25']],
  [{ from: '2013-11-25' }, ['2013-11-25', '2013-11-26']],
  [{ to: '2013-11-25' }, ['2013-11-24', '2013-11-25']],
  [{ from: '2013-11-25', to: '2013-11-25' }, ['2013-11-25']],
])('%j are the days %j', (given, expected) => {
  expect(days.filter(daysOf(given))).toEqual(expected);
});

test.each([
  { day: '2013-11-25', from: '2013-11-25' },
  { day: '2013-11-25', to: '2013-11-25' },
  { from: '2013-11-26', to: '2013-11-25' },
])('%j exclude each other', (given) => {
  expect(() => daysOf(given)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
});
