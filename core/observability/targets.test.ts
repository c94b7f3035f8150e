import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { announceTarget } from './targets.ts';

test('a process is a target of Prometheus for as long as it lives', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'millrace-targets-'));
  try {
    const target = await announceTarget({
      dir: join(dir, 'targets'),
      id: 'run/ohlcv 1',
      address: '127.0.0.1:9464',
      labels: { stack: 'dev' },
    });
    expect(await readdir(join(dir, 'targets'))).toEqual(['run_ohlcv_1.json']);
    const text = await readFile(join(dir, 'targets/run_ohlcv_1.json'), 'utf8');
    expect(JSON.parse(text)).toEqual([{ targets: ['127.0.0.1:9464'], labels: { stack: 'dev' } }]);
    await target[Symbol.asyncDispose]();
    await target[Symbol.asyncDispose]();
    expect(await readdir(join(dir, 'targets'))).toEqual([]);
  } finally {
    await rm(dir, { recursive: true });
  }
});
