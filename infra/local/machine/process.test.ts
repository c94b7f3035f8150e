import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, test } from '@jest/globals';
import {
  isAlive,
  memoryOf,
  type ProcessId,
  signalProcess,
  startDetached,
  startTimeOf,
  stopProcess,
} from './process.ts';

const dir = mkdtempSync(join(tmpdir(), 'millrace-process-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function start(script: string, name: string) {
  return startDetached({ command: process.execPath, args: ['-e', script], cwd: dir, env: {} }, join(dir, name));
}
const forever = 'setInterval(() => {}, 1000)';
const deaf = `process.on('SIGTERM', () => {}); console.log('deaf'); ${forever}`;

async function untilLogged(name: string, text: string): Promise<void> {
  for (let tries = 0; !readFileSync(join(dir, name), 'utf8').includes(text); tries += 1) {
    if (tries > 200) throw new Error(`${name} never said ${text}`);
    await sleep(20);
  }
}

describe('a process of the stack', () => {
  test('writes what it says to its log, after what is there already', async () => {
    for (const word of ['first', 'second']) {
      const { ended } = await start(`console.log('${word}'); console.error('and ${word} error')`, 'words.log');
      expect(await ended).toBe('exit code 0');
    }
    expect(readFileSync(join(dir, 'words.log'), 'utf8').split('\n').filter(Boolean)).toEqual([
      ...['first', 'and first error'],
      ...['second', 'and second error'],
    ]);
  });

  test('leads a process group of its own, so that Ctrl-C in our terminal does not reach it', async () => {
    const id = await start(forever, 'group.log');
    const stat = readFileSync(`/proc/${id.pid}/stat`, 'utf8');
    expect(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[2]).toBe(String(id.pid));
    await stopProcess(id, { signal: 'SIGTERM', graceMs: 5000 });
  });

  test('that cannot be started is an error, not a process', async () => {
    const launch = { command: join(dir, 'absent'), args: [], cwd: dir, env: {} };
    await expect(startDetached(launch, join(dir, 'absent.log'))).rejects.toThrow('ENOENT');
  });

  test('is asked politely first', async () => {
    const script = `process.on('SIGTERM', () => { console.log('bye'); process.exit(0); }); console.log('up'); ${forever}`;
    const id = await start(script, 'polite.log');
    await untilLogged('polite.log', 'up');
    expect(await stopProcess(id, { signal: 'SIGTERM', graceMs: 5000 })).toBe('stopped');
    expect(readFileSync(join(dir, 'polite.log'), 'utf8')).toContain('bye');
  });

  test('is killed with its children when it does not listen', async () => {
    const child = `require('node:child_process').spawn(process.execPath, ['-e', ${JSON.stringify(forever)}])`;
    const id = await start(`const c = ${child}; console.log('child', c.pid, '.'); ${deaf}`, 'deaf.log');
    await untilLogged('deaf.log', 'deaf');
    const pid = Number(/child (\d+)/.exec(readFileSync(join(dir, 'deaf.log'), 'utf8'))?.[1]);
    expect(await startTimeOf(pid)).toBeDefined();
    expect(await stopProcess(id, { signal: 'SIGTERM', graceMs: 200 })).toBe('killed');
    await sleep(100);
    expect(await startTimeOf(pid)).toBeUndefined();
  });

  test('that has ended is gone, and stopping it again does nothing', async () => {
    const id = await start('0', 'short.log');
    await id.ended;
    expect(await isAlive(id)).toBe(false);
    expect(await stopProcess(id, { signal: 'SIGTERM', graceMs: 1000 })).toBe('gone');
  });
});

describe('a recorded pid', () => {
  test('that belongs to another process by now is never signalled', async () => {
    const stranger = spawn(process.execPath, ['-e', forever], { stdio: 'ignore' });
    try {
      const stale: ProcessId = { pid: stranger.pid ?? 0, startTime: 'another boot/1' };
      expect(await isAlive(stale)).toBe(false);
      expect(await signalProcess(stale, 'SIGKILL', true)).toBe(false);
      expect(await stopProcess(stale, { signal: 'SIGKILL', graceMs: 100 })).toBe('gone');
      await sleep(100);
      expect(stranger.exitCode ?? stranger.signalCode).toBeNull();
    } finally {
      stranger.kill('SIGKILL');
    }
  });

  test('of nobody, or zero, is not alive', async () => {
    expect(await isAlive({ pid: 0, startTime: '' })).toBe(false);
    expect(await isAlive({ pid: 2 ** 22 + 1, startTime: '' })).toBe(false);
  });
});

test('memory is that of the process', () => {
  expect(memoryOf(process.pid)).toBeGreaterThan(20_000_000);
  expect(memoryOf(2 ** 22 + 1)).toBeUndefined();
});
