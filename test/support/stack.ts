/**
 * The stack that integration tests share. `npm test` starts a fresh one and names it; a test that is run alone uses the stack `dev`,
 * which `millrace up` starts.
 */
import { configOf, stackDir } from '../../cli/settings/config.ts';
import type { Config } from '../../core/base/config.ts';

export const testStackName: string = process.env['MILLRACE_TEST_STACK'] ?? 'dev';

/** Of the shared stack: endpoints, secrets, and the defaults of everything else. */
export function testConfig(overrides: Readonly<Record<string, unknown>> = {}): Config {
  return configOf(testStackName, {}, overrides);
}

/** Folder of the shared stack: logs, data, stack.json. */
export const testStackDir: string = stackDir(testStackName);
