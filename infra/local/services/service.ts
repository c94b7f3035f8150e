/** What every part of the stack tells about itself. Starting, waiting and stopping are the stack's. */
import type { Host } from '../install/command.ts';
import type { Installed } from '../install/install.ts';
import type { Launch, StopOptions } from '../machine/process.ts';
import type { PartName, PortName, Ports } from '../parts.ts';

/** Generated once per stack. */
export interface Secrets {
  readonly superuser: string;
  readonly owner: string;
  readonly registry: string;
  readonly capture: string;
  readonly s3: string;
  /** Names what lies outside of its folder. */
  readonly stackId: string;
}

export interface Context {
  readonly name: string;
  /** `.millrace/<name>`, absolute. */
  readonly dir: string;
  readonly ports: Ports;
  /** Brokers of the stack: 1 or 3. */
  readonly brokers: number;
  readonly secrets: Secrets;
  readonly installed: Installed;
  readonly host: Host;
  readonly note: (text: string) => void;
  readonly signal: AbortSignal;
}

export interface Service {
  readonly name: PartName;
  /** The ports it listens on. */
  readonly ports: readonly PortName[];
  /**
   * How long it may run without an answer, milliseconds; then, or when it ends, it is started again. For a part that does not recover by itself from a
   * failure while starting. Default: it is only waited for.
   */
  readonly restartAfterMs?: number;
  /** Parts that have to answer before this one is started. */
  readonly needs: readonly PartName[];
  readonly stop: StopOptions;
  /** Writes what it needs on disk and tells how to start it. Idempotent. */
  launch(context: Context): Promise<Launch>;
  /** One question to it. @throws anything as long as it does not answer properly. */
  ask(context: Context, timeoutMs: number): Promise<void>;
  /** Once it answers, before others that need it are started. Idempotent. */
  prepare?(context: Context): Promise<void>;
}

/**
 * A minimal environment: nothing of the user's shell changes what a part does, except `MILLRACE_JAVA_OPTIONS`. Those are options of every JVM of
 * the stack, such as `-XX:TieredStopAtLevel=1` for a stack that lives for a minute: the second compiler costs it more than it saves.
 */
export function cleanEnv(host: Host, more: Readonly<Record<string, string>> = {}): Record<string, string> {
  const env: Record<string, string> = { LC_ALL: 'C.UTF-8', TZ: 'UTC' };
  for (const name of ['PATH', 'HOME', 'TMPDIR', 'USER']) {
    const value = host.env[name];
    if (value !== undefined) env[name] = value;
  }
  const java = host.env['MILLRACE_JAVA_OPTIONS'];
  if (java !== undefined) env['JAVA_TOOL_OPTIONS'] = java;
  return { ...env, ...more };
}

/** @throws unless the answer is a success. */
export async function askHttp(url: string, timeoutMs: number): Promise<Response> {
  const response = await fetch(url, { signal: AbortSignal.timeout(timeoutMs), redirect: 'manual' });
  if (!response.ok) {
    await response.body?.cancel();
    throw new Error(`${url} answers ${response.status}`);
  }
  return response;
}

export function properties(settings: Readonly<Record<string, string>>): string {
  return Object.entries(settings)
    .map(([key, value]) => `${key}=${value.replaceAll('\\', '\\\\')}\n`)
    .join('');
}
