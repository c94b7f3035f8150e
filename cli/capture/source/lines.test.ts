import { describe, expect, test } from '@jest/globals';
import type { SourceFinding } from '../../../connectors/source/findings.ts';
import type { CaptureRecord } from '../../../connectors/source/record.ts';
import { summarize } from '../../../connectors/supervision/restarts.ts';
import { connectorLines, findingLines, isWhole, parkedLines } from './lines.ts';

const none = summarize([], 0);
const at = '2026-01-01T00:00:00.000Z';
const record: CaptureRecord = {
  guard: { since: at, stopped: true, loss: { kind: 'missing', reason: 'replication slot s is gone', captured: 1n } },
};

describe('a connector that is stopped', () => {
  const stopped = { state: 'STOPPED', tasks: [] };

  test('by the supervisor says when and why, also in a process that knows of nothing else', () => {
    expect(connectorLines(stopped, record, none)).toEqual([
      `stopped by the supervisor at ${at}: replication slot s is gone`,
    ]);
  });

  test('by order says so', () => {
    expect(connectorLines(stopped, {}, none)).toEqual([
      'stopped by an operator, not by the supervisor; start it with: millrace connectors apply',
    ]);
  });
});

test('a connector that is RUNNING between two failures is failing, with its last cause and what lets the others go on', () => {
  const restart = { at, part: 'task 0', cause: 'Caused by: RecordTooLargeException' };
  const restarts = summarize([restart, restart, restart], Date.parse(at) + 1000);
  const running = { state: 'RUNNING', tasks: [{ id: 0, state: 'RUNNING', worker: '', trace: undefined }] };
  expect(connectorLines(running, {}, restarts)).toEqual([
    `failing: restarted 3 times within the last hour, last at ${at} (task 0): Caused by: RecordTooLargeException`,
    'if one table is the cause, park it so that the others continue: millrace connectors park TABLE',
  ]);
  expect(isWhole([], {}, restarts)).toBe(false);
});

test('a finding is two lines, the cause and the SQL, and names the recapture where rows are being missed', () => {
  const finding: SourceFinding = { effect: 'blind', subject: 't', cause: 'c', remedy: 'SQL;', loses: true };
  expect(findingLines([finding])).toEqual([
    'NOT CAPTURED  c',
    '  remedy: SQL; Then fill the gap with: millrace connectors recapture',
  ]);
  expect(isWhole([finding], {}, none)).toBe(false);
  expect(isWhole([{ ...finding, effect: 'weak' }], {}, none)).toBe(true);
});

test('a parked table is told with its cause and the way back, and nothing is whole meanwhile', () => {
  const parked = { 'public.trades': { since: at, cause: 'too large' } };
  expect(parkedLines(parked)).toEqual([
    `PARKED  public.trades since ${at}, too large; capture it again with: millrace connectors unpark public.trades`,
  ]);
  expect(isWhole([], { parked }, none)).toBe(false);
});
