/** Client of Kafka Connect's REST API, limited to the calls in use. Not its job: reactions to an answer. */
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { MillraceError } from '../core/base/errors.ts';
import { waitMs } from './backoff.ts';
import type { ConnectorConfig } from './definition/definition.ts';

const state = z.string();
const statusShape = z.object({
  name: z.string(),
  connector: z.object({ state, worker_id: z.string(), trace: z.string().optional() }),
  tasks: z.array(z.object({ id: z.number(), state, worker_id: z.string(), trace: z.string().optional() })),
});
const validationShape = z.object({
  error_count: z.number(),
  configs: z.array(z.object({ value: z.object({ name: z.string(), errors: z.array(z.string()) }) })),
});
const pluginsShape = z.array(z.object({ class: z.string() }));
const configShape = z.record(z.string(), z.string().nullable());
const number = z.number().int();
const offsetsShape = z.object({
  offsets: z.array(
    z.object({
      partition: z.record(z.string(), z.unknown()),
      offset: z
        .looseObject({
          lsn: number.nullish(),
          lsn_proc: number.nullish(),
          lsn_commit: number.nullish(),
          ts_usec: number.nullish(),
          snapshot: z.union([z.string(), z.boolean()]).nullish(),
          snapshot_completed: z.boolean().nullish(),
          last_snapshot_record: z.boolean().nullish(),
          incremental_snapshot_collections: z.string().nullish(),
        })
        .nullable(),
    }),
  ),
});
const collectionsShape = z.array(z.looseObject({ incremental_snapshot_collections_id: z.string() }));
const tasksShape = z.array(z.object({ id: z.object({ task: z.number() }), config: configShape }));

/** States are Kafka Connect's: RUNNING, PAUSED, STOPPED, UNASSIGNED, RESTARTING, FAILED. */
export interface ConnectorStatus {
  readonly name: string;
  readonly state: string;
  readonly worker: string;
  readonly trace: string | undefined;
  readonly tasks: readonly TaskStatus[];
}

export interface TaskStatus {
  readonly id: number;
  readonly state: string;
  readonly worker: string;
  /** Java stack trace of a failed task. */
  readonly trace: string | undefined;
}

/** Position of a Debezium connector for Postgres, as Kafka Connect stores it. */
export interface CapturePosition {
  /** The greatest LSN in the position: no slot that the connector reads has confirmed more. */
  readonly lsn: bigint;
  /** Commit time of that change, microseconds; 0 when unknown. */
  readonly time: bigint;
  /**
   * The connector is within its first snapshot, which cannot continue from this position. After an interruption the missing rows must be
   * filled (recapture/first-snapshot.ts).
   */
  readonly unfinished: boolean;
}

/** Tables that Debezium's incremental snapshot has still to read. */
export interface SnapshotBacklog {
  /** Position of the connector; 0n without one. */
  readonly lsn: bigint;
  /**
   * Tables being read or queued. Undefined when the position names none: after a restart within an incremental snapshot, until its next
   * portion. If Debezium is killed in that time, it has lost the tables, and the value stays undefined.
   */
  readonly tables: readonly string[] | undefined;
}

export interface FieldErrors {
  readonly field: string;
  readonly errors: readonly string[];
}

export interface ConnectClientOptions {
  /** Base URL, e.g. `http://127.0.0.1:8083`. */
  readonly url: string;
  /** Timeout of one request, milliseconds. Default 15,000: validation connects to the database. */
  readonly timeoutMs?: number;
  /** Time for which requests to a rebalancing worker are retried, milliseconds. Default 60,000. */
  readonly rebalanceMs?: number;
  readonly random?: () => number;
}

type Offset = z.infer<typeof offsetsShape>['offsets'][number]['offset'] | undefined;

type Method = 'GET' | 'PUT' | 'POST' | 'PATCH' | 'DELETE';

/**
 * Every call may throw.
 *
 * @throws MillraceError CONNECT_UNREACHABLE: no answer, a 5xx answer, or a rebalance that does not end.
 * @throws MillraceError CONNECTOR_INVALID: the worker refuses the request.
 */
export class ConnectClient {
  readonly url: string;
  readonly #timeoutMs: number;
  readonly #rebalanceMs: number;
  readonly #random: () => number;

  constructor(options: ConnectClientOptions) {
    this.url = options.url.replace(/\/+$/, '');
    this.#timeoutMs = options.timeoutMs ?? 15_000;
    this.#rebalanceMs = options.rebalanceMs ?? 60_000;
    this.#random = options.random ?? Math.random;
  }

  async names(signal?: AbortSignal): Promise<readonly string[]> {
    return z.array(z.string()).parse(await this.#call('GET', '/connectors', undefined, signal));
  }

  /** The applied configuration, secrets still as references; undefined when there is no such connector. */
  async config(name: string, signal?: AbortSignal): Promise<ConnectorConfig | undefined> {
    const answer = await this.#call('GET', `${path(name)}/config`, undefined, signal);
    return answer === undefined ? undefined : strings(configShape.parse(answer));
  }

  /** Configuration with which each task was started. */
  async taskConfigs(name: string, signal?: AbortSignal): Promise<readonly ConnectorConfig[]> {
    const answer = await this.#call('GET', `${path(name)}/tasks`, undefined, signal);
    return answer === undefined ? [] : tasksShape.parse(answer).map((task) => strings(task.config));
  }

  async status(name: string, signal?: AbortSignal): Promise<ConnectorStatus | undefined> {
    const answer = await this.#call('GET', `${path(name)}/status`, undefined, signal);
    if (answer === undefined) return undefined;
    const { connector, tasks } = statusShape.parse(answer);
    return {
      name,
      state: connector.state,
      worker: connector.worker_id,
      trace: connector.trace,
      tasks: tasks.map((task) => ({ id: task.id, state: task.state, worker: task.worker_id, trace: task.trace })),
    };
  }

  /** Fields that the connector's own validation refuses; empty when the configuration may be applied. */
  async validate(name: string, config: ConnectorConfig, signal?: AbortSignal): Promise<readonly FieldErrors[]> {
    const type = config['connector.class'] ?? '';
    const body = { name, ...config };
    // Checked first, because Connect answers 500 to the validation of an unknown class.
    const plugins = pluginsShape.parse(await this.#call('GET', '/connector-plugins', undefined, signal));
    if (!plugins.some((plugin) => plugin.class === type)) {
      const known = plugins.map((plugin) => plugin.class).join(', ');
      return [
        { field: 'connector.class', errors: [`Kafka Connect has no plugin ${JSON.stringify(type)}; it has ${known}`] },
      ];
    }
    const answer = await this.#call(
      'PUT',
      `/connector-plugins/${encodeURIComponent(type)}/config/validate`,
      body,
      signal,
    );
    return validationShape
      .parse(answer)
      .configs.filter(({ value }) => value.errors.length > 0)
      .map(({ value }) => ({ field: value.name, errors: value.errors }));
  }

  /** Creates or replaces the connector. */
  async put(name: string, config: ConnectorConfig, signal?: AbortSignal): Promise<void> {
    await this.#call('PUT', `${path(name)}/config`, config, signal);
  }

  /** @returns false when there is no such connector. */
  async restart(name: string, options: { readonly onlyFailed: boolean }, signal?: AbortSignal): Promise<boolean> {
    const query = `includeTasks=true&onlyFailed=${options.onlyFailed}`;
    return (await this.#call('POST', `${path(name)}/restart?${query}`, undefined, signal)) !== undefined;
  }

  /** @returns false when there is no such task. */
  async restartTask(name: string, task: number, signal?: AbortSignal): Promise<boolean> {
    return (await this.#call('POST', `${path(name)}/tasks/${task}/restart`, undefined, signal)) !== undefined;
  }

  async resume(name: string, signal?: AbortSignal): Promise<void> {
    await this.#call('PUT', `${path(name)}/resume`, undefined, signal);
  }

  async pause(name: string, signal?: AbortSignal): Promise<void> {
    await this.#call('PUT', `${path(name)}/pause`, undefined, signal);
  }

  /** Stops the tasks and keeps the definition. Returns before the tasks have ended. */
  async stop(name: string, signal?: AbortSignal): Promise<void> {
    await this.#call('PUT', `${path(name)}/stop`, undefined, signal);
  }

  /** Creates a connector in the state STOPPED. */
  async createStopped(name: string, config: ConnectorConfig, signal?: AbortSignal): Promise<void> {
    await this.#call('POST', '/connectors', { name, config, initial_state: 'STOPPED' }, signal);
  }

  /** Position of the connector; undefined without one. It outlives the connector. */
  async position(name: string, signal?: AbortSignal): Promise<CapturePosition | undefined> {
    return positionOf(await this.#offset(name, signal));
  }

  /** Tables that an incremental snapshot has still to read. */
  async unread(name: string, signal?: AbortSignal): Promise<SnapshotBacklog> {
    const offset = await this.#offset(name, signal);
    const lsn = positionOf(offset)?.lsn ?? 0n;
    const collections = offset?.incremental_snapshot_collections;
    if (collections == null && offset?.snapshot === 'INCREMENTAL') return { lsn, tables: undefined };
    const tables = collectionsShape.parse(JSON.parse(collections ?? '[]'));
    return { lsn, tables: tables.map(({ incremental_snapshot_collections_id: table }) => table) };
  }

  async #offset(name: string, signal: AbortSignal | undefined): Promise<Offset> {
    const answer = await this.#call('GET', `${path(name)}/offsets`, undefined, signal);
    return answer === undefined ? undefined : offsetsShape.parse(answer).offsets[0]?.offset;
  }

  /**
   * Sets the position of a stopped connector, which then takes no snapshot. @param server topic prefix
   *
   * @throws MillraceError CONNECTOR_INVALID: JSON would round a number of the position.
   * @throws MillraceError CONNECTOR_UNKNOWN
   */
  async setPosition(
    name: string,
    server: string,
    { lsn, time }: Pick<CapturePosition, 'lsn' | 'time'>,
    signal?: AbortSignal,
  ): Promise<void> {
    const at = exact(lsn);
    const offset = { lsn: at, lsn_proc: at, lsn_commit: at, ts_usec: exact(time), messageType: 'COMMIT' };
    const body = { offsets: [{ partition: { server }, offset }] };
    const answer = await this.#call('PATCH', `${path(name)}/offsets`, body, signal);
    if (answer !== undefined) return;
    throw new MillraceError('CONNECTOR_UNKNOWN', `Kafka Connect has no connector ${name}: its position was not set`, {
      remedy: 'Run the command again: it creates the connector.',
    });
  }

  /**
   * Fences all tasks of a stopped connector, including tasks on a lost worker. Kafka Connect fences before it alters offsets. The offsets
   * stay as they are.
   *
   * @throws MillraceError CONNECTOR_INVALID: the connector is not stopped.
   */
  async fence(name: string, signal?: AbortSignal): Promise<void> {
    const answer = await this.#call('GET', `${path(name)}/offsets`, undefined, signal);
    const known = z.object({ offsets: z.array(z.unknown()) }).parse(answer ?? { offsets: [] });
    if (known.offsets.length === 0) await this.deleteOffsets(name, signal);
    else await this.#call('PATCH', `${path(name)}/offsets`, known, signal);
  }

  /** Deletes the offsets of a stopped connector, so that it begins with a new snapshot. */
  async deleteOffsets(name: string, signal?: AbortSignal): Promise<void> {
    await this.#call('DELETE', `${path(name)}/offsets`, undefined, signal);
  }

  /** @returns false when there was no such connector. */
  async delete(name: string, signal?: AbortSignal): Promise<boolean> {
    return (await this.#call('DELETE', path(name), undefined, signal)) !== undefined;
  }

  /** The parsed answer; null for an empty body, undefined for 404. */
  async #call(method: Method, route: string, body: unknown, signal?: AbortSignal): Promise<unknown> {
    const deadline = performance.now() + this.#rebalanceMs;
    for (let attempt = 1; ; attempt++) {
      const { status, text } = await this.#request(method, route, body, signal);
      if (status === 404) return undefined;
      if (status < 300) return text === '' ? null : JSON.parse(text);
      const message = messageOf(text);
      if (!isRebalance(status, message)) {
        const code = status < 500 ? 'CONNECTOR_INVALID' : 'CONNECT_UNREACHABLE';
        throw new MillraceError(code, `Kafka Connect answers ${status} to ${method} ${route}: ${message}`);
      }
      // A rebalance is under way; it ends by itself.
      const wait = waitMs({ firstMs: 200, maxMs: 3000 }, attempt, this.#random);
      if (performance.now() + wait > deadline) {
        throw new MillraceError(
          'CONNECT_UNREACHABLE',
          `Kafka Connect is still rebalancing after ${this.#rebalanceMs} ms: ${message}`,
        );
      }
      await sleep(wait, undefined, signal === undefined ? {} : { signal });
    }
  }

  async #request(method: Method, route: string, body: unknown, signal: AbortSignal | undefined) {
    signal?.throwIfAborted();
    const timeout = AbortSignal.timeout(this.#timeoutMs);
    try {
      const response = await fetch(this.url + route, {
        method,
        signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
        headers: { accept: 'application/json', 'content-type': 'application/json' },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      return { status: response.status, text: await response.text() };
    } catch (cause) {
      signal?.throwIfAborted();
      const reason = timeout.aborted ? `no answer within ${this.#timeoutMs} ms` : reasonOf(cause);
      throw new MillraceError('CONNECT_UNREACHABLE', `Kafka Connect at ${this.url} cannot be reached: ${reason}`, {
        cause,
        remedy: 'Start the stack with `millrace up`, look at `millrace logs connect`, or check the Connect URL.',
      });
    }
  }
}

function positionOf(offset: Offset): CapturePosition | undefined {
  // Transactions overlap: a change may lie before the last commit already passed on. The slot confirms the commit.
  const known = [offset?.lsn, offset?.lsn_proc, offset?.lsn_commit].filter((lsn) => typeof lsn === 'number');
  if (known.length === 0) return undefined;
  const within = offset?.snapshot === 'INITIAL' || offset?.snapshot === true;
  const unfinished = within && offset?.snapshot_completed !== true && offset?.last_snapshot_record !== true;
  return { lsn: BigInt(Math.max(...known)), time: BigInt(offset?.ts_usec ?? 0), unfinished };
}

function path(name: string): string {
  return `/connectors/${encodeURIComponent(name)}`;
}

/** A JSON number. A rounded position would repeat or lose changes. */
function exact(value: bigint): number {
  const number = Number(value);
  if (Number.isSafeInteger(number)) return number;
  throw new MillraceError('CONNECTOR_INVALID', `a position of ${value} cannot be told to Kafka Connect exactly`);
}

/** Connect answers 409 during a rebalance. Some requests, such as for a connector's tasks, answer 500 with the same message. */
function isRebalance(status: number, message: string): boolean {
  return status === 409 || (status === 500 && /because a rebalance is expected/.test(message));
}

function strings(config: Record<string, string | null>): ConnectorConfig {
  return Object.fromEntries(Object.entries(config).filter((entry): entry is [string, string] => entry[1] !== null));
}

function messageOf(text: string): string {
  try {
    return z.object({ message: z.string() }).parse(JSON.parse(text)).message;
  } catch {
    return text.slice(0, 500) || 'no reason given';
  }
}

function reasonOf(cause: unknown): string {
  const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
  return inner instanceof Error ? inner.message || inner.name : String(inner);
}
