/** One Postgres connection, opened with errors that say whether to wait or to fix something. */
import { Client, type ClientConfig, DatabaseError } from 'pg';
import { MillraceError } from './errors.ts';

export interface PostgresOptions {
  readonly url: string;
  /** application_name, as pg_stat_activity shows it. */
  readonly name: string;
  /** Default 10,000. */
  readonly connectTimeoutMs?: number;
  /** Longest wait for the answer to one query; then it fails, and the connection is of no use any more. Default: without end. */
  readonly answerTimeoutMs?: number;
  /** Speaks the replication protocol beside plain statements; the role needs REPLICATION. Default false. */
  readonly replication?: boolean;
  readonly signal?: AbortSignal;
}

/** A connection that ends with its scope: `await using`. Ending it twice is no error. */
export type Postgres = Client & AsyncDisposable;

/** @throws MillraceError POSTGRES_UNREACHABLE: nobody answers, or it is starting; POSTGRES_REFUSED: it answers and says no. */
export async function connectPostgres(options: PostgresOptions): Promise<Postgres> {
  options.signal?.throwIfAborted();
  const config: ClientConfig & { readonly replication?: string } = {
    connectionString: options.url,
    application_name: options.name,
    connectionTimeoutMillis: options.connectTimeoutMs ?? 10_000,
    keepAlive: true,
    ...(options.answerTimeoutMs === undefined ? {} : { query_timeout: options.answerTimeoutMs }),
    ...(options.replication === true ? { replication: 'database' } : {}),
  };
  const client = new Client(config);
  // Without a listener a connection that breaks while idle ends the process; the next query reports it anyway.
  client.on('error', () => {});
  try {
    await client.connect();
    return Object.assign(client, { [Symbol.asyncDispose]: () => client.end().catch(() => {}) });
  } catch (cause) {
    await client.end().catch(() => {});
    throw openError(options.url, cause);
  }
}

function openError(url: string, cause: unknown): MillraceError {
  const at = address(url);
  // 57P03: the server is starting up or shutting down; 53300: too many connections. Both pass.
  if (cause instanceof DatabaseError && cause.code !== '57P03' && cause.code !== '53300') {
    return new MillraceError('POSTGRES_REFUSED', `Postgres at ${at} refuses the connection: ${cause.message}`, {
      cause,
      remedy: 'Check user, password and database name of the Postgres URL.',
    });
  }
  const reason = cause instanceof Error ? cause.message || cause.name : String(cause);
  // What pg itself says when the URL has no password, or the server's proof does not fit it: waiting would not help.
  if (reason.startsWith('SASL')) {
    return new MillraceError('POSTGRES_REFUSED', `Postgres at ${at} refuses the connection: ${reason}`, {
      cause,
      remedy: 'Check user, password and database name of the Postgres URL.',
    });
  }
  return new MillraceError('POSTGRES_UNREACHABLE', `Postgres at ${at} cannot be reached: ${reason}`, {
    cause,
    remedy: 'Start the stack with `millrace up`, or check the Postgres URL.',
  });
}

/** Host, port and database; never the password. */
export function address(url: string): string {
  try {
    const parsed = new URL(url);
    return `${parsed.hostname}:${parsed.port || '5432'}${parsed.pathname}`;
  } catch {
    return 'an invalid URL';
  }
}

/** An advisory lock of this name, until the connection ends. @returns false when somebody has it */
export async function tryLock(db: Pick<Client, 'query'>, name: string): Promise<boolean> {
  const { rows } = await db.query<{ got: boolean }>('SELECT pg_try_advisory_lock(hashtext($1)) AS got', [name]);
  return rows[0]?.got === true;
}
