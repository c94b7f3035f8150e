/** A stack of real parts on this machine: start, attach, stop. */
import { access, mkdir, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { MillraceError } from '../../core/base/errors.ts';
import { type Host, installAll } from './install/install.ts';
import { isAlive, memoryOf, signalProcess, stopProcess } from './machine/process.ts';
import { brokerNames, minio as minioPart, type PartName, type Ports, stopOrder, titles } from './parts.ts';
import { alertmanager, findAlertmanager } from './services/alertmanager.ts';
import { connect, secretsFolder } from './services/connect.ts';
import { kafka, moreBrokers } from './services/kafka.ts';
import { minio } from './services/minio.ts';
import { ownerUrl, postgres, strayData } from './services/postgres.ts';
import { prometheus } from './services/prometheus.ts';
import { registry } from './services/registry.ts';
import type { Context, Secrets, Service } from './services/service.ts';
import { requirePorts, requireSpace, startPart, waitPart } from './start.ts';
import {
  isStackFolder,
  lockStack,
  type PartRecord,
  portsOf,
  readRecord,
  type StackRecord,
  secretsOf,
  writeRecord,
} from './state.ts';

/** Parts of a stack with this number of brokers. */
export function servicesOf(brokers: number): readonly Service[] {
  return [postgres, kafka, ...moreBrokers.slice(0, brokers - 1), minio, registry, connect];
}
/** Started on request; they stay part of the stack until it is stopped. */
const monitoring: readonly Service[] = [alertmanager, prometheus];
const serviceOf = new Map([...servicesOf(3), ...monitoring].map((service) => [service.name, service]));

export interface StackEvent {
  /** A part of the stack, or a part being installed. */
  readonly subject: string;
  readonly state: 'installing' | 'starting' | 'ready' | 'running' | 'stopped' | 'killed';
  readonly text?: string;
  /** Time since the start of the part, milliseconds. */
  readonly ms?: number;
}

export interface StackOptions {
  readonly name: string;
  /** Folder of the stack, `.millrace/<name>`, absolute: data, logs, secrets and stack.json. */
  readonly dir: string;
  readonly host: Host;
  /** Also start Prometheus, and Alertmanager if it is on the PATH. Default false. */
  readonly monitoring?: boolean;
  /** Number of brokers at the first start: 1 or 3. Default: that of the existing stack, or 1. */
  readonly brokers?: number;
  readonly onProgress?: (event: StackEvent) => void;
  readonly signal?: AbortSignal;
}

export interface PartStatus {
  readonly name: PartName;
  readonly title: string;
  readonly running: boolean;
  readonly pid: number | undefined;
  readonly ports: readonly number[];
  readonly log: string;
  readonly startedAt: string | undefined;
  /** Resident memory, bytes; undefined when unknown. */
  readonly memory: number | undefined;
}

/**
 * Starts the parts that do not run and returns when every part answers. On an error or an abort it stops only the parts that it started.
 *
 * @throws MillraceError PORT_TAKEN, TOOL_MISSING, INSTALL_FAILED, PART_FAILED, STACK_BUSY
 */
export async function startStack(options: StackOptions): Promise<Stack> {
  const dir = resolve(options.dir);
  const { name, host, onProgress } = options;
  await using _lock = await lockStack(dir, name);
  const stack = await Stack.load({ ...options, dir });
  const missing: Service[] = [];
  for (const service of await wantedOf(options, stack.brokers)) {
    if (!(await stack.isRunning(service.name))) missing.push(service);
  }
  if (missing.length === 0) return stack;
  await requireSpace(dir);
  const signal = options.signal ?? new AbortController().signal;
  const installed = await installAll({
    host,
    signal,
    note: (subject, text) => onProgress?.({ subject, state: 'installing', text }),
  });
  await requirePorts(missing, { name, ports: stack.ports });
  await stack.start(missing, installed, signal);
  return stack;
}

async function wantedOf({ host, monitoring: wanted }: StackOptions, brokers: number): Promise<readonly Service[]> {
  const services = servicesOf(brokers);
  if (wanted !== true) return services;
  const possible = (await findAlertmanager(host)) === undefined ? [prometheus] : monitoring;
  return [...services, ...possible];
}

/** Attaches to a stack that was started before, running or not. @throws MillraceError PART_FAILED: the stack was never started. */
export async function openStack(options: StackOptions): Promise<Stack> {
  const dir = resolve(options.dir);
  if ((await readRecord(dir)) === undefined) {
    throw new MillraceError('PART_FAILED', `there is no stack ${options.name}`, {
      remedy: `Start it with \`millrace up${options.name === 'dev' ? '' : ` --stack ${options.name}`}\`.`,
    });
  }
  return Stack.load({ ...options, dir });
}

/**
 * Stops the running parts, first by their stop signal, then by SIGKILL.
 *
 * @param options `wipe`: also removes the folder with data, logs and secrets. Default false.
 * @returns whether any part was running
 * @throws MillraceError CONFIG_INVALID: the folder does not belong to the stack; nothing was stopped or removed.
 */
export async function stopStack(options: StackOptions & { readonly wipe?: boolean }): Promise<boolean> {
  const dir = resolve(options.dir);
  const exists = await access(dir).then(
    () => true,
    () => false,
  );
  if (!exists) return false;
  if (!(await isStackFolder(dir, options.name))) {
    throw new MillraceError(
      'CONFIG_INVALID',
      `${dir} is not the folder of a stack ${options.name}; nothing was removed`,
      {
        remedy: 'Check --stack, MILLRACE_STACK and MILLRACE_HOME; remove the folder by hand if it is a leftover.',
      },
    );
  }
  let stopped: boolean;
  {
    await using _lock = await lockStack(dir, options.name);
    stopped = await (await Stack.load({ ...options, dir })).stopParts();
  }
  if (options.wipe === true) {
    const stray = await strayData(dir, await secretsOf(dir));
    if (stray !== undefined) await rm(stray, { recursive: true, force: true });
    await rm(dir, { recursive: true, force: true });
  }
  return stopped;
}

export class Stack implements AsyncDisposable {
  readonly name: string;
  readonly dir: string;
  readonly ports: Ports;
  readonly brokers: number;
  readonly #secrets: Secrets;
  readonly #options: StackOptions;
  #record: StackRecord;
  #written: Promise<unknown> = Promise.resolve();
  /** Parts that this object started. */
  readonly startedNow: PartName[] = [];

  private constructor(options: StackOptions, record: StackRecord, secrets: Secrets) {
    this.name = options.name;
    this.dir = options.dir;
    this.ports = record.ports;
    this.brokers = record.brokers ?? 1;
    this.#options = options;
    this.#record = record;
    this.#secrets = secrets;
  }

  static async load(options: StackOptions): Promise<Stack> {
    const { name, dir } = options;
    await mkdir(dir, { recursive: true });
    const before = await readRecord(dir);
    const [ports, secrets] = [await portsOf(name, before), await secretsOf(dir)];
    const brokers = brokersOf(options, before);
    const record: StackRecord = {
      name,
      startedAt: before?.startedAt ?? new Date().toISOString(),
      ports,
      brokers,
      parts: before?.parts ?? {},
      config: configOf(dir, ports, secrets, brokers),
    };
    return new Stack(options, record, secrets);
  }

  /** Configuration in the form of core/base/config.ts. */
  get config(): Readonly<Record<string, unknown>> {
    return this.#record.config;
  }

  part(name: PartName): PartRecord | undefined {
    return this.#record.parts[name];
  }

  async isRunning(name: PartName): Promise<boolean> {
    const part = this.part(name);
    return part !== undefined && (await isAlive(part));
  }

  async status(): Promise<PartStatus[]> {
    const statuses: PartStatus[] = [];
    const started = monitoring.filter(({ name }) => this.part(name) !== undefined);
    for (const service of [...servicesOf(this.brokers), ...started]) {
      const part = this.part(service.name);
      const running = part !== undefined && (await isAlive(part));
      statuses.push({
        name: service.name,
        title: titles[service.name],
        running,
        pid: running ? part.pid : undefined,
        ports: service.ports.map((port) => this.ports[port]),
        log: part?.log ?? join(this.dir, 'logs', `${service.name}.log`),
        startedAt: running ? part.startedAt : undefined,
        memory: running ? memoryOf(part.pid) : undefined,
      });
    }
    return statuses;
  }

  /**
   * Sends a signal to one part, including SIGSTOP and SIGCONT. SIGKILL goes to its whole group. @returns false when the part does not run.
   */
  async kill(name: PartName, signal: NodeJS.Signals): Promise<boolean> {
    const part = this.part(name);
    return part !== undefined && (await signalProcess(part, signal, signal === 'SIGKILL'));
  }

  /** Stops one part if it runs, then starts it with the same ports and data. Returns when it answers. @throws MillraceError PART_FAILED */
  async restart(name: PartName, signal: AbortSignal = new AbortController().signal): Promise<void> {
    const service = required(name);
    const part = this.part(name);
    if (part !== undefined) await stopProcess(part, service.stop);
    await this.start([service], await installAll({ host: this.#options.host, signal }), signal);
  }

  /** Returns when the part answers. @throws MillraceError PART_FAILED */
  async waitReady(name: PartName, signal: AbortSignal = new AbortController().signal): Promise<void> {
    const part = this.part(name);
    if (part === undefined) throw new MillraceError('PART_FAILED', `${titles[name]} was not started`);
    const installed = await installAll({ host: this.#options.host, signal });
    await waitPart(required(name), this.#context(installed, name, signal), part);
  }

  /** Starts the given parts in parallel, each when the parts that it needs answer. If one fails, stops them again. */
  async start(wanted: readonly Service[], installed: Context['installed'], signal: AbortSignal): Promise<void> {
    const failure = new AbortController();
    const both = AbortSignal.any([signal, failure.signal]);
    const begun = performance.now();
    const ready = new Map<PartName, Promise<void>>();
    const startOne = async (service: Service): Promise<void> => {
      await Promise.all(service.needs.map((need) => ready.get(need)));
      both.throwIfAborted();
      this.#tell({ subject: service.name, state: 'starting' });
      await startPart(service, this.#context(installed, service.name, both), (part) =>
        this.#remember(service.name, part),
      );
      this.startedNow.push(service.name);
      this.#tell({ subject: service.name, state: 'ready', ms: performance.now() - begun });
    };
    for (const service of wanted) {
      const starting = startOne(service);
      starting.catch((error: unknown) => failure.abort(error));
      ready.set(service.name, starting);
    }
    await Promise.allSettled(ready.values());
    if (!both.aborted) return;
    await this.stopParts(wanted.map(({ name }) => name));
    signal.throwIfAborted();
    failure.signal.throwIfAborted();
  }

  /** Stops the named parts, or all: writers before the parts they write to. @returns whether any part was running */
  async stopParts(names: readonly PartName[] = stopOrder): Promise<boolean> {
    let any = false;
    for (const name of stopOrder) {
      const part = this.part(name);
      if (part === undefined || !names.includes(name)) continue;
      const how = await stopProcess(part, required(name).stop);
      await this.#remember(name, undefined);
      if (how === 'gone') continue;
      any = true;
      this.#tell({ subject: name, state: how });
    }
    return any;
  }

  /** Stops all parts. Data is kept. */
  async stop(): Promise<void> {
    await using _lock = await lockStack(this.dir, this.name);
    await this.stopParts();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #context(installed: Context['installed'], name: PartName, signal: AbortSignal): Context {
    return {
      name: this.name,
      dir: this.dir,
      ports: this.ports,
      brokers: this.brokers,
      secrets: this.#secrets,
      host: this.#options.host,
      note: (text) => this.#tell({ subject: name, state: 'starting', text }),
      installed,
      signal,
    };
  }

  async #remember(name: PartName, part: PartRecord | undefined): Promise<void> {
    const parts: Partial<Record<PartName, PartRecord>> = { ...this.#record.parts };
    if (part === undefined) delete parts[name];
    else parts[name] = part;
    this.#record = { ...this.#record, parts };
    // Writes are serialised and each has the newest record: parts start in parallel, and none may be lost.
    const write = this.#written.then(() => writeRecord(this.dir, this.#record));
    this.#written = write.catch(() => undefined);
    await write;
  }

  #tell(event: StackEvent): void {
    this.#options.onProgress?.(event);
  }
}

function required(name: PartName): Service {
  const service = serviceOf.get(name);
  if (service === undefined) throw new MillraceError('PART_FAILED', `the stack has no part ${name}`);
  return service;
}

/** @throws MillraceError CONFIG_INVALID: the existing stack has another number of brokers. */
function brokersOf({ name, brokers }: StackOptions, before: StackRecord | undefined): number {
  const known = before === undefined ? undefined : (before.brokers ?? 1);
  if (known === undefined || brokers === undefined || brokers === known) return known ?? brokers ?? 1;
  throw new MillraceError('CONFIG_INVALID', `stack ${name} was made with ${known} broker${known === 1 ? '' : 's'}`, {
    remedy: `Leave --brokers out, or make the stack anew: \`millrace down --wipe --stack ${name}\`.`,
  });
}

function configOf(dir: string, ports: Ports, secrets: Secrets, brokers: number): Readonly<Record<string, unknown>> {
  return {
    kafka: { brokers: brokerNames.slice(0, brokers).map((name) => `127.0.0.1:${ports[name]}`) },
    registry: { url: `http://127.0.0.1:${ports.registry}` },
    connect: { url: `http://127.0.0.1:${ports.connect}` },
    postgres: { url: ownerUrl({ ports, secrets }) },
    s3: {
      endpoint: `http://127.0.0.1:${ports.minio}`,
      region: minioPart.region,
      bucket: minioPart.bucket,
      accessKeyId: minioPart.user,
      secretAccessKey: secrets.s3,
    },
    capture: {
      password: secrets.capture,
      passwordReference: `$\{dir:${secretsFolder(dir)}:capture.password}`,
    },
    runtime: { stateDir: join(dir, 'state') },
  };
}
