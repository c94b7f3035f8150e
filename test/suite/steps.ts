/** What a run does, in lanes that run side by side: the steps of a lane follow each other, none is skipped because an earlier one failed. */
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { projectDir } from '../../cli/settings/config.ts';
import { limitMs } from '../support/patience.ts';
import { type CommandOptions, execute } from './command.ts';
import { jest, node } from './jest.ts';
import { type Lane, lanesOf, stackFiles } from './lanes.ts';
import { failure, nothing, type Outcome } from './report.ts';
import type { Stacks } from './stacks.ts';

export interface Step {
  readonly name: string;
  /** What the step is called on the command line. Several steps may have one name there. */
  readonly choice: string;
  run(options: LaneOptions): Promise<Outcome>;
}

/** Where its lines go, and what ends it. */
export interface LaneOptions extends CommandOptions {
  readonly onLine: (line: string) => void;
}

export interface Chosen {
  /** As jest takes them; none is all files. */
  readonly patterns: readonly string[];
  readonly stacks: Stacks;
}

export const choices = ['lint', 'types', 'generated', 'unit', 'integration'] as const;

export function lanes({ patterns, stacks }: Chosen): readonly (readonly Step[])[] {
  const bin = (name: string): string => join(projectDir, 'node_modules', '.bin', name);
  const main = join(projectDir, 'cli', 'main.ts');
  const check = (name: string, command: string, ...args: string[]): Step => {
    return { name, choice: name, run: (options) => exitCode(command, args, options) };
  };
  return [
    [
      check('lint', bin('biome'), 'check', '--error-on-warnings', '.'),
      check('types', bin('tsc'), '--noEmit', '-p', 'tsconfig.json'),
      check('generated', process.execPath, ...node, main, 'schemas', 'gen', '--check'),
      { name: 'unit', choice: 'unit', run: (options) => unit(stacks.dir, patterns, options) },
    ],
    ...lanesOf(patterns).map((lane, number): readonly Step[] => [
      { name: lane.name, choice: 'integration', run: (options) => integration(number, lane, stacks, options) },
    ]),
  ];
}

/** A command whose exit code says it all. */
async function exitCode(command: string, args: readonly string[], options: CommandOptions): Promise<Outcome> {
  const { code } = await execute(command, args, options);
  return code === 0 ? { ...nothing, passed: 1 } : { ...nothing, failed: 1 };
}

/** Unit tests fill the CPU time that the lanes with a stack leave: those are the longest, and wait half of their time. */
const unitNice = 3;

function unit(dir: string, patterns: readonly string[], options: CommandOptions): Promise<Outcome> {
  const without = ['--testPathIgnorePatterns', '/node_modules/', '/.millrace/', stackFiles];
  const limits = [`--maxWorkers=${availableParallelism()}`, `--testTimeout=${limitMs}`];
  return jest({ name: 'unit', dir, args: [...limits, ...without, '--', ...patterns] }, { ...options, nice: unitNice });
}

async function integration(number: number, lane: Lane, stacks: Stacks, options: LaneOptions): Promise<Outcome> {
  if (lane.files.length === 0) return nothing;
  try {
    if (lane.startsStack) await stacks.start(number, options);
  } catch (error) {
    return failure(`the stack did not start, no test on it has run: ${(error as Error).message}`);
  }
  const order = ['--testSequencer', join(import.meta.dirname, 'sequencer.ts'), `--testTimeout=${limitMs}`];
  const args = ['--testMatch', '**/*.it.test.ts', '--runInBand', ...order, '--runTestsByPath', ...lane.files];
  const outcome = await jest(
    { name: lane.name.replace(' ', '-'), dir: stacks.dir, args },
    { ...options, env: stacks.env(number) },
  );
  await stacks.stop(number, options);
  return outcome;
}
