import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { freePorts } from './machine/ports.ts';
import { isAlive, type Launch, stopProcess } from './machine/process.ts';
import { defaultPorts } from './parts.ts';
import type { Context, Service } from './services/service.ts';
import { requireSpace, startPart, tailOf } from './start.ts';
import type { PartRecord } from './state.ts';

const scratch = mkdtempSync(join(tmpdir(), 'millrace-start-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** A part that runs one shell command, and is healthy when `answers` returns true. */
function part(script: string, answers: () => boolean): Service {
  return {
    name: 'kafka',
    ports: ['kafka'],
    needs: [],
    stop: { signal: 'SIGTERM', graceMs: 2000 },
    launch: async (): Promise<Launch> => ({ command: '/bin/sh', args: ['-c', script], cwd: '/', env: {} }),
    ask: async () => {
      if (!answers()) throw new Error('not yet');
    },
  };
}

async function context(name: string, signal = new AbortController().signal): Promise<Context> {
  const [kafka = 0] = await freePorts(1);
  const host = { env: {}, cacheDir: scratch };
  const dir = join(scratch, name);
  return { name, dir, ports: { ...defaultPorts, kafka }, host, note: () => {}, signal } as unknown as Context;
}

describe('a part', () => {
  test('is started when it answers, not when its process runs; its process is told before', async () => {
    const told: PartRecord[] = [];
    let asked = 0;
    const service = part('sleep 60', () => {
      asked += 1;
      return asked > 3;
    });
    await startPart(service, await context('slow'), async (record) => void told.push(record));
    const [record] = told;
    if (record === undefined) throw new Error('nothing was told');
    expect(asked).toBe(4);
    expect(await isAlive(record)).toBe(true);
    expect(await stopProcess(record, service.stop)).toBe('stopped');
  });

  test.each([
    ['never answers', 'exec sleep 60'],
    ['ends', 'exit 1'],
  ])('that %s at its first start is started again where it does not recover by itself', async (how, first) => {
    const marks = join(scratch, `${how}.starts`);
    const starts = () => (existsSync(marks) ? readFileSync(marks, 'utf8').length : 0);
    const script = `printf x >> '${marks}'; [ "$(cat '${marks}')" = xx ] && exec sleep 60; ${first}`;
    const service = { ...part(script, () => starts() > 1), restartAfterMs: 400 };
    const told: PartRecord[] = [];
    await startPart(service, await context(how), async (record) => void told.push(record));
    const [failed, second] = told;
    if (failed === undefined || second === undefined) throw new Error('it was not started twice');
    expect(await isAlive(failed)).toBe(false);
    expect(await stopProcess(second, service.stop)).toBe('stopped');
    expect(starts()).toBe(2);
  });

  test('that dies while starting is one line with how it ended and the end of its log', async () => {
    const service = part('echo all is well; echo the disk broke >&2; exit 3', () => false);
    const starting = startPart(service, await context('dies'), async () => {});
    await expect(starting).rejects.toMatchObject({
      code: 'PART_FAILED',
      message: expect.stringMatching(
        /^Kafka ended with exit code 3 while starting; its log ends with\n {2}all is well\n {2}the disk broke$/,
      ),
      remedy: expect.stringContaining('millrace logs kafka'),
    });
  });

  test('is not waited for after an interrupt', async () => {
    const stop = new AbortController();
    const told: PartRecord[] = [];
    const service = part('sleep 60', () => false);
    const starting = startPart(service, await context('interrupted', stop.signal), async (record) => {
      told.push(record);
      setTimeout(() => stop.abort(new Error('interrupted')), 200);
    });
    await expect(starting).rejects.toThrow();
    if (told[0] !== undefined) await stopProcess(told[0], service.stop);
  });

  test('whose command is not there cannot be started', async () => {
    const service = {
      ...part('', () => true),
      launch: async () => ({ command: '/no/such', args: [], cwd: '/', env: {} }),
    };
    await expect(startPart(service, await context('absent'), async () => {})).rejects.toMatchObject({
      code: 'PART_FAILED',
      message: expect.stringContaining('Kafka cannot be started'),
    });
  });
});

test('a full disk is said before anything starts', async () => {
  await expect(requireSpace(scratch, async () => 200 * 1024 ** 2)).rejects.toMatchObject({
    code: 'PART_FAILED',
    message: expect.stringContaining('200 MiB are left'),
    remedy: expect.stringContaining('MILLRACE_HOME'),
  });
  await requireSpace(scratch, async () => 10 * 1024 ** 3);
  await requireSpace(scratch);
});

test('the tail of a log is its last lines, of what this start wrote', async () => {
  const log = join(scratch, 'a.log');
  writeFileSync(log, 'old\n\none\ntwo\nthree\n');
  expect(await tailOf(log, 2)).toEqual(['two', 'three']);
  expect(await tailOf(log, 9, 5)).toEqual(['one', 'two', 'three']);
  expect(await tailOf(join(scratch, 'none.log'), 9)).toEqual([]);
});
