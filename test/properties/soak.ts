/** Property tests with other seeds than the one of `npm test`. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { projectDir } from '../../cli/settings/config.ts';
import { readSources, type SourceFile } from '../architecture/imports.ts';

export interface PropertySoakOptions {
  /** How many seeds. Default 20. */
  readonly seeds?: number;
  /** The first of them, or the only one. */
  readonly seed?: number;
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
}

const folders = ['schemas', 'core', 'processors', 'sinks', 'proof', 'storage', 'connectors', 'infra', 'cli', 'test'];

/** Runs every test file that has properties once per seed. True when all held; a seed with which one didn't is told. */
export async function soakProperties({ signal, say, ...options }: PropertySoakOptions): Promise<boolean> {
  const files = propertyTests(readSources(projectDir, folders));
  const count = options.seeds ?? (options.seed === undefined ? 20 : 1);
  const failed: number[] = [];
  for (let i = 0; i < count && !signal.aborted; i++) {
    const seed = options.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : options.seed + i;
    const { code, output } = await jest(files, seed, signal);
    if (signal.aborted) break;
    if (code !== 0) {
      failed.push(seed);
      say(output);
    }
    say(`${i + 1} of ${count} seeds, ${failed.length} with a property that does not hold`);
  }
  for (const seed of failed) say(`again: npm run soak -- properties --seed ${seed}`);
  return failed.length === 0;
}

/** The test files that come to fast-check, directly or through what they import. Tests of the real stack are not among them. */
export function propertyTests(sources: ReadonlyMap<string, SourceFile>): readonly string[] {
  const reaches = new Map<string, boolean>();
  const uses = (path: string): boolean => {
    const known = reaches.get(path);
    if (known !== undefined) return known;
    reaches.set(path, false);
    const file = sources.get(path);
    const found = file !== undefined && (file.packages.includes('fast-check') || file.files.some(uses));
    reaches.set(path, found);
    return found;
  };
  return [...sources.keys()].filter((path) => /(?<!\.it)\.test\.ts$/.test(path) && uses(path)).sort();
}

function jest(files: readonly string[], seed: number, signal: AbortSignal): Promise<{ code: number; output: string }> {
  const runner = join(projectDir, 'node_modules/jest/bin/jest.js');
  const args = ['--disable-warning=ExperimentalWarning', '--experimental-vm-modules', runner];
  const child = spawn(process.execPath, [...args, '--seed', String(seed), '--runTestsByPath', ...files], {
    cwd: projectDir,
    stdio: ['ignore', 'pipe', 'pipe'],
    signal,
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (output += text));
  return new Promise((resolve, reject) => {
    child.on('error', (error) => (signal.aborted ? resolve({ code: 130, output }) : reject(error)));
    child.on('close', (code) => resolve({ code: code ?? 1, output }));
  });
}
