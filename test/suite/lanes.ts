/** Which files with a stack run beside which others. A file that is named nowhere here runs on the shared stack, after those that are. */
import { globSync } from 'node:fs';
import { join } from 'node:path';
import { projectDir } from '../../cli/config.ts';

/** How a jest pattern tells the files that need a stack from the others. */
export const stackFiles = '\\.it\\.test\\.ts$';

/** Files with a stack of their own or none, and about how many seconds each takes. */
export const ownStack: Readonly<Record<string, number>> = {
  disasters: 110,
  operations: 90,
  manifests: 80,
  stack: 70,
  trace: 60,
  demo: 50,
  'kafka-brokers': 50,
  rebuild: 40,
  jvm: 10,
};

/** Files on the stack that they share, likewise. */
export const sharedStack: Readonly<Record<string, number>> = {
  kill: 90,
  recapture: 80,
};

const seconds = new Map(Object.entries({ ...ownStack, ...sharedStack }));

/** `kill` of `test/faults/kill.it.test.ts`. */
export function shortName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1).replace(/\.it\.test\.ts$/, '');
}

/** About how long a file takes; 0 when that is not known. */
export function secondsOf(path: string): number {
  return seconds.get(shortName(path)) ?? 0;
}

export interface Lane {
  readonly name: 'shared stack' | 'own stacks';
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
  return [
    { name: 'shared stack', files: files.filter((path) => !(shortName(path) in ownStack)) },
    { name: 'own stacks', files: files.filter((path) => shortName(path) in ownStack) },
  ];
}
