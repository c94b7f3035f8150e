/** Checks the requirements of a start in advance: one finding for each, with its remedy. */
import { access, constants, stat, statfs } from 'node:fs/promises';
import { freemem, totalmem } from 'node:os';
import { dirname } from 'node:path';
import { findOnPath, type Host } from '../install/command.ts';
import { areJarsInstalled } from '../install/install.ts';
import { findJava } from '../install/java.ts';
import { isMinioInstalled } from '../install/minio.ts';
import { minimumJava, type PortName, titles } from '../parts.ts';
import { servicesOf } from '../stack.ts';
import { portsOf, readRecord } from '../state.ts';
import { holderOf, isFree } from './ports.ts';
import { isAlive } from './process.ts';

export interface DoctorFinding {
  readonly what: string;
  readonly state: 'ok' | 'warning' | 'failed';
  readonly found: string;
  /** Action for the user. */
  readonly remedy?: string;
}

export interface DoctorOptions {
  readonly name: string;
  readonly dir: string;
  readonly host: Host;
}

const gib = 1024 ** 3;

export async function runDoctor(options: DoctorOptions): Promise<readonly DoctorFinding[]> {
  const { host, dir } = options;
  return [
    node(process.versions.node),
    await java(host.env),
    (await areJarsInstalled(host))
      ? { what: 'jars', state: 'ok', found: 'in the cache; Maven is not needed' }
      : await tool('Maven', 'mvn', host, 'the jars cannot be fetched', 'Install Maven 3.8 or newer.'),
    await minioOrGo(host),
    await writable('cache folder', host.cacheDir),
    await writable('stack folder', dir),
    await disk(host.cacheDir, 2),
    await disk(dir, 3),
    memory(freemem(), totalmem(), await isUp(dir)),
    ...(await ports(options)),
  ];
}

export function node(version: string): DoctorFinding {
  const ok = Number(version.split('.')[0]) >= 24;
  return {
    what: 'Node',
    state: ok ? 'ok' : 'failed',
    found: version,
    ...(ok ? {} : { remedy: 'Run `npm run millrace -- doctor`: it uses the Node of the lockfile.' }),
  };
}

async function java(env: Host['env']): Promise<DoctorFinding> {
  try {
    const { major, home } = await findJava(minimumJava, env);
    return { what: 'JDK', state: 'ok', found: `Java ${major} in ${home}` };
  } catch (error) {
    const { message, remedy } = error as { message: string; remedy?: string };
    return { what: 'JDK', state: 'failed', found: message, ...(remedy === undefined ? {} : { remedy }) };
  }
}

async function tool(
  what: string,
  command: string,
  host: Host,
  without: string,
  remedy: string,
): Promise<DoctorFinding> {
  const found = await findOnPath(command, host.env);
  if (found !== undefined) return { what, state: 'ok', found };
  return {
    what,
    state: 'failed',
    found: `no ${command} on the PATH: ${without}`,
    remedy,
  };
}

async function minioOrGo(host: Host): Promise<DoctorFinding> {
  const minio = await findOnPath('minio', host.env);
  if (minio !== undefined) return { what: 'MinIO', state: 'ok', found: minio };
  if (await isMinioInstalled(host)) return { what: 'MinIO', state: 'ok', found: 'in the cache; Go is not needed' };
  return tool('Go, for MinIO', 'go', host, 'MinIO cannot be built', 'Install MinIO, or Go 1.24 or newer.');
}

async function writable(what: string, folder: string): Promise<DoctorFinding> {
  try {
    await access(await nearest(folder), constants.W_OK);
    return { what, state: 'ok', found: folder };
  } catch (error) {
    const remedy = `Make ${folder} writable for you.`;
    return { what, state: 'failed', found: `cannot be written: ${(error as Error).message}`, remedy };
  }
}

/** The folder, or its nearest existing parent: a check creates nothing. */
async function nearest(folder: string): Promise<string> {
  for (let path = folder; path !== dirname(path); path = dirname(path)) {
    const exists = await stat(path).then(
      () => true,
      () => false,
    );
    if (exists) return path;
  }
  return '/';
}

async function disk(folder: string, wantedGib: number): Promise<DoctorFinding> {
  try {
    const { bavail, bsize } = await statfs(await nearest(folder));
    const free = (bavail * bsize) / gib;
    const found = `${free.toFixed(1)} GiB free at ${folder}`;
    if (free >= wantedGib) return { what: 'disk', state: 'ok', found };
    return { what: 'disk', state: 'failed', found, remedy: `Free at least ${wantedGib} GiB there.` };
  } catch (error) {
    return { what: 'disk', state: 'warning', found: `unknown: ${(error as Error).message}` };
  }
}

/** @param running whether the stack already holds its memory. Default: false. */
export function memory(free: number, total: number, running = false): DoctorFinding {
  const found = `${(free / gib).toFixed(1)} of ${(total / gib).toFixed(1)} GiB free`;
  if (running || free >= 3 * gib) return { what: 'memory', state: 'ok', found };
  return { what: 'memory', state: 'warning', found, remedy: 'The stack takes about 2.5 GiB; close other programs.' };
}

async function isUp(dir: string): Promise<boolean> {
  const parts = Object.values((await readRecord(dir))?.parts ?? {});
  return parts.length > 0 && (await Promise.all(parts.map(isAlive))).every(Boolean);
}

async function ports({ name, dir }: DoctorOptions): Promise<DoctorFinding[]> {
  const record = await readRecord(dir);
  if (record === undefined && name !== 'dev') {
    return [{ what: 'ports', state: 'ok', found: 'free ones are chosen at the first start' }];
  }
  const wanted = await portsOf(name, record);
  const findings: DoctorFinding[] = [];
  for (const service of servicesOf(record?.brokers ?? 1)) {
    const part = record?.parts[service.name];
    const running = part !== undefined && (await isAlive(part));
    for (const port of service.ports)
      findings.push(await portFinding(titles[service.name], port, wanted[port], running));
  }
  return findings;
}

async function portFinding(title: string, port: PortName, number: number, running: boolean): Promise<DoctorFinding> {
  const what = `port ${number}`;
  if (running) return { what, state: 'ok', found: `${title} of this stack runs there` };
  if (await isFree(number)) return { what, state: 'ok', found: `free for ${title} (${port})` };
  return {
    what,
    state: 'failed',
    found: `${title} needs it, and ${(await holderOf(number)) ?? 'another process'} has it`,
    remedy: 'Stop that process, or choose another stack: `millrace up --stack NAME`.',
  };
}
