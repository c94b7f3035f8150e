/** Cost of open windows: resident memory of a process that holds them, and the rate of restoring them. No broker. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { runtimeEnv, runtimeFlags } from '../cli/demo/pipeline.ts';
import { projectDir } from '../cli/settings/config.ts';
import type { Filled } from './windows/open-windows.ts';

export const help = `bench memory [windows]
  resident memory of a task with that many open windows (default 100000), and restored entries per CPU second`;

const execute = promisify(execFile);

export async function run(args: readonly string[]): Promise<void> {
  const windows = args[0] ?? '100000';
  const filled = async (mode: 'fill' | 'restore'): Promise<Filled> => {
    const script = join(projectDir, 'bench', 'windows', 'open-windows.ts');
    // Memory is measured with Millrace's own limits. A restore also holds the changelog in memory, so it gets more.
    const flags = mode === 'fill' ? runtimeFlags : ['--max-old-space-size=1536'];
    const { stdout } = await execute(process.execPath, [...flags, script, windows, mode], {
      env: { ...process.env, ...runtimeEnv },
    });
    return JSON.parse(stdout) as Filled;
  };
  const { windows: open, peakMib } = await filled('fill');
  console.log(`${open.toLocaleString('en')} open windows: ${peakMib.toFixed(0)} MiB resident at most`);
  const { restored, restoreSeconds } = await filled('restore');
  console.log(
    `restored ${restored.toLocaleString('en')} changelog entries at ${Math.round(restored / restoreSeconds).toLocaleString('en')} per CPU second`,
  );
}
