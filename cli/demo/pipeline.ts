/** `millrace run` in a separate process with its log in a file, as an operator starts it and a fault test kills it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { MillraceError } from '../../core/base/errors.ts';
import { tailOf } from '../../infra/local/start.ts';
import { projectDir, stackDir } from '../settings/config.ts';

/** Limits that collect old space early and return freed buffers to the system. */
export const runtimeFlags = ['--max-old-space-size=256', '--max-semi-space-size=32'];
export const runtimeEnv = { MALLOC_ARENA_MAX: '2' };
const killAfterMs = 20_000;

export interface PipelineOptions {
  readonly stack: string;
  /** Names to run. Default: everything. */
  readonly names?: readonly string[];
  /** A program to run instead of `millrace run`. Its arguments are the stack and the names. */
  readonly program?: string;
  /** In addition to our own environment. */
  readonly env?: Readonly<Record<string, string>>;
}

export class Pipeline implements AsyncDisposable {
  readonly log: string;
  readonly #child: ChildProcess;
  readonly #exit: Promise<unknown>;

  private constructor(child: ChildProcess, log: string) {
    this.log = log;
    this.#child = child;
    this.#exit = once(child, 'exit');
  }

  static start({ stack, names = ['--all'], program, env = {} }: PipelineOptions): Pipeline {
    const logs = join(stackDir(stack), 'logs');
    mkdirSync(logs, { recursive: true });
    const log = join(logs, `run-${names.join('-').replace('--', '')}.log`);
    const file = openSync(log, 'a');
    const millrace = [join(projectDir, 'cli', 'main.ts'), '--stack', stack, 'run', ...names, '--port', '0'];
    const args = program === undefined ? millrace : [program, stack, ...names];
    const child = spawn(process.execPath, [...runtimeFlags, ...args], {
      env: { ...process.env, ...runtimeEnv, ...env },
      stdio: ['ignore', file, file],
    });
    closeSync(file);
    return new Pipeline(child, log);
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** @throws MillraceError PART_FAILED: the process has ended; the message has the end of its log. */
  async check(): Promise<void> {
    if (this.running) return;
    const tail = await tailOf(this.log, 5);
    throw new MillraceError('PART_FAILED', `the pipeline has ended by itself:\n${tail.join('\n')}`, {
      remedy: `read ${this.log}`,
    });
  }

  /** Kills the process with SIGKILL. Resolves when it has ended. */
  async kill(): Promise<void> {
    if (!this.running) return;
    this.#child.kill('SIGKILL');
    await this.#exit;
  }

  /** Ends the process in order, so that finished work is committed. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.running) return;
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), killAfterMs);
    await this.#exit;
    clearTimeout(timer);
  }
}
