/** The stacks of a run: each is gone when the run is, whether it ended, was interrupted or was killed. */
import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, existsSync, globSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { cacheDir, projectDir, stackDir, stacksHome } from '../../cli/settings/config.ts';
import { type CommandOptions, type Ended, execute } from './command.ts';
import { node } from './jest.ts';

const prefix = 'test-';

/** Takes down a stack in its folder, and removes the folder. @throws MillraceError when it is no folder of a stack */
async function remove(dir: string, name: string): Promise<void> {
  // Most runs have none to remove, and the clients of its parts take a second to load.
  const { stopStack } = await import('../../infra/local/stack.ts');
  await stopStack({ name, dir, host: { env: process.env, cacheDir: cacheDir() }, wipe: true });
  rmSync(dir, { recursive: true, force: true });
}

/** Stacks of test runs whose process is gone. */
async function removeStale(): Promise<void> {
  for (const { name, pid } of sharedStacks()) if (!isAlive(pid)) await remove(stackDir(name), name);
}

/** Everything that a run left: the shared stacks of its process, and the stacks in its folder. */
export async function removeAll(runDir: string, pid: number): Promise<void> {
  const stacks = [
    ...sharedStacks()
      .filter((each) => each.pid === pid)
      .map(({ name }) => ({ name, dir: stackDir(name) })),
    ...stacksIn(runDir),
  ];
  const removed = await Promise.allSettled(stacks.map(({ dir, name }) => remove(dir, name)));
  rmSync(runDir, { recursive: true, force: true });
  for (const each of removed) if (each.status === 'rejected') throw each.reason;
}

function sharedStacks(): { name: string; pid: number }[] {
  const home = stacksHome();
  if (!existsSync(home)) return [];
  return readdirSync(home).flatMap((name) => {
    const pid = Number(/^test-(\d+)(?:-|$)/.exec(name)?.[1] ?? 0);
    return pid > 0 ? [{ name, pid }] : [];
  });
}

/** A test has a folder there, which is its stack or has its stacks. */
function stacksIn(runDir: string): { name: string; dir: string }[] {
  return globSync(['homes/*/stack.json', 'homes/*/*/stack.json'], { cwd: runDir }).map((path) => {
    const { name } = JSON.parse(readFileSync(join(runDir, path), 'utf8')) as { name: string };
    return { name, dir: join(runDir, dirname(path)) };
  });
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Name, folder and guard of the stacks of this process. */
export class Stacks {
  /** Reports are written here. */
  readonly dir: string;
  /** Tests put folders with stacks of their own here. */
  readonly homes: string;
  readonly #guard: ChildProcess;

  constructor() {
    this.dir = mkdtempSync(join(tmpdir(), 'millrace-test-'));
    this.homes = join(this.dir, 'homes');
    mkdirSync(this.homes);
    for (const dir of [this.dir, this.homes]) chmodSync(dir, 0o755); // Postgres may run as another user
    const guard = join(import.meta.dirname, 'guard.ts');
    this.#guard = spawn(process.execPath, [...node, guard, this.dir, String(process.pid)], {
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
    });
    this.#guard.unref();
    // The guard may be killed, too.
    this.#guard.stdin?.on('error', () => {});
    (this.#guard.stdin as unknown as { unref(): void }).unref();
  }

  /** Environment of a lane. Its stack lives for minutes, so the second compiler of a JVM costs more than it saves. */
  env(lane: number): Readonly<Record<string, string>> {
    return {
      MILLRACE_TEST_STACK: `${prefix}${process.pid}-${lane}`,
      MILLRACE_TEST_HOMES: this.homes,
      MILLRACE_JAVA_OPTIONS: '-XX:TieredStopAtLevel=1',
    };
  }

  /** Starts the stack of a lane, by the command. @throws Error when it ends with another code than 0 */
  async start(lane: number, options: CommandOptions): Promise<void> {
    await removeStale();
    const { code } = await this.#millrace('up', lane, options);
    if (code !== 0) throw new Error(`millrace up ended with exit code ${code}`);
  }

  /** Stops the stack of a lane, if it was started. */
  async stop(lane: number, options: CommandOptions): Promise<void> {
    await this.#millrace('down', lane, options);
  }

  async #millrace(command: 'up' | 'down', lane: number, options: CommandOptions): Promise<Ended> {
    const env = this.env(lane);
    const args = [join(projectDir, 'cli', 'main.ts'), command, '--stack', `${env['MILLRACE_TEST_STACK']}`];
    return await execute(process.execPath, [...node, ...args], { ...options, env });
  }

  /** Tells of a process group that ends with the run. @returns to be called when it has ended */
  group = (pid: number): (() => void) => {
    this.#guard.stdin?.write(`+${pid}\n`);
    return () => this.#guard.stdin?.write(`-${pid}\n`);
  };

  /** The shared one, and what no test took down, such as the stacks of a jest that was interrupted. Idempotent. */
  async end(): Promise<void> {
    await removeAll(this.dir, process.pid);
    this.#guard.stdin?.end('done\n');
  }
}
