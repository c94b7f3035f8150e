/** The Millrace processes of a burst, and what their memory came to. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Pipeline } from '../../../cli/demo/pipeline.ts';
import { projectDir } from '../../../cli/settings/config.ts';

export interface MemberOptions {
  readonly stack: string;
  /** What it runs: names that `millrace run` takes. */
  readonly runs: readonly string[];
  /** A program of test/faults/processes instead of `millrace run`. */
  readonly program?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** `NODE_OPTIONS` that preload one of test/faults/preload. */
export function preloading(name: 'redirect' | 'clock'): string {
  return `--import=${pathToFileURL(join(projectDir, 'test/faults/preload', `${name}.ts`)).href}`;
}

const watchMs = 250;
/** Pauses that would be long for a test. */
const quick = { MILLRACE_REGISTRY_LAG_MS: '1000', MILLRACE_RUNTIME_STAGE_RETRY_MS: '2000' };

/** A place for one process. What ends there by itself is started again, as a supervisor of containers would. */
export class Member implements AsyncDisposable {
  readonly #options: MemberOptions;
  readonly #watch: NodeJS.Timeout;
  #pipeline: Pipeline | undefined;
  /** How often a process ended that nobody had killed. */
  endedByItself = 0;
  /** Largest resident size that any process in this place had, bytes. */
  peakBytes = 0;

  constructor(options: MemberOptions) {
    this.#options = options;
    this.start();
    this.#watch = setInterval(() => this.#look(), watchMs);
  }

  get running(): boolean {
    return this.#pipeline?.running === true;
  }

  /** How often a stage of a process in this place has failed while the others went on. */
  get failedStages(): number {
    const log = this.#pipeline === undefined ? '' : readFileSync(this.#pipeline.log, 'utf8');
    return log.split('a stage has failed').length - 1;
  }

  start(): void {
    const { runs: names, env, ...options } = this.#options;
    this.#pipeline = Pipeline.start({ names, ...options, env: { ...quick, ...env } });
  }

  /** SIGKILL. The place stays empty until `start`. */
  async kill(): Promise<void> {
    const pipeline = this.#pipeline;
    this.#pipeline = undefined;
    await pipeline?.kill();
  }

  /** In order, by SIGTERM. The place stays empty until `start`. */
  async stop(): Promise<void> {
    const pipeline = this.#pipeline;
    this.#pipeline = undefined;
    await pipeline?.[Symbol.asyncDispose]();
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    if (this.#pipeline?.running === true) process.kill(this.#pipeline.pid, signal);
  }

  #look(): void {
    const pipeline = this.#pipeline;
    if (pipeline === undefined) return;
    if (!pipeline.running) {
      this.endedByItself++;
      this.start();
      return;
    }
    this.peakBytes = Math.max(this.peakBytes, residentBytes(pipeline.pid));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#watch);
    this.signal('SIGCONT');
    await this.stop();
  }
}

/** 0 for a process that is gone, or where the system does not tell. */
export function residentBytes(pid: number): number {
  try {
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}
