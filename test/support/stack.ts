/**
 * The stack that integration tests share. `npm test` starts a fresh one and names it; a test that is run alone uses the stack `dev`,
 * which `millrace up` starts.
 */
import { chmodSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { configOf, stackDir } from '../../cli/settings/config.ts';
import type { Config } from '../../core/base/config.ts';

export const testStackName: string = process.env['MILLRACE_TEST_STACK'] ?? 'dev';

/** Whether a stack is one of a run of `npm test`, and may be emptied. Any other has data of its owner. */
export function isThrowaway(name: string): boolean {
  return /^test-\d+(-\d+)?$/.test(name);
}

/** Of the shared stack: endpoints, secrets, and the defaults of everything else. */
export function testConfig(overrides: Readonly<Record<string, unknown>> = {}): Config {
  return configOf(testStackName, {}, overrides);
}

/** Folder of the shared stack: logs, data, stack.json. */
export const testStackDir: string = stackDir(testStackName);

/** A new folder for stacks of a test's own, which the test stops and removes. What is left of a killed test in there, `npm test` removes. */
export function stacksFolder(name: string): string {
  const dir = mkdtempSync(join(process.env['MILLRACE_TEST_HOMES'] ?? tmpdir(), `millrace-${name}-`));
  chmodSync(dir, 0o755); // Postgres may run as another user
  return dir;
}
