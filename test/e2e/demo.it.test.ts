import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { projectDir } from '../../cli/config.ts';

test('the demo loads 100,000 real trades into a fresh stack, verifies all of them, and leaves nothing running', async () => {
  const home = await mkdtemp(join(tmpdir(), 'millrace-demo-'));
  const run = async (...args: string[]): Promise<{ code: number; output: string }> => {
    const child = spawn(process.execPath, [join(projectDir, 'cli', 'main.ts'), ...args], {
      env: { ...process.env, MILLRACE_HOME: home },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
    }
    const [code] = (await once(child, 'close')) as [number];
    return { code, output };
  };
  try {
    const demo = await run('demo');
    expect(demo.output).toMatch(/✓ 100,000 of 100,000 trades verified in Parquet, all candles equal/);
    expect(demo.output).not.toContain('✗');
    expect(demo.code).toBe(0);
    const status = await run('--stack', 'demo', 'status', '--json');
    const { parts } = JSON.parse(status.output.slice(status.output.indexOf('{'))) as { parts: { running: boolean }[] };
    expect(parts.map(({ running }) => running)).not.toContain(true);
  } finally {
    await run('--stack', 'demo', 'down', '--wipe');
    await rm(home, { recursive: true, force: true });
  }
}, 480_000);
