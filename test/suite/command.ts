/** Runs one command in a process group of its own, so that all of it can be ended. */
import { type ChildProcess, spawn } from 'node:child_process';
import { projectDir } from '../../cli/settings/config.ts';

/** How long a command may linger after its work is done, and how long it may take to end when it is interrupted. */
export const lingerMs = 60_000;

export interface CommandOptions {
  /** Called with each line as it comes. Default: lines are kept for the result. */
  readonly onLine?: (line: string) => void;
  readonly env?: Readonly<Record<string, string>>;
  /** Ends the command: SIGINT, then SIGKILL. */
  readonly signal?: AbortSignal;
  /** From the moment in which it answers true, the command has `lingerMs` to end by itself. */
  readonly doneWhen?: () => boolean;
  /** Added to the command's niceness. Default 0. */
  readonly nice?: number;
  /** Called with the id of the process group when it begins. The returned function is called when it has ended. */
  readonly group?: (pid: number) => () => void;
}

export interface Ended {
  readonly code: number;
  /** Standard output and error, unless `onLine` had them. */
  readonly output: string;
  /** It did not end by itself. */
  readonly killed: boolean;
}

/** @throws when the command cannot be started */
export function execute(command: string, args: readonly string[], options: CommandOptions = {}): Promise<Ended> {
  const { onLine, env, signal, doneWhen, nice = 0, group } = options;
  if (signal?.aborted === true) return Promise.resolve({ code: 130, output: '', killed: false });
  return new Promise((resolve, reject) => {
    const [program = command, ...rest] = nice === 0 ? [command, ...args] : ['nice', '-n', `${nice}`, command, ...args];
    const child = spawn(program, rest, {
      cwd: projectDir,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    const ended = child.pid === undefined ? undefined : group?.(child.pid);
    let output = '';
    let killed = false;
    const keep = (line: string): void => {
      output += `${line}\n`;
    };
    for (const stream of [child.stdout, child.stderr]) byLine(stream, onLine ?? keep);
    const interrupt = (): void => {
      signalGroup(child, 'SIGINT');
      setTimeout(() => signalGroup(child, 'SIGKILL'), lingerMs).unref();
    };
    signal?.addEventListener('abort', interrupt);
    let doneAt = 0;
    const watch = setInterval(() => {
      if (doneWhen?.() !== true) return;
      if (doneAt === 0) doneAt = performance.now();
      if (performance.now() - doneAt < lingerMs) return;
      killed = true;
      signalGroup(child, 'SIGKILL');
    }, 1000);
    const finish = (): void => {
      clearInterval(watch);
      signal?.removeEventListener('abort', interrupt);
      // What it left behind, such as the processes of a test that was killed.
      signalGroup(child, 'SIGKILL');
      ended?.();
    };
    child.on('error', (error) => {
      finish();
      reject(error);
    });
    child.on('close', (code) => {
      finish();
      resolve({ code: code ?? 1, output, killed });
    });
  });
}

/** Also the last line, which may have no end. */
function byLine(stream: NodeJS.ReadableStream, take: (line: string) => void): void {
  let rest = '';
  stream.setEncoding('utf8');
  stream.on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) take(line);
  });
  stream.on('end', () => {
    if (rest !== '') take(rest);
  });
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch {
    // all of it has ended
  }
}
