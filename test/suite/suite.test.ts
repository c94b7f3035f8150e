import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { node } from './jest.ts';
import { lanesOf, placeOf } from './lanes.ts';
import { labelled, lastLine, lineOf, totalOf } from './report.ts';

test('each file with a stack is in one lane, and each name in a lane is that of a file', () => {
  const [one, own] = lanesOf([]).map(({ files }) => files.map((file) => placeOf(file)));
  const places = [...(own ?? []), ...(one ?? [])].filter((place) => place < Number.MAX_SAFE_INTEGER);
  expect(places).toEqual(places.map((_, at) => at));
  expect(new Set(lanesOf([]).flatMap(({ files }) => files)).size).toBe((one ?? []).length + (own ?? []).length);
});

test('a pattern chooses files as jest does, without regard to case', () => {
  expect(lanesOf(['E2E/demo']).map(({ files }) => files.length)).toEqual([0, 1]);
});

test('lines of lanes have the name of their lane, and the last line counts everything', () => {
  const lines: string[] = [];
  labelled('unit', 6, (line) => lines.push(line))('PASS a');
  expect(lines).toEqual(['unit   │ PASS a']);
  const results = [
    { name: 'lint', seconds: 1, outcome: { passed: 1, failed: 0, skipped: 0 } },
    { name: 'unit', seconds: 61.25, outcome: { passed: 7, failed: 1, skipped: 2 } },
  ];
  expect(results.map(lineOf)).toEqual(['✓ lint (1.0 s)', '✗ unit (61.3 s, 7 passed, 1 failed, 2 skipped)']);
  expect(lastLine(totalOf(results))).toBe('8 passed, 1 failed, 2 skipped');
});

test.each([
  ['a run that is killed', false],
  ['a run that ends', true],
])('after %s its guard knows what to do with its processes and its folder', async (_, ends) => {
  const dir = mkdtempSync(join(tmpdir(), 'millrace-guard-'));
  const left = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { detached: true, stdio: 'ignore' });
  const over = once(left, 'exit');
  try {
    // No process has this id: the shared stacks of other runs are none of the guard's business.
    const args = [join(import.meta.dirname, 'guard.ts'), dir, String(2 ** 22 + 1)];
    const guard = spawn(process.execPath, [...node, ...args], { stdio: ['pipe', 'ignore', 'inherit'] });
    const ended = once(guard, 'exit');
    guard.stdin.end(`+4194306\n-4194306\n+${left.pid}\n${ends ? 'done\n' : ''}`);
    expect(await ended).toEqual([0, null]);
    expect(existsSync(dir)).toBe(ends);
    if (!ends) expect(await over).toEqual([null, 'SIGKILL']);
    else expect(left.exitCode ?? left.signalCode).toBeNull();
  } finally {
    left.kill('SIGKILL');
  }
});
