/** Brings the source database to the newest schema: the plain SQL files of infra/sql, in the order of their names. */
import { runner } from 'node-pg-migrate';
import { type Client, DatabaseError } from 'pg';
import { MillraceError } from '../core/base/errors.ts';
import { connectPostgres } from '../core/base/postgres.ts';

export interface MigrateOptions {
  /** Connection string of the owner role; it needs CREATEROLE (with REPLICATION) the first time. */
  readonly url: string;
  /** Folder of the migrations. */
  readonly dir: string;
  /** Password of the replication role, set anew each time so that it can be rotated; undefined leaves it as it is. */
  readonly capturePassword?: string;
  /** Where a line per migration goes. Default: nowhere. */
  readonly log?: (line: string) => void;
  readonly signal?: AbortSignal;
}

export const captureRole = 'millrace_capture';

/**
 * Safe to run again and from several processes at once: a lock in the database serialises them, and what was applied is remembered.
 *
 * @returns names of the migrations applied now.
 * @throws MillraceError POSTGRES_UNREACHABLE, POSTGRES_REFUSED; MIGRATION_FAILED: nothing of this run was kept.
 */
export async function migrate(options: MigrateOptions): Promise<readonly string[]> {
  await using client = await connectPostgres({ url: options.url, name: 'millrace migrate', ...signalOf(options) });
  try {
    const applied = await runner({
      dbClient: client,
      dir: options.dir,
      direction: 'up',
      migrationsTable: 'millrace_migrations',
      checkOrder: true,
      singleTransaction: true,
      advisoryLockMode: 'wait',
      verbose: false,
      log: () => {},
    });
    for (const migration of applied) options.log?.(`applied ${migration.name}`);
    if (options.capturePassword !== undefined) await setPassword(client, options.capturePassword);
    return applied.map((migration) => migration.name);
  } catch (cause) {
    throw new MillraceError('MIGRATION_FAILED', `the database schema could not be brought up to date: ${text(cause)}`, {
      cause,
      remedy: 'Fix what the database says and run `millrace db migrate` again; nothing of this run was kept.',
    });
  }
}

/** The statement is put together by the server (format %L): a role statement takes no parameters. */
async function setPassword(client: Client, password: string): Promise<void> {
  const { rows } = await client.query<{ sql: string }>(
    `SELECT format('ALTER ROLE ${captureRole} PASSWORD %L', $1::text) AS sql`,
    [password],
  );
  const sql = rows[0]?.sql;
  if (sql !== undefined) await client.query(sql);
}

function text(cause: unknown): string {
  if (cause instanceof DatabaseError) return `${cause.message} (${cause.code})${cause.hint ? `; ${cause.hint}` : ''}`;
  return cause instanceof Error ? cause.message : String(cause);
}

function signalOf(options: { readonly signal?: AbortSignal }): { signal?: AbortSignal } {
  return options.signal === undefined ? {} : { signal: options.signal };
}
