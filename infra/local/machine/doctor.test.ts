import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { folderOf } from '../install/cache.ts';
import { defaultPorts, minio } from '../parts.ts';
import { writeRecord } from '../state.ts';
import { memory, node, runDoctor } from './doctor.ts';
import { freePorts } from './ports.ts';

const scratch = mkdtempSync(join(tmpdir(), 'millrace-doctor-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const host = { env: process.env, cacheDir: join(scratch, 'cache') };

describe('the doctor', () => {
  test('changes nothing: folders that are not there yet stay away', async () => {
    const dir = join(scratch, 'home', 'new');
    const findings = await runDoctor({ name: 'new', dir, host });
    expect(findings.find(({ what }) => what === 'stack folder')).toMatchObject({ state: 'ok', found: dir });
    expect(existsSync(join(scratch, 'home'))).toBe(false);
    expect(existsSync(host.cacheDir)).toBe(false);
  });

  test('names the part that needs a taken port, and who has it', async () => {
    const dir = join(scratch, 'taken');
    const names = Object.keys(defaultPorts);
    const free = await freePorts(names.length);
    const ports = Object.fromEntries(names.map((name, i) => [name, free[i]])) as unknown as typeof defaultPorts;
    mkdirSync(dir, { recursive: true });
    await writeRecord(dir, { name: 'taken', startedAt: '', ports, parts: {}, config: {} });
    const server = createServer();
    await new Promise<void>((listening) => server.listen(ports.kafka, '127.0.0.1', listening));
    try {
      const findings = await runDoctor({ name: 'taken', dir, host });
      const failed = findings.filter(({ what, state }) => what.startsWith('port ') && state !== 'ok');
      expect(failed).toEqual([
        {
          what: `port ${ports.kafka}`,
          state: 'failed',
          found: expect.stringMatching(/^Kafka needs it, and .* has it$/),
          remedy: expect.stringContaining('millrace up --stack'),
        },
      ]);
      if (process.platform === 'linux') expect(failed[0]?.found).toContain(`pid ${process.pid} `);
    } finally {
      server.close();
    }
  });

  test('says what is missing on a machine without tools, each with a remedy', async () => {
    const bare = { env: { PATH: scratch, HOME: scratch }, cacheDir: host.cacheDir };
    const findings = await runDoctor({ name: 'bare', dir: join(scratch, 'bare'), host: bare });
    expect(findings.find(({ what }) => what === 'Maven')).toMatchObject({
      state: 'failed',
      remedy: expect.any(String),
    });
    expect(findings.find(({ what }) => what === 'Go, for MinIO')).toMatchObject({ remedy: expect.any(String) });
  });

  test('refuses a Node that is too old and warns of little memory', () => {
    expect(node('20.19.1')).toMatchObject({ state: 'failed', found: '20.19.1' });
    expect(node('24.21.0')).toEqual({ what: 'Node', state: 'ok', found: '24.21.0' });
    expect(memory(1024 ** 3, 4 * 1024 ** 3)).toMatchObject({ state: 'warning', found: '1.0 of 4.0 GiB free' });
    expect(memory(8 * 1024 ** 3, 16 * 1024 ** 3)).toMatchObject({ state: 'ok' });
  });

  test('asks for no more memory when the stack has its share, and for no tool when its work is in the cache', async () => {
    expect(memory(1024 ** 3, 4 * 1024 ** 3, true)).toMatchObject({ state: 'ok' });
    const cacheDir = join(scratch, 'filled');
    const bare = { env: { PATH: scratch, HOME: scratch }, cacheDir };
    const before = await runDoctor({ name: 'bare', dir: join(scratch, 'bare'), host: bare });
    expect(before.find(({ what }) => what === 'Go, for MinIO')).toMatchObject({ state: 'failed' });
    const folder = folderOf({ cacheDir, name: 'minio', ingredients: [`${minio.module}@${minio.version}`] });
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, '.complete'), '');
    const after = await runDoctor({ name: 'bare', dir: join(scratch, 'bare'), host: bare });
    expect(after.find(({ what }) => what === 'MinIO')).toMatchObject({ state: 'ok' });
  });
});
