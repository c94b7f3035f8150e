/** Which files with a stack run beside which others, and in which order. */
import { globSync } from 'node:fs';
import { join } from 'node:path';
import { projectDir } from '../../cli/settings/config.ts';

/** How a jest pattern tells the files that need a stack from the others. */
export const stackFiles = '\\.it\\.test\\.ts$';

/** Short names of the second lane's files: those with stacks of their own or none, then those that begin with the lane's stack emptied. */
const second = ['disasters', 'stack', 'kafka-brokers', 'demo', 'jvm', 'operations', 'trace'];

/** Those of the first lane, the longest first, but the ones that empty the stack last. A file that is named nowhere here comes after them. */
const first = [
  ...['kill', 'source', 'recapture', 'stuck-capture', 'candle-proof', 'capture', 'hostile', 'hot-store-outage'],
  ...['recapture-types', 'refill', 'witness', 'hot-proof', 'load', 'live-proof', 'proof', 'parquet', 'kafka-log'],
  ...['registry', 'hot-store', 'rowhash', 'churn', 'manifests', 'rebuild'],
];

/** `kill` of `test/faults/kill.it.test.ts`. */
function shortName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1).replace(/\.it\.test\.ts$/, '');
}

/** Place of a file in its lane. */
export function placeOf(path: string): number {
  const place = [...second, ...first].indexOf(shortName(path));
  return place < 0 ? Number.MAX_SAFE_INTEGER : place;
}

export interface Lane {
  readonly name: string;
  /** Whether its files share a stack that runs already. The files of another lane start what they need. */
  readonly startsStack: boolean;
  /** Absolute paths, in the order in which they run. */
  readonly files: readonly string[];
}

/** @param patterns as jest takes them: regular expressions of absolute paths; none is all files */
export function lanesOf(patterns: readonly string[]): readonly Lane[] {
  const wanted = patterns.map((pattern) => new RegExp(pattern, 'i'));
  const isFolder = (name: string): boolean => ['node_modules', '.millrace', '.git'].includes(name);
  const files = globSync('**/*.it.test.ts', { cwd: projectDir, exclude: isFolder })
    .map((path) => join(projectDir, path))
    .filter((path) => wanted.length === 0 || wanted.some((pattern) => pattern.test(path)))
    .sort((a, b) => placeOf(a) - placeOf(b));
  const isSecond = (path: string): boolean => second.includes(shortName(path));
  return [
    { name: 'one stack', startsStack: true, files: files.filter((path) => !isSecond(path)) },
    { name: 'own stacks', startsStack: false, files: files.filter(isSecond) },
  ];
}
