/**
 * Keeps connectors running: polls their states in Kafka Connect and restarts failed parts. Debezium's task fails when its database
 * connection is lost and stays failed; Kafka Connect never restarts it.
 *
 * Not its job: configuration (apply.ts), metrics (the listener), and connectors that an operator paused or stopped.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { traceCauses } from '../apply.ts';
import { type Backoff, waitMs } from '../backoff.ts';
import type { ConnectClient, ConnectorStatus } from '../client.ts';

/** Kafka Connect's states, and two more: ABSENT (no such connector) and UNREACHABLE (no answer). */
export type WatchedState = string;

export interface PartState {
  readonly connector: string;
  /** Task number; `connector` for the connector itself. */
  readonly task: number | 'connector';
  readonly state: WatchedState;
}

export interface SupervisorListener {
  /** Called after every round, for every part: `running` is the metric's 1 or 0. */
  state?(part: PartState & { readonly running: boolean }): void;
  /** Called for a part that a connector no longer has. */
  gone?(part: Omit<PartState, 'state'>): void;
  restarted?(event: Omit<PartState, 'state'> & { readonly attempt: number; readonly cause: string }): void;
  /** Called for a failed round or restart; the supervisor continues. */
  failed?(error: Error): void;
}

export interface SupervisorOptions {
  readonly client: Pick<ConnectClient, 'status' | 'restart' | 'restartTask'>;
  readonly connectors: readonly string[];
  readonly listener?: SupervisorListener;
  /** Wait between two rounds, milliseconds. Default 2000. */
  readonly pollMs?: number;
  /** Wait between two restarts of one part. Default 1 s to 60 s. */
  readonly backoff?: Backoff;
  /** After this running time, milliseconds, a part's next failure starts again with the first wait. Default 60,000. */
  readonly stableMs?: number;
  readonly random?: () => number;
  /** Monotonic clock, milliseconds. */
  readonly now?: () => number;
}

interface Part {
  attempt: number;
  /** Earliest time of the next restart. */
  restartAt: number | undefined;
  runningSince: number | undefined;
}

export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #parts = new Map<string, Part>();
  readonly #states = new Map<string, PartState>();
  readonly #now: () => number;
  #restarts = 0;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  /** Last known states. */
  get states(): readonly PartState[] {
    return [...this.#states.values()];
  }

  /** Number of restarts requested so far. */
  get restarts(): number {
    return this.#restarts;
  }

  /** Runs rounds until the signal aborts, then resolves. Errors of Kafka Connect go to the listener. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.round(signal).catch(() => {});
      await sleep(this.#options.pollMs ?? 2000, undefined, { signal }).catch(() => {});
    }
  }

  /** One poll of every connector. */
  async round(signal?: AbortSignal): Promise<void> {
    for (const connector of this.#options.connectors) {
      let status: ConnectorStatus | undefined;
      try {
        status = await this.#options.client.status(connector, signal);
      } catch (error) {
        if (signal?.aborted) return;
        this.#unreachable(connector);
        this.#failed(error);
        continue;
      }
      if (status === undefined) {
        this.#forgetTasks(connector, new Set());
        this.#report({ connector, task: 'connector', state: 'ABSENT' });
        continue;
      }
      this.#forgetTasks(connector, new Set(status.tasks.map((task) => task.id)));
      await this.#look({ connector, task: 'connector', state: status.state }, status.trace, signal);
      for (const task of status.tasks) {
        await this.#look({ connector, task: task.id, state: task.state }, task.trace, signal);
      }
    }
  }

  async #look(at: PartState, trace: string | undefined, signal: AbortSignal | undefined): Promise<void> {
    this.#report(at);
    const key = keyOf(at);
    const part = this.#parts.get(key) ?? { attempt: 0, restartAt: undefined, runningSince: undefined };
    this.#parts.set(key, part);
    const now = this.#now();
    if (at.state === 'RUNNING') {
      part.restartAt = undefined;
      part.runningSince ??= now;
      if (now - part.runningSince >= (this.#options.stableMs ?? 60_000)) part.attempt = 0;
      return;
    }
    part.runningSince = undefined;
    if (at.state !== 'FAILED') return;
    if (part.restartAt === undefined) {
      part.restartAt = now + this.#wait(part.attempt + 1);
      return;
    }
    if (now < part.restartAt) return;
    part.attempt++;
    // Set before the request: a lost answer must not cause a second restart at once.
    part.restartAt = now + this.#wait(part.attempt + 1);
    try {
      const { client } = this.#options;
      const { connector, task } = at;
      if (task === 'connector') await client.restart(connector, { onlyFailed: true }, signal);
      else await client.restartTask(connector, task, signal);
      this.#restarts++;
      const cause = traceCauses(trace ?? '').at(-1) ?? 'no trace';
      this.#options.listener?.restarted?.({ connector, task, attempt: part.attempt, cause });
    } catch (error) {
      if (!signal?.aborted) this.#failed(error);
    }
  }

  #wait(attempt: number): number {
    const backoff = this.#options.backoff ?? { firstMs: 1000, maxMs: 60_000 };
    return waitMs(backoff, attempt, this.#options.random ?? Math.random);
  }

  #report(part: PartState): void {
    this.#states.set(keyOf(part), part);
    this.#options.listener?.state?.({ ...part, running: part.state === 'RUNNING' });
  }

  #unreachable(connector: string): void {
    const known = this.states.filter((part) => part.connector === connector);
    const parts = known.length > 0 ? known : [{ connector, task: 'connector' as const, state: '' }];
    for (const part of parts) this.#report({ ...part, state: 'UNREACHABLE' });
  }

  #forgetTasks(connector: string, present: ReadonlySet<number>): void {
    for (const [key, part] of this.#states) {
      if (part.connector !== connector || part.task === 'connector' || present.has(part.task)) continue;
      this.#states.delete(key);
      this.#parts.delete(key);
      this.#options.listener?.gone?.({ connector, task: part.task });
    }
  }

  #failed(error: unknown): void {
    this.#options.listener?.failed?.(error instanceof Error ? error : new Error(String(error)));
  }
}

function keyOf(part: { readonly connector: string; readonly task: number | 'connector' }): string {
  return `${part.connector}/${part.task}`;
}
