import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { projectDir } from '../../cli/config.ts';
import { type Config, parseConfig } from '../../core/config.ts';
import { stacksFolder } from '../stack.ts';

interface Said {
  /** Standard output. */
  output: string;
  /** Standard error. */
  errors: string;
}

/** What `millrace replay --json` says. */
export interface Replayed {
  readonly ok: boolean;
  readonly records: number;
  readonly beats: number;
  readonly differences: number;
  readonly examples: readonly string[];
  readonly topics: readonly { topic: string; given: number; compared: number; hash: string }[];
  readonly archived?: { readonly files: number; readonly parts: readonly object[] };
}

/** The command line as a user has it, with a stack of its own in a folder that goes with it. */
export class Home implements AsyncDisposable {
  readonly dir: string;
  readonly #stack: string;
  readonly #env: Readonly<Record<string, string>>;
  readonly #running = new Map<string, (signal: NodeJS.Signals) => Promise<void>>();

  private constructor(dir: string, stack: string, env: Readonly<Record<string, string>>) {
    this.dir = dir;
    this.#stack = stack;
    this.#env = env;
  }

  /** @param env settings for every command. */
  static async open(stack: string, env: Readonly<Record<string, string>> = {}): Promise<Home> {
    return new Home(stacksFolder(stack), stack, env);
  }

  /** Starts the stack with capture. @throws Error what was said, when either fails */
  async up(): Promise<void> {
    for (const args of [['up'], ['connectors', 'apply']]) {
      const { code, output, errors } = await this.cli(...args);
      if (code !== 0) throw new Error(`${args.join(' ')} ended with ${code}\n${output}${errors}`);
    }
  }

  /** Runs a command to its end. */
  async cli(...args: string[]): Promise<Said & { readonly code: number }> {
    const { child, said } = this.#spawn(args);
    const [code] = (await once(child, 'close')) as [number];
    return { code, ...said };
  }

  /** What a command says with `--json`, whatever its exit code. @throws Error when it says nothing */
  async json<T>(...args: string[]): Promise<T> {
    const { output, errors } = await this.cli(...args, '--json');
    if (output === '') throw new Error(errors);
    return JSON.parse(output) as T;
  }

  /** Starts `millrace run` with these arguments, which name it for `stop`. */
  start(...args: string[]): void {
    const { child } = this.#spawn(['run', ...args, '--port', '0']);
    const closed = once(child, 'close');
    this.#running.set(args.join(' '), async (signal) => {
      child.kill(signal);
      await closed;
    });
  }

  async stop(signal: NodeJS.Signals, ...args: string[]): Promise<void> {
    const name = args.join(' ');
    await this.#running.get(name)?.(signal);
    this.#running.delete(name);
  }

  /** Of the stack that is up. */
  async config(): Promise<Config> {
    return parseConfig(JSON.parse(await readFile(join(this.dir, this.#stack, 'stack.json'), 'utf8')).config);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#running.values()].map((stop) => stop('SIGKILL')));
    const { code, errors } = await this.cli('down', '--wipe');
    if (code !== 0) throw new Error(`the stack ${this.#stack} in ${this.dir} could not be stopped: ${errors}`);
    await rm(this.dir, { recursive: true, force: true });
  }

  #spawn(args: readonly string[]): { child: ChildProcess; said: Said } {
    const child = spawn(process.execPath, [join(projectDir, 'cli', 'main.ts'), '--stack', this.#stack, ...args], {
      env: { ...process.env, ...this.#env, MILLRACE_HOME: this.dir },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const said = { output: '', errors: '' };
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said.output += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said.errors += text;
    });
    return { child, said };
  }
}
