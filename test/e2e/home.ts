import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { projectDir, stacksHome } from '../../cli/settings/config.ts';
import { type Config, parseConfig } from '../../core/base/config.ts';
import { isThrowaway, stacksFolder, testStackName } from '../support/stack.ts';
import { empty } from './emptied.ts';

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

/** The command line as a user has it, with a stack that nothing else uses meanwhile. */
export class Home implements AsyncDisposable {
  readonly dir: string;
  readonly #stack: string;
  /** Folder of stacks. */
  readonly #stacks: string;
  readonly #env: Readonly<Record<string, string>>;
  readonly #running = new Map<string, (signal: NodeJS.Signals) => Promise<void>>();

  private constructor(stack: string, env: Readonly<Record<string, string>>, stacks?: string) {
    this.dir = stacksFolder(stack);
    this.#stack = stack;
    this.#stacks = stacks ?? this.dir;
    this.#env = env;
  }

  /** A stack of its own. @param env settings for every command */
  static open(stack: string, env: Readonly<Record<string, string>> = {}): Home {
    return new Home(stack, env);
  }

  /** The stack that `npm test` has for the file, as good as new; without one, a stack of its own. @param env settings for every command */
  static shared(stack: string, env: Readonly<Record<string, string>> = {}): Home {
    return isThrowaway(testStackName) ? new Home(testStackName, env, stacksHome()) : new Home(stack, env);
  }

  /** Starts the stack with capture, and empties it when it was another test's. @throws Error what was said, when a command fails */
  async up(): Promise<void> {
    if (!this.#isOwn && existsSync(this.#record)) await empty(await this.config());
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
    return parseConfig(JSON.parse(await readFile(this.#record, 'utf8')).config);
  }

  get #isOwn(): boolean {
    return this.#stacks === this.dir;
  }

  get #record(): string {
    return join(this.#stacks, this.#stack, 'stack.json');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // In order, so that a group whose stack stays has no member left.
    await Promise.all([...this.#running.values()].map((stop) => stop(this.#isOwn ? 'SIGKILL' : 'SIGTERM')));
    if (this.#isOwn) {
      const { code, errors } = await this.cli('down', '--wipe');
      if (code !== 0) throw new Error(`the stack ${this.#stack} in ${this.dir} could not be stopped: ${errors}`);
    }
    await rm(this.dir, { recursive: true, force: true });
  }

  #spawn(args: readonly string[]): { child: ChildProcess; said: Said } {
    const child = spawn(process.execPath, [join(projectDir, 'cli', 'main.ts'), '--stack', this.#stack, ...args], {
      env: { ...process.env, ...this.#env, MILLRACE_HOME: this.#stacks },
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
