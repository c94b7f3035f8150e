/** Starts one part and waits until it answers. */
import { mkdir, open, rename, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { MillraceError } from '../../core/base/errors.ts';
import { holderOf, isFree } from './machine/ports.ts';
import { isAlive, type ProcessId, startDetached, stopProcess } from './machine/process.ts';
import { titles } from './parts.ts';
import type { Context, Service } from './services/service.ts';
import type { PartRecord } from './state.ts';

/** Longest wait until a part answers, milliseconds. */
const patienceMs = 120_000;
const oneAskMs = 3000;
const restartPauseMs = 1000;
const oldLogBytes = 20 * 1024 * 1024;

/** @throws MillraceError PORT_TAKEN: names the part, the port and its holder. */
export async function requirePorts(
  services: readonly Service[],
  context: Pick<Context, 'name' | 'ports'>,
): Promise<void> {
  for (const service of services) {
    for (const port of service.ports.map((name) => context.ports[name])) {
      if (await isFree(port)) continue;
      const holder = await holderOf(port);
      throw new MillraceError(
        'PORT_TAKEN',
        `${titles[service.name]} needs port ${port}, which ${holder ?? 'another process'} has`,
        {
          remedy:
            context.name === 'dev'
              ? 'Stop that process, or use another stack, which chooses free ports: `millrace up --stack NAME`.'
              : `Stop that process, or let the stack choose other ports: \`millrace down --wipe --stack ${context.name}\`.`,
        },
      );
    }
  }
}

/** With less free space, bytes, Kafka or Postgres stop during a run. */
const leastSpace = 1024 ** 3;

/** @throws MillraceError PART_FAILED: the disk is almost full. */
export async function requireSpace(dir: string, free: (dir: string) => Promise<number> = freeSpace): Promise<void> {
  const bytes = await free(dir);
  if (bytes >= leastSpace) return;
  throw new MillraceError('PART_FAILED', `the disk is full: ${Math.floor(bytes / 1024 ** 2)} MiB are left at ${dir}`, {
    remedy: 'Free at least 3 GiB there, or set MILLRACE_HOME to a folder on another disk.',
  });
}

async function freeSpace(dir: string): Promise<number> {
  const { bavail, bsize } = await statfs(dir);
  return bavail * bsize;
}

/** Starts the part, reports its process at once, then waits for an answer. @throws MillraceError PART_FAILED with the tail of its log. */
export async function startPart(
  service: Service,
  context: Context,
  recorded: (part: PartRecord) => Promise<void>,
): Promise<void> {
  const { restartAfterMs } = service;
  if (restartAfterMs === undefined) await startOnce(service, context, recorded, patienceMs);
  else await startRepeatedly(service, context, recorded, restartAfterMs);
  await service.prepare?.(context);
}

/** For a part that does not recover by itself: restarted when it ends or does not answer in `withinMs`, until `patienceMs` has passed. */
async function startRepeatedly(
  service: Service,
  context: Context,
  recorded: (part: PartRecord) => Promise<void>,
  withinMs: number,
): Promise<void> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    try {
      await startOnce(service, context, recorded, withinMs);
      return;
    } catch (error) {
      context.signal.throwIfAborted();
      if (performance.now() + withinMs > deadline) throw error;
      context.note('did not come up; it is started again');
      await sleep(restartPauseMs, undefined, { signal: context.signal });
    }
  }
}

/** Starts the part once, and stops it when it does not answer in time. */
async function startOnce(
  service: Service,
  context: Context,
  recorded: (part: PartRecord) => Promise<void>,
  withinMs: number,
): Promise<void> {
  const log = await logFile(context.dir, service.name);
  const launch = await service.launch(context);
  context.signal.throwIfAborted();
  const from = await sizeOf(log);
  let ended: string | undefined;
  let part: ProcessId;
  try {
    const started = await startDetached(launch, log);
    part = started;
    started.ended.then((how) => {
      ended = how;
    });
    await recorded({
      pid: started.pid,
      startTime: started.startTime,
      ports: Object.fromEntries(service.ports.map((name) => [name, context.ports[name]])),
      log,
      startedAt: new Date().toISOString(),
    });
  } catch (cause) {
    throw new MillraceError('PART_FAILED', `${titles[service.name]} cannot be started: ${(cause as Error).message}`, {
      cause,
    });
  }
  try {
    await waitAnswer(service, context, () => ended, { log, from }, withinMs);
  } catch (error) {
    await stopProcess(part, service.stop);
    throw error;
  }
}

/** Waits for a running part. @throws MillraceError PART_FAILED */
export async function waitPart(service: Service, context: Context, part: ProcessId & { log: string }): Promise<void> {
  let gone = false;
  const timer = setInterval(() => {
    isAlive(part).then((alive) => {
      gone = !alive;
    });
  }, 300);
  try {
    await waitAnswer(service, context, () => (gone ? 'no trace' : undefined), { log: part.log, from: 0 });
  } finally {
    clearInterval(timer);
  }
}

interface LogPlace {
  readonly log: string;
  readonly from: number;
}

async function waitAnswer(
  service: Service,
  context: Context,
  ended: () => string | undefined,
  log: LogPlace,
  withinMs = patienceMs,
): Promise<void> {
  const deadline = performance.now() + withinMs;
  let last: unknown;
  for (;;) {
    context.signal.throwIfAborted();
    const how = ended();
    if (how !== undefined) throw await failed(service, `ended with ${how} while starting`, log, undefined);
    try {
      await service.ask(context, oneAskMs);
      return;
    } catch (error) {
      // The part answers with a refusal, such as Postgres for a wrong password: waiting does not help.
      if (error instanceof MillraceError && error.disposition === 'stop') throw error;
      last = error;
    }
    if (performance.now() > deadline) throw await failed(service, 'does not answer', log, last);
    await sleep(100, undefined, { signal: context.signal });
  }
}

async function failed(
  service: Service,
  what: string,
  { log, from }: { readonly log: string; readonly from: number },
  cause: unknown,
): Promise<MillraceError> {
  const tail = (await tailOf(log, 12, from)).map((line) => `\n  ${line.slice(0, 300)}`).join('');
  return new MillraceError('PART_FAILED', `${titles[service.name]} ${what}; its log ends with${tail || ' nothing'}`, {
    cause,
    remedy: `The whole log: \`millrace logs ${service.name}\`. Check memory and disk with \`millrace doctor\`.`,
  });
}

async function logFile(dir: string, name: string): Promise<string> {
  await mkdir(join(dir, 'logs'), { recursive: true });
  const log = join(dir, 'logs', `${name}.log`);
  if ((await sizeOf(log)) > oldLogBytes) await rename(log, `${log}.old`);
  return log;
}

async function sizeOf(path: string): Promise<number> {
  return stat(path).then(
    ({ size }) => size,
    () => 0,
  );
}

/** Last lines of a file, only from byte `from` on. */
export async function tailOf(path: string, lines: number, from = 0): Promise<string[]> {
  try {
    await using file = await open(path);
    const { size } = await file.stat();
    const start = Math.max(from, size - 64 * 1024);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(Math.max(0, size - start)), 0, size - start, start);
    return buffer
      .toString('utf8', 0, bytesRead)
      .split('\n')
      .filter((line) => line.trim() !== '')
      .slice(-lines);
  } catch {
    return [];
  }
}
