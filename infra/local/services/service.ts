/** Description of a part for the stack, which starts it, waits for it and stops it. */
import type { Host } from '../install/command.ts';
import type { Installed } from '../install/install.ts';
import type { Launch, StopOptions } from '../machine/process.ts';
import type { PartName, PortName, Ports } from '../parts.ts';

/** Secrets, generated once per stack. */
export interface Secrets {
  readonly superuser: string;
  readonly owner: string;
  readonly registry: string;
  readonly capture: string;
  readonly s3: string;
  /** Id in the name of everything outside the stack's folder. */
  readonly stackId: string;
}

export interface Context {
  readonly name: string;
  /** Folder of the stack, `.millrace/<name>`, absolute. */
  readonly dir: string;
  readonly ports: Ports;
  /** Number of brokers: 1 or 3. */
  readonly brokers: number;
  readonly secrets: Secrets;
  readonly installed: Installed;
  readonly host: Host;
  readonly note: (text: string) => void;
  readonly signal: AbortSignal;
}

export interface Service {
  readonly name: PartName;
  /** Ports on which the part listens. */
  readonly ports: readonly PortName[];
  /**
   * Time without an answer after which the part is restarted, milliseconds; it is also restarted when it ends. For a part that does not
   * recover by itself from a failed start. Default: the stack only waits.
   */
  readonly restartAfterMs?: number;
  /** Parts that must answer before this one is started. */
  readonly needs: readonly PartName[];
  readonly stop: StopOptions;
  /** Writes the part's files and returns the command to start it. Idempotent. */
  launch(context: Context): Promise<Launch>;
  /** One health check. @throws any error until the part answers properly */
  ask(context: Context, timeoutMs: number): Promise<void>;
  /** Called when the part answers, before its dependents are started. Idempotent. */
  prepare?(context: Context): Promise<void>;
}

/**
 * A minimal environment: the user's shell cannot change the behaviour of a part, except by `MILLRACE_JAVA_OPTIONS`. These options go to each JVM
 * of the stack. Example: `-XX:TieredStopAtLevel=1` for a stack that lives for a minute, where the second compiler costs more than it saves.
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

/** @throws unless the response has a success status */
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
