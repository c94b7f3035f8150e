/** Processes that outlive the command. Each has its own process group, and is identified later by pid and start time. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface ProcessId {
  readonly pid: number;
  /** Start time of the process, as the system reports it: a pid alone may be reused. */
  readonly startTime: string;
}

export interface Launch {
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  /** Another user for the process; needs root. Default: the present user. */
  readonly user?: { readonly uid: number; readonly gid: number };
}

export interface Started extends ProcessId {
  /** Resolves with a reason when the process ends before this one. */
  readonly ended: Promise<string>;
}

/** Starts a process; its standard output and error are appended to `log`. @throws when the command cannot be started. */
export async function startDetached(launch: Launch, log: string): Promise<Started> {
  const out = openSync(log, 'a', 0o644);
  let child: ChildProcess;
  try {
    child = spawn(launch.command, [...launch.args], {
      cwd: launch.cwd,
      env: launch.env,
      detached: true,
      stdio: ['ignore', out, out],
      ...launch.user,
    });
    await new Promise<void>((started, failed) => {
      child.once('spawn', started);
      child.once('error', failed);
    });
  } finally {
    closeSync(out);
  }
  const ended = new Promise<string>((settle) => {
    child.once('exit', (code, signal) => settle(signal === null ? `exit code ${code}` : `signal ${signal}`));
  });
  child.unref();
  const pid = child.pid ?? 0;
  return { pid, startTime: (await startTimeOf(pid)) ?? '', ended };
}

/** Undefined when the process does not exist, and for a zombie. */
export async function startTimeOf(pid: number): Promise<string | undefined> {
  if (process.platform === 'linux') {
    let stat: string;
    try {
      stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    } catch {
      return undefined;
    }
    // The name in parentheses may contain any character, so fields are counted from its end: state is first, start time is the 20th.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (fields[0] === 'Z' || fields[0] === 'X') return undefined;
    return `${bootId()}/${fields[19] ?? ''}`;
  }
  try {
    const { stdout } = await run('ps', ['-o', 'lstart=', '-p', String(pid)]);
    return stdout.trim() || undefined;
  } catch {
    return undefined;
  }
}

/** Start times count from boot: an equal number after a reboot is another process. */
function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim().slice(0, 8);
  } catch {
    return '';
  }
}

export async function isAlive(id: ProcessId): Promise<boolean> {
  return id.pid > 0 && (await startTimeOf(id.pid)) === id.startTime;
}

/** Sends a signal to exactly this process, never to one that reuses its pid. @returns false when the process has ended. */
export async function signalProcess(id: ProcessId, signal: NodeJS.Signals, group = false): Promise<boolean> {
  if (!(await isAlive(id))) return false;
  try {
    process.kill(group ? -id.pid : id.pid, signal);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}

export interface StopOptions {
  readonly signal: NodeJS.Signals;
  /** Time until the process is killed, milliseconds. */
  readonly graceMs: number;
}

/** Sends the stop signal, then kills the whole group after `graceMs`. @returns the result. */
export async function stopProcess(id: ProcessId, options: StopOptions): Promise<'gone' | 'stopped' | 'killed'> {
  if (!(await signalProcess(id, options.signal))) return 'gone';
  if (await endsWithin(id, options.graceMs)) return 'stopped';
  await signalProcess(id, 'SIGKILL', true);
  await endsWithin(id, 5000);
  return 'killed';
}

async function endsWithin(id: ProcessId, ms: number): Promise<boolean> {
  const deadline = performance.now() + ms;
  for (let wait = 10; ; wait = Math.min(wait * 2, 100)) {
    if (!(await isAlive(id))) return true;
    if (performance.now() > deadline) return false;
    await sleep(wait);
  }
}

/** Resident memory in bytes; undefined when the system does not report it. */
export function memoryOf(pid: number): number | undefined {
  try {
    const kib = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return kib === undefined ? undefined : Number(kib) * 1024;
  } catch {
    return undefined;
  }
}
