/** State of a stack between commands: ports and secrets, processes, and the configuration for other commands. */
import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { MillraceError } from '../../core/base/errors.ts';
import { freePorts } from './machine/ports.ts';
import { isAlive, type ProcessId, startTimeOf } from './machine/process.ts';
import { defaultPorts, type PartName, type PortName, type Ports } from './parts.ts';
import type { Secrets } from './services/service.ts';

export interface PartRecord extends ProcessId {
  readonly ports: Readonly<Partial<Record<PortName, number>>>;
  /** Log file, absolute. */
  readonly log: string;
  readonly startedAt: string;
}

export interface StackRecord {
  readonly name: string;
  readonly startedAt: string;
  readonly ports: Ports;
  /** Number of brokers, chosen at the first start. Default 1. */
  readonly brokers?: number;
  readonly parts: Readonly<Partial<Record<PartName, PartRecord>>>;
  /** Configuration in the form of core/base/config.ts. It has passwords, so only the owner may read the file. */
  readonly config: Readonly<Record<string, unknown>>;
}

const file = (dir: string): string => join(dir, 'stack.json');
const secretsFile = (dir: string): string => join(dir, 'secrets', 'stack.json');

/** Undefined when the stack was never started, or was wiped. @throws MillraceError CONFIG_INVALID */
export async function readRecord(dir: string): Promise<StackRecord | undefined> {
  return readJson<StackRecord>(file(dir));
}

/**
 * Whether the folder belongs to the named stack: it has the record of a start with this name, or the secrets, which a start writes first.
 * Only such a folder may be removed.
 */
export async function isStackFolder(dir: string, name: string): Promise<boolean> {
  const record = await readRecord(dir);
  if (record !== undefined) return record.name === name;
  return typeof (await readJson<Partial<Secrets>>(secretsFile(dir)))?.stackId === 'string';
}

export async function writeRecord(dir: string, record: StackRecord): Promise<void> {
  await writeJson(file(dir), record);
}

async function readJson<T>(path: string): Promise<T | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    return JSON.parse(text) as T;
  } catch (cause) {
    throw new MillraceError('CONFIG_INVALID', `${path} is damaged: ${(cause as Error).message}`, {
      cause,
      remedy: 'Remove the file; `millrace up` writes it anew.',
    });
  }
}

/** Written by rename, so that no reader sees a partial file. */
async function writeJson(path: string, value: unknown): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  await writeFile(temporary, `${JSON.stringify(value, null, 2)}\n`, { mode: 0o600 });
  await rename(temporary, path);
}

/** Secrets of the stack, generated once; wiping the stack deletes them. */
export async function secretsOf(dir: string): Promise<Secrets> {
  const path = secretsFile(dir);
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const known = await readJson<Secrets>(path);
  if (known !== undefined) return known;
  const password = (): string => randomBytes(18).toString('hex');
  const made: Secrets = {
    superuser: password(),
    owner: password(),
    registry: password(),
    capture: password(),
    s3: password(),
    stackId: randomBytes(16).toString('base64url'),
  };
  await writeJson(path, made);
  return made;
}

/** Recorded ports. At the first start: the default ports for `dev`, free ports for any other name. */
export async function portsOf(name: string, record: StackRecord | undefined): Promise<Ports> {
  if (record !== undefined) return { ...defaultPorts, ...record.ports };
  if (name === 'dev') return defaultPorts;
  const names = Object.keys(defaultPorts) as PortName[];
  const free = await freePorts(names.length);
  return Object.fromEntries(names.map((each, i) => [each, free[i]])) as unknown as Ports;
}

/**
 * Locks the stack: only one command at a time may change it. A lock whose holder has ended is taken over.
 *
 * @throws MillraceError STACK_BUSY
 */
export async function lockStack(dir: string, name: string): Promise<AsyncDisposable> {
  const path = join(dir, 'lock');
  await mkdir(dir, { recursive: true });
  const own: ProcessId = { pid: process.pid, startTime: (await startTimeOf(process.pid)) ?? '' };
  for (let tries = 0; tries < 3; tries += 1) {
    try {
      const handle = await open(path, 'wx', 0o600);
      await handle.writeFile(JSON.stringify(own));
      await handle.close();
      return { [Symbol.asyncDispose]: () => rm(path, { force: true }) };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const holder = await readFile(path, 'utf8').then(
      (text) => parse(text),
      () => undefined,
    );
    if (holder !== undefined && (await isAlive(holder))) {
      throw new MillraceError('STACK_BUSY', `stack ${name} is being started or stopped by pid ${holder.pid}`, {
        remedy: 'Wait for it to end, or end it with Ctrl-C.',
      });
    }
    // A lock file without a holder: its process is between create and write, or was killed there.
    if (holder === undefined) await sleep(200);
    else await rm(path, { force: true });
    if (tries === 1) await rm(path, { force: true });
  }
  throw new MillraceError('STACK_BUSY', `the lock of stack ${name} cannot be taken: ${path}`, { remedy: 'Remove it.' });
}

function parse(text: string): ProcessId | undefined {
  try {
    return JSON.parse(text) as ProcessId;
  } catch {
    return undefined;
  }
}
