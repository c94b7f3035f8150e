/** Kafka Connect's REST API, the part that we use. Not its job: what to do about an answer. */
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

/** How far a Debezium connector for Postgres has come, as Kafka Connect keeps it. */
export interface CapturePosition {
  /** The furthest that it knows of: no slot that it reads has confirmed more. */
  readonly lsn: bigint;
  /** Commit time of that change, microseconds; 0 when it is not told. */
  readonly time: bigint;
  /** It is within its first snapshot, which does not go on from there: whoever interrupts it has to fill what is missing (recapture/first-snapshot.ts). */
  readonly unfinished: boolean;
}

/** What is left of Debezium's incremental snapshot. */
export interface Unread {
  /** How far the connector has come; 0n before it got anywhere. */
  readonly lsn: bigint;
  /**
   * Tables that are being read, and that wait for it. Undefined when Debezium does not say: from its restart within an incremental snapshot to that one's next portion, its positions
   * name no tables. If it is killed in between, it has forgotten them, and its positions stay like that.
   */
  readonly tables: readonly string[] | undefined;
}

export interface FieldErrors {
  readonly field: string;
  readonly errors: readonly string[];
}

export interface ConnectClientOptions {
  /** e.g. `http://127.0.0.1:8083`. */
  readonly url: string;
  /** Of one request. Default 15,000: validation connects to the database. */
  readonly timeoutMs?: number;
  /** How long a rebalancing worker is asked again. Default 60,000. */
  readonly rebalanceMs?: number;
  readonly random?: () => number;
}

type Offset = z.infer<typeof offsetsShape>['offsets'][number]['offset'] | undefined;

type Method = 'GET' | 'PUT' | 'POST' | 'PATCH' | 'DELETE';

/**
 * Every call may throw MillraceError CONNECT_UNREACHABLE (nobody answers, an answer in 5xx, or a rebalance that does not end) and
 * CONNECTOR_INVALID (the worker refuses the request).
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

  /** The configuration as applied, secrets still as references; undefined when there is no such connector. */
  async config(name: string, signal?: AbortSignal): Promise<ConnectorConfig | undefined> {
    const answer = await this.#call('GET', `${path(name)}/config`, undefined, signal);
    return answer === undefined ? undefined : strings(configShape.parse(answer));
  }

  /** What each task was started with. */
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

  /** The fields that the connector's own validation refuses; empty when it may be applied. */
  async validate(name: string, config: ConnectorConfig, signal?: AbortSignal): Promise<readonly FieldErrors[]> {
    const type = config['connector.class'] ?? '';
    const body = { name, ...config };
    // Asked first, because validation of an unknown class is answered with 500.
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

  /** Creates or replaces. */
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

  /** Ends the tasks and keeps the definition. Returns before they have ended. */
  async stop(name: string, signal?: AbortSignal): Promise<void> {
    await this.#call('PUT', `${path(name)}/stop`, undefined, signal);
  }

  /** Creates a connector that does nothing until it is resumed. */
  async createStopped(name: string, config: ConnectorConfig, signal?: AbortSignal): Promise<void> {
    await this.#call('POST', '/connectors', { name, config, initial_state: 'STOPPED' }, signal);
  }

  /** Where the connector is; undefined when it never got anywhere. Outlives the connector. */
  async position(name: string, signal?: AbortSignal): Promise<CapturePosition | undefined> {
    return positionOf(await this.#offset(name, signal));
  }

  /** What a backfill has still to read. */
  async unread(name: string, signal?: AbortSignal): Promise<Unread> {
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
   * Lets a stopped connector go on from there: it takes no snapshot. `server` is its topic prefix.
   *
   * @throws MillraceError CONNECTOR_INVALID: a number of it would be rounded. CONNECTOR_UNKNOWN
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
   * Makes sure that no task of a stopped connector can write any more, also one that nobody sees: Kafka Connect fences them before it touches
   * offsets, which stay as they are.
   *
   * @throws MillraceError CONNECTOR_INVALID while it is not at rest
   */
  async fence(name: string, signal?: AbortSignal): Promise<void> {
    const answer = await this.#call('GET', `${path(name)}/offsets`, undefined, signal);
    const known = z.object({ offsets: z.array(z.unknown()) }).parse(answer ?? { offsets: [] });
    if (known.offsets.length === 0) await this.deleteOffsets(name, signal);
    else await this.#call('PATCH', `${path(name)}/offsets`, known, signal);
  }

  /** Forgets where a stopped connector was, so that it begins with a new snapshot. */
  async deleteOffsets(name: string, signal?: AbortSignal): Promise<void> {
    await this.#call('DELETE', `${path(name)}/offsets`, undefined, signal);
  }

  /** @returns false when there was no such connector. */
  async delete(name: string, signal?: AbortSignal): Promise<boolean> {
    return (await this.#call('DELETE', path(name), undefined, signal)) !== undefined;
  }

  /** The parsed answer, null when it has no body, undefined for 404. */
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
      // Nobody knows yet who owns what. It passes.
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
  // Transactions overlap: a change may have been written before the commit that was passed on before it. The slot confirms the commit.
  const known = [offset?.lsn, offset?.lsn_proc, offset?.lsn_commit].filter((lsn) => typeof lsn === 'number');
  if (known.length === 0) return undefined;
  const within = offset?.snapshot === 'INITIAL' || offset?.snapshot === true;
  const unfinished = within && offset?.snapshot_completed !== true && offset?.last_snapshot_record !== true;
  return { lsn: BigInt(Math.max(...known)), time: BigInt(offset?.ts_usec ?? 0), unfinished };
}

function path(name: string): string {
  return `/connectors/${encodeURIComponent(name)}`;
}

/** As JSON has it. A position that was rounded would repeat changes or lose them. */
function exact(value: bigint): number {
  const number = Number(value);
  if (Number.isSafeInteger(number)) return number;
  throw new MillraceError('CONNECTOR_INVALID', `a position of ${value} cannot be told to Kafka Connect exactly`);
}

/** Said with 409; but requests that the worker does not pass on, such as for a connector's tasks, end with 500 and the same words. */
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
