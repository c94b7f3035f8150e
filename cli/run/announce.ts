import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Config } from '../../core/base/config.ts';
import { announceTarget } from '../../core/observability/targets.ts';
import { isAlive, type ProcessId, startTimeOf } from '../../infra/local/machine/process.ts';
import { stackDir } from '../settings/config.ts';

/** Registers this process as a target of the local stack's Prometheus; no-op without a local stack. */
export async function announce(config: Config, work: string, url: string): Promise<AsyncDisposable> {
  const home = stackDir(config.stack.name);
  if (!existsSync(home)) return { [Symbol.asyncDispose]: async () => undefined };
  const owner: ProcessId = { pid: process.pid, startTime: (await startTimeOf(process.pid)) ?? '' };
  return await announceTarget({
    dir: join(home, 'prometheus', 'targets'),
    work,
    address: new URL(url).host,
    owner: JSON.stringify(owner),
    isAlive: async (text) => text !== '' && (await isAlive(JSON.parse(text) as ProcessId)),
  });
}
