/** Running a tool to its end, with its last words in the error. */
import { spawn } from 'node:child_process';
import { access, constants } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { MillraceError } from '../../../core/base/errors.ts';

/** What of the machine set-up looks at; given by the composition root. */
export interface Host {
  /** Environment of the tools: PATH, HOME, JAVA_HOME, proxies. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Where installed things live, shared by all clones. */
  readonly cacheDir: string;
}

export async function findOnPath(name: string, env: Host['env']): Promise<string | undefined> {
  for (const folder of (env['PATH'] ?? '').split(delimiter)) {
    if (folder === '') continue;
    const file = join(folder, name);
    const found = await access(file, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return file;
  }
  return undefined;
}

export interface CommandOptions {
  readonly cwd?: string;
  readonly env: Host['env'];
  readonly signal?: AbortSignal | undefined;
  readonly onLine?: (line: string) => void;
  readonly user?: { readonly uid: number; readonly gid: number } | undefined;
}

/** @returns standard output. @throws MillraceError INSTALL_FAILED with the tail of what the tool said. */
export async function runCommand(command: string, args: readonly string[], options: CommandOptions): Promise<string> {
  const { signal } = options;
  signal?.throwIfAborted();
  // A group of its own, so that an interrupt ends the tool's children too.
  const child = spawn(command, [...args], {
    cwd: options.cwd,
    env: options.env,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    ...options.user,
  });
  const kill = (): void => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGTERM');
    } catch {
      // ended already
    }
  };
  signal?.addEventListener('abort', kill, { once: true });
  let output = '';
  const tail: string[] = [];
  let rest = '';
  const take = (chunk: string): void => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line.trim() === '') continue;
      tail.push(line);
      if (tail.length > 20) tail.shift();
      options.onLine?.(line);
    }
  };
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    output += chunk;
    take(chunk);
  });
  child.stderr.setEncoding('utf8').on('data', take);
  try {
    const code = await new Promise<number | string>((settle, fail) => {
      child.once('error', fail);
      child.once('close', (status, by) => settle(status ?? by ?? 'unknown'));
    });
    signal?.throwIfAborted();
    if (code === 0) return output;
    if (rest !== '') tail.push(rest);
    throw new MillraceError(
      'INSTALL_FAILED',
      `${command} ${args[0] ?? ''} ended with ${code}:\n${tail.map((line) => `  ${line}`).join('\n')}`,
      { remedy: 'Correct what it says and run the same command again; what is installed already is kept.' },
    );
  } catch (cause) {
    signal?.throwIfAborted();
    if (cause instanceof MillraceError) throw cause;
    throw new MillraceError('INSTALL_FAILED', `${command} cannot be run: ${(cause as Error).message}`, { cause });
  } finally {
    signal?.removeEventListener('abort', kill);
  }
}
