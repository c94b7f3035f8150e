/** A run of jest, and what its report says. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { projectDir } from '../../cli/settings/config.ts';
import { type CommandOptions, execute, lingerMs } from './command.ts';
import { failure, nothing, type Outcome } from './report.ts';

/** Options of every Node that runs our code. */
export const node = ['--disable-warning=ExperimentalWarning'];
/** Of the property tests. */
const seed = 20_131_125;

export interface JestRun {
  /** Names the report. */
  readonly name: string;
  readonly args: readonly string[];
  /** Where the report is written: a folder that is there. */
  readonly dir: string;
}

interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  /** Files that could not even be loaded. */
  readonly numRuntimeErrorTestSuites: number;
}

export async function jest({ name, args, dir }: JestRun, options: CommandOptions): Promise<Outcome> {
  const file = join(dir, `${name}.json`);
  const command = [...node, '--experimental-vm-modules', join(projectDir, 'node_modules/jest/bin/jest.js')];
  const report = ['--json', '--outputFile', file, '--passWithNoTests', '--seed', String(seed)];
  const { code, killed } = await execute(process.execPath, [...command, ...report, ...args], {
    ...options,
    doneWhen: () => existsSync(file),
  });
  if (!existsSync(file)) return failure(`jest ended with ${code} and without a report`);
  const result = JSON.parse(readFileSync(file, 'utf8')) as Report;
  const failed = result.numFailedTests + result.numRuntimeErrorTestSuites;
  return {
    ...nothing,
    passed: result.numPassedTests,
    // Exit code 1 with no failed test: a coverage threshold, an error in the configuration.
    failed: failed + (killed || (code !== 0 && failed === 0) ? 1 : 0),
    skipped: result.numPendingTests + result.numTodoTests,
    ...(killed ? { output: `jest did not end ${lingerMs / 1000} s after its last test: something is left open` } : {}),
  };
}
