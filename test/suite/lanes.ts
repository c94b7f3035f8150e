/** Which files with a stack run beside which others. A file that is named nowhere here runs on the shared stack, after those that are. */
import { globSync } from 'node:fs';
import { join } from 'node:path';
import { projectDir } from '../../cli/config.ts';

/** How a jest pattern tells the files that need a stack from the others. */
export const stackFiles = '\\.it\\.test\\.ts$';

/** About how many seconds each file of the second lane takes: those with stacks of their own or none, then those that begin with an empty stack. */
const second: Readonly<Record<string, number>> = {
  disasters: 1110,
  stack: 1070,
  demo: 1050,
  'kafka-brokers': 1050,
  jvm: 1010,
  operations: 90,
  manifests: 80,
  trace: 60,
  rebuild: 40,
};

/** Files on one stack that they share, likewise. */
const first: Readonly<Record<string, number>> = {
  kill: 90,
  recapture: 80,
};

const seconds = new Map(Object.entries({ ...first, ...second }));

/** `kill` of `test/faults/kill.it.test.ts`. */
export function shortName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1).replace(/\.it\.test\.ts$/, '');
}

/** About how long a file takes; 0 when that is not known. */
export function secondsOf(path: string): number {
  return seconds.get(shortName(path)) ?? 0;
}

export interface Lane {
  readonly name: string;
  /** Whether its files need a stack that runs already. */
  readonly startsStack: boolean;
  /** Absolute paths. */
  readonly files: readonly string[];
}

/** @param patterns as jest takes them: regular expressions of absolute paths; none is all files */
export function lanesOf(patterns: readonly string[]): readonly Lane[] {
  const wanted = patterns.map((pattern) => new RegExp(pattern, 'i'));
  const files = globSync('**/*.it.test.ts', {
    cwd: projectDir,
    exclude: (name) => ['node_modules', '.millrace'].includes(name),
  })
    .map((path) => join(projectDir, path))
    .filter((path) => wanted.length === 0 || wanted.some((pattern) => pattern.test(path)));
  const isSecond = (path: string): boolean => shortName(path) in second;
  return [
    { name: 'one stack', startsStack: true, files: files.filter((path) => !isSecond(path)) },
    { name: 'own stacks', startsStack: false, files: files.filter(isSecond) },
  ];
}
