import { expect, test } from '@jest/globals';
import type { ParsedRow } from '../rows/row.ts';
import { Survey } from './survey.ts';

function surveyOf(rows: readonly (readonly [symbol: string, seconds: number])[]): Survey {
  const survey = new Survey(5_000);
  for (const [symbol, seconds] of rows) {
    survey.add({ venue: 'v', symbol, millis: seconds * 1_000 } as ParsedRow);
  }
  return survey;
}

test('a step back counts as late by more than the lateness only, measured from the newest row before it', () => {
  const survey = surveyOf([
    ['a', 100],
    ['a', 95],
    ['a', 94],
    ['a', 200],
    ['a', 150],
    ['a', 160],
  ]);
  expect([survey.back, survey.late, survey.worstBackMs, survey.newestFirst]).toEqual([4, 3, 50_000, false]);
  expect([...survey.symbols.values()]).toMatchObject([{ rows: 6, lateFrom: 94_000, lateTo: 160_000 }]);
});

test("one symbol's times are no step back of another's", () => {
  expect(
    surveyOf([
      ['a', 100],
      ['b', 1],
      ['a', 101],
      ['b', 2],
    ]).back,
  ).toBe(0);
});

test('a file is newest first when no symbol ever goes forward, also one symbol after the other', () => {
  expect(
    surveyOf([
      ['a', 9],
      ['a', 9],
      ['a', 1],
      ['b', 8],
      ['b', 2],
    ]).newestFirst,
  ).toBe(true);
  expect(
    surveyOf([
      ['a', 9],
      ['a', 1],
      ['a', 2],
    ]).newestFirst,
  ).toBe(false);
  expect(
    surveyOf([
      ['a', 1],
      ['a', 2],
    ]).newestFirst,
  ).toBe(false);
  expect(surveyOf([['a', 1]]).newestFirst).toBe(false);
});
