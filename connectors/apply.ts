/** Applies a definition to its connector and proves that the connector runs. */
import { setTimeout as sleep } from 'node:timers/promises';
import { MillraceError } from '../core/base/errors.ts';
import type { ConnectClient, ConnectorStatus, FieldErrors } from './client.ts';
import { type Definition, differences } from './definition/definition.ts';

export interface ApplyOptions {
  /** Longest wait for the connector to run, milliseconds. Default 60,000. */
  readonly timeoutMs?: number;
  /** Time for which a changed connector must stay running, milliseconds: a wrong setting often fails only after a moment. Default 1500. */
  readonly settleMs?: number;
  readonly signal?: AbortSignal;
}

const defaultTimeoutMs = 60_000;

export interface Applied {
  readonly name: string;
  readonly action: 'created' | 'updated' | 'restarted' | 'unchanged';
  /** Names of the changed settings, without values. */
  readonly changed: readonly string[];
  readonly status: ConnectorStatus;
}

/**
 * Idempotent: an equal configuration is not sent again, so nothing restarts.
 *
 * @throws MillraceError CONNECTOR_INVALID: one line per refused field, or the first snapshot is under way. Nothing was changed.
 * @throws MillraceError CONNECTOR_FAILED: the connector was applied and does not run. The message has the causes from the failed task's
 *   trace.
 * @throws MillraceError CONNECT_UNREACHABLE
 */
export async function applyConnector(
  client: ConnectClient,
  definition: Definition,
  options: ApplyOptions = {},
): Promise<Applied> {
  const { name, config } = definition;
  const { signal } = options;
  refuseInvalid(name, await client.validate(name, config, signal));
  const actual = await client.config(name, signal);
  const changed = actual === undefined ? [] : differences(config, actual);
  let action: Applied['action'] = actual === undefined ? 'created' : changed.length > 0 ? 'updated' : 'unchanged';
  if (action === 'updated') await afterFirstSnapshot(client, name, options);
  if (action !== 'unchanged') {
    await client.put(name, config, signal);
  } else {
    const status = await client.status(name, signal);
    if (status !== undefined && !isRunning(status)) action = 'restarted';
  }
  if (action !== 'created' && action !== 'unchanged') {
    await client.resume(name, signal);
    if (action === 'restarted') await client.restart(name, { onlyFailed: true }, signal);
  }
  const status = await waitRunning(
    client,
    definition,
    options,
    action === 'unchanged' ? 0 : (options.settleMs ?? 1500),
  );
  return { name, action, changed, status };
}

/**
 * Other settings restart the task, and a first snapshot cannot continue after a restart. A snapshot that has written nothing yet loses
 * nothing.
 */
async function afterFirstSnapshot(client: ConnectClient, name: string, { timeoutMs, signal }: ApplyOptions) {
  const giveUpAt = performance.now() + (timeoutMs ?? defaultTimeoutMs);
  for (;;) {
    const status = await client.status(name, signal);
    if (status === undefined || !isRunning(status)) return;
    const position = await client.position(name, signal);
    if (position !== undefined && !position.unfinished) return;
    if (performance.now() > giveUpAt) {
      if (position === undefined) return;
      throw new MillraceError(
        'CONNECTOR_INVALID',
        `the first snapshot of connector ${name} is under way: other settings would end it`,
        {
          remedy: 'Apply it again when the snapshot is finished; nothing was changed.',
        },
      );
    }
    // At most one request a second: Connect reads its whole offsets topic to answer.
    await sleep(1_000, undefined, signal === undefined ? {} : { signal });
  }
}

function refuseInvalid(name: string, fields: readonly FieldErrors[]): void {
  if (fields.length === 0) return;
  const lines = fields.map(({ field, errors }) => `  ${field}: ${errors.join('; ')}`);
  throw new MillraceError('CONNECTOR_INVALID', `connector ${name} is not valid:\n${lines.join('\n')}`, {
    remedy: 'Correct the named settings; nothing was changed.',
  });
}

export function isRunning(status: ConnectorStatus): boolean {
  return (
    status.state === 'RUNNING' && status.tasks.length > 0 && status.tasks.every((task) => task.state === 'RUNNING')
  );
}

async function waitRunning(
  client: ConnectClient,
  { name, config }: Definition,
  options: ApplyOptions,
  settleMs: number,
): Promise<ConnectorStatus> {
  const { signal } = options;
  const timeoutMs = options.timeoutMs ?? defaultTimeoutMs;
  const start = performance.now();
  let runningSince: number | undefined;
  let failedSince: number | undefined;
  for (;;) {
    const status = await client.status(name, signal);
    const now = performance.now();
    // A task that still runs with the old settings proves nothing about the new ones.
    const current = (await client.taskConfigs(name, signal)).every((task) => isCurrent(config, task));
    if (status !== undefined && current && isRunning(status)) {
      runningSince ??= now;
      if (now - runningSince >= settleMs) return status;
    } else {
      runningSince = undefined;
    }
    if (status !== undefined && current && failedTrace(status) !== undefined) {
      // After a restart, Connect still reports the old state for a moment.
      failedSince ??= now;
      if (now - failedSince >= 3000) throw failure(status);
    } else {
      failedSince = undefined;
    }
    if (now - start > timeoutMs)
      throw failure(status ?? { name, state: 'absent', worker: '', trace: undefined, tasks: [] });
    await sleep(200, undefined, signal === undefined ? {} : { signal });
  }
}

function isCurrent(config: Definition['config'], task: Definition['config']): boolean {
  return Object.entries(config).every(([key, value]) => task[key] === undefined || task[key] === value);
}

function failedTrace(status: ConnectorStatus): string | undefined {
  if (status.state === 'FAILED') return status.trace ?? '';
  const task = status.tasks.find(({ state }) => state === 'FAILED');
  return task === undefined ? undefined : (task.trace ?? '');
}

function failure(status: ConnectorStatus): MillraceError {
  const trace = failedTrace(status);
  const tasks = status.tasks.map((task) => `task ${task.id} ${task.state}`).join(', ') || 'no task';
  const causes =
    trace === undefined
      ? ''
      : `\n${traceCauses(trace)
          .map((line) => `  ${line}`)
          .join('\n')}`;
  return new MillraceError(
    'CONNECTOR_FAILED',
    `connector ${status.name} does not run: ${status.state}, ${tasks}${causes}`,
    {
      remedy: 'Correct what the last cause names, then run `millrace connectors apply` again.',
      ...(trace ? { cause: javaError(trace) } : {}),
    },
  );
}

/** The worker's error; its Java trace is the stack. */
function javaError(trace: string): Error {
  const error = new Error(traceCauses(trace).at(-1) ?? trace.slice(0, 200));
  error.stack = trace;
  return error;
}

/** The exceptions of a Java trace from the outermost to the root, without their frames. */
export function traceCauses(trace: string): readonly string[] {
  const causes: string[] = [];
  for (const line of trace.split('\n')) {
    if (/^\s*(at\s|\.\.\.\s\d+ more)/.test(line) || line.trim() === '') continue;
    causes.push(line.trim());
  }
  return causes;
}
