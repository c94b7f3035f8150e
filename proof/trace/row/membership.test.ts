import { describe, expect, test } from '@jest/globals';
import { parseTimestamp } from '../../../core/values/time.ts';
import { madeWith, type WindowChange, windowsTaken } from './membership.ts';
import type { LedgerEntry, TracedRefusal } from './outcomes.ts';

const time = (clock: string): bigint => parseTimestamp(`2025-06-02T${clock}Z`);
const settings = { intervals: ['1m', '5m'] };

function step(offset: bigint, after: string | null, over: Partial<WindowChange> = {}): WindowChange {
  return {
    offset,
    venue: 'v',
    after: after === null ? null : time(after),
    before: null,
    foreign: false,
    ledger: [],
    refusals: [],
    ...over,
  };
}

function late(effect: string, interval: string | null = null, start: string | null = null): LedgerEntry {
  const windowStart = start === null ? null : time(start);
  const place = { topic: 'ohlcv.late', partition: 0, offset: 0n };
  return { ...place, processor: 'ohlcv', reason: 'LATE', effect, interval, windowStart, latenessUs: null };
}

/** `1m 12:00:00 +1 -2`: joined by the change at 1, left with the change at 2. */
function taken(...steps: WindowChange[]): string[] {
  return [...windowsTaken(steps, settings).values()].map(({ interval, start, changes }) => {
    const clock = new Date(Number(start / 1000n)).toISOString().slice(11, 19);
    return `${interval} ${clock} ${changes.map(({ offset, holds }) => `${holds ? '+' : '-'}${offset}`).join(' ')}`;
  });
}

describe('a change', () => {
  test('joins one window of each interval', () => {
    expect(taken(step(1n, '12:06:30'))).toEqual(['1m 12:06:00 +1', '5m 12:05:00 +1']);
  });

  test('joins several windows where they overlap', () => {
    const windows = windowsTaken([step(1n, '12:02:10')], { intervals: ['3m/1m'] });
    expect([...windows.values()].map(({ start }) => start).sort()).toEqual(
      ['12:00:00', '12:01:00', '12:02:00'].map(time),
    );
  });

  test('that moves a trade takes it out of one window and puts it into another', () => {
    expect(taken(step(1n, '12:00:30'), step(2n, '12:01:30'))).toEqual([
      '1m 12:00:00 +1 -2',
      '5m 12:00:00 +1 +2',
      '1m 12:01:00 +2',
    ]);
  });

  test('that deletes takes it out', () => {
    expect(taken(step(1n, '12:00:30'), step(2n, null))).toEqual(['1m 12:00:00 +1 -2', '5m 12:00:00 +1 -2']);
  });

  test('whose insert is not known takes out the row before it', () => {
    expect(taken(step(7n, null, { before: time('12:00:30') }))).toEqual(['1m 12:00:00 -7', '5m 12:00:00 -7']);
  });

  test('that was not applied to a window is not in it, and in the others', () => {
    const ledger = [late('NOT_APPLIED', '1m', '12:00:00'), late('APPLIED', '5m', '12:00:00')];
    expect(taken(step(1n, '12:00:30', { ledger }))).toEqual(['5m 12:00:00 +1']);
  });

  test.each([
    ['refused', { refusals: [{} as TracedRefusal] }],
    ['delivered twice', { ledger: [late('NOT_APPLIED')] }],
    ['without a difference', { ledger: [late('UNCHANGED')] }],
    ['sent again for another processor', { foreign: true }],
  ])('that was %s is in no window, and the next one takes out the row from before it', (_name, over) => {
    expect(taken(step(1n, '12:00:30'), step(2n, '12:09:30', over), step(3n, null))).toEqual([
      '1m 12:00:00 +1 -3',
      '5m 12:00:00 +1 -3',
    ]);
  });
});

describe('a candle was made with', () => {
  const window = {
    interval: '1m',
    start: 0n,
    changes: [
      { offset: 5n, holds: true },
      { offset: 9n, holds: false },
    ],
  };

  test('the newest change up to the end of its input', () => {
    expect(madeWith(window, { from: 5n, to: 8n })).toEqual({ offset: 5n, holds: true, covered: true });
    expect(madeWith(window, { from: 5n, to: 9n })).toEqual({ offset: 9n, holds: false, covered: true });
  });

  test('none of the trade before the trade', () => {
    expect(madeWith(window, { from: 1n, to: 4n })).toBeUndefined();
  });

  test('none that its input does not reach back to', () => {
    expect(madeWith(window, { from: 6n, to: 8n })).toMatchObject({ offset: 5n, covered: false });
  });
});

test('a candle that was rebuilt took the changes that it had not taken before, up to the end of its input', () => {
  const aside = [late('NOT_APPLIED', '1m', '12:00:00'), late('NOT_APPLIED', '5m', '12:00:00')];
  const steps = [step(7n, '12:00:30', { ledger: aside }), step(9n, null, { before: time('12:00:30'), ledger: aside })];
  const rebuilt = new Map([[`1m ${time('12:00:00')}`, 8n]]);
  const [only, ...others] = [...windowsTaken(steps, settings, rebuilt).values()];
  expect(only).toMatchObject({ interval: '1m', changes: [{ offset: 7n, holds: true }] });
  expect(others).toEqual([]);
});
