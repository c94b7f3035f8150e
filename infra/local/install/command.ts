/** Runs a tool to its end. An error has the tail of its output. */
import { spawn } from 'node:child_process';
import { access, constants } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { MillraceError } from '../../../core/base/errors.ts';

/** Machine state that the set-up reads; the composition root provides it. */
export interface Host {
  /** Environment of the tools: PATH, HOME, JAVA_HOME, proxies. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Cache of installed parts, shared by all clones. */
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

/** @returns standard output. @throws MillraceError INSTALL_FAILED with the tail of the tool's output. */
export async function runCommand(command: string, args: readonly string[], options: CommandOptions): Promise<string> {
  const { signal } = options;
  signal?.throwIfAborted();
  // An own process group, so that an interrupt also ends the tool's children.
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
      // The process has ended already.
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
