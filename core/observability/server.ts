import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Registry } from 'prom-client';
import { MillraceError } from '../base/errors.ts';
import { maskText } from '../base/secrets.ts';
import type { RunningStates } from '../state/shown/running.ts';
import { answerState } from './state-routes.ts';

/** Resolves when the dependency is usable; rejects, or answers false, when it is not. Must obey the signal. */
export type Check = (signal: AbortSignal) => Promise<unknown> | unknown;

export interface ObservabilityOptions {
  readonly registry: Registry;
  /** Asked at every /ready, each on its own: the answer names every one of them. */
  readonly checks?: Readonly<Record<string, Check>>;
  /** The process can no longer do its work: /health answers 503, so that a supervisor restarts it. Default: always healthy. */
  readonly healthy?: () => boolean;
  /** Parts of the process that have failed while the others go on, each with the reason: /health names them. Default: none. */
  readonly failures?: () => Readonly<Record<string, string>>;
  /** The state of the tasks of this process, served for reading at /state. */
  readonly states?: RunningStates;
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** 0 takes a free port; `port` of the result tells which. Default 0. */
  readonly port?: number;
  /** How long one check may take, milliseconds. Default 2000. */
  readonly checkTimeoutMs?: number;
}

export interface ObservabilityServer extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
  readonly url: string;
}

/**
 * Serves /health (the process lives), /ready (its dependencies answer), /metrics (Prometheus text) and, with `states`, /state.
 *
 * @throws MillraceError PORT_TAKEN
 */
export async function openObservability(options: ObservabilityOptions): Promise<ObservabilityServer> {
  const host = options.host ?? '127.0.0.1';
  const closing = new AbortController();
  const server = createServer((request, response) => {
    answer(options, closing.signal, request, response).catch((error: unknown) => {
      if (response.headersSent) response.destroy();
      else send(response, 500, { status: 'error', error: text(error) });
    });
  });
  const port = await listen(server, host, options.port ?? 0);
  let closed: Promise<void> | undefined;
  return {
    host,
    port,
    url: `http://${host.includes(':') ? `[${host}]` : host}:${port}`,
    [Symbol.asyncDispose](): Promise<void> {
      closed ??= new Promise((resolve) => {
        closing.abort();
        server.close(() => resolve());
        server.closeAllConnections();
      });
      return closed;
    },
  };
}

async function answer(
  options: ObservabilityOptions,
  closing: AbortSignal,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('allow', 'GET, HEAD');
    return send(response, 405, { status: 'error', error: 'only GET' });
  }
  const path = (request.url ?? '/').split('?', 1)[0];
  if (path === '/health') {
    const healthy = options.healthy?.() ?? true;
    const failed = Object.entries(options.failures?.() ?? {}).map(([name, reason]) => [name, maskText(reason)]);
    const status = !healthy ? 'failed' : failed.length > 0 ? 'degraded' : 'ok';
    const named = failed.length > 0 ? { failed: Object.fromEntries(failed) } : {};
    return send(response, healthy ? 200 : 503, { status, ...named, uptimeSeconds: process.uptime() });
  }
  if (path === '/ready') {
    const checks = await runChecks(options.checks ?? {}, options.checkTimeoutMs ?? 2000, closing);
    const ready = Object.values(checks).every((check) => check.ok);
    return send(response, ready ? 200 : 503, { status: ready ? 'ready' : 'not ready', checks });
  }
  if (path === '/metrics') {
    response.setHeader('content-type', options.registry.contentType);
    response.end(await options.registry.metrics());
    return;
  }
  const state = options.states === undefined ? undefined : await answerState(options.states, request.url ?? '/');
  if (state !== undefined) return send(response, state.status, state.body);
  const paths = ['/health', '/ready', '/metrics', ...(options.states === undefined ? [] : ['/state'])];
  send(response, 404, { status: 'error', error: 'not found', paths });
}

type CheckResult = { readonly ok: true } | { readonly ok: false; readonly error: string };

async function runChecks(
  checks: Readonly<Record<string, Check>>,
  timeoutMs: number,
  closing: AbortSignal,
): Promise<Record<string, CheckResult>> {
  const results = await Promise.all(
    Object.entries(checks).map(async ([name, check]) => [name, await runCheck(check, timeoutMs, closing)] as const),
  );
  return Object.fromEntries(results);
}

async function runCheck(check: Check, timeoutMs: number, closing: AbortSignal): Promise<CheckResult> {
  const signal = AbortSignal.any([closing, AbortSignal.timeout(timeoutMs)]);
  const { promise: expired, reject } = Promise.withResolvers<never>();
  const expire = () => reject(new Error(closing.aborted ? 'shutting down' : `no answer in ${timeoutMs} ms`));
  signal.addEventListener('abort', expire, { once: true });
  try {
    const result = await Promise.race([Promise.resolve().then(() => check(signal)), expired]);
    return result === false ? { ok: false, error: 'not ready' } : { ok: true };
  } catch (error) {
    return { ok: false, error: text(error) };
  } finally {
    signal.removeEventListener('abort', expire);
  }
}

function send(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store' });
  response.end(`${JSON.stringify(body)}\n`);
}

function text(error: unknown): string {
  return maskText(error instanceof Error ? error.message : String(error));
}

function listen(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      reject(
        cause.code === 'EADDRINUSE'
          ? new MillraceError(
              'PORT_TAKEN',
              `port ${port} on ${host} is taken, so /health and /metrics cannot be served`,
              {
                cause,
                remedy: 'stop what uses the port, or choose another one; 0 takes a free one',
              },
            )
          : cause,
      );
    });
    server.listen({ host, port }, () => {
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : port);
    });
  });
}
