/** Migrates the source database to the newest schema: the plain SQL files of infra/sql, in name order. */
import { runner } from 'node-pg-migrate';
import { type Client, DatabaseError } from 'pg';
import { MillraceError } from '../core/base/errors.ts';
import { connectPostgres } from '../core/base/postgres.ts';

export interface MigrateOptions {
  /** Connection string of the owner role; the first run needs CREATEROLE (with REPLICATION). */
  readonly url: string;
  /** Folder of the migrations. */
  readonly dir: string;
  /** Password of the replication role, set at each run so that it can be rotated. Default: unchanged. */
  readonly capturePassword?: string;
  /** Receives one line per migration. Default: none. */
  readonly log?: (line: string) => void;
  readonly signal?: AbortSignal;
}

export const captureRole = 'millrace_capture';

/**
 * Safe to repeat, and safe from several processes at once: a lock in the database serialises them, and applied migrations are recorded.
 *
 * @returns names of the migrations applied now.
 * @throws MillraceError POSTGRES_UNREACHABLE, POSTGRES_REFUSED
 * @throws MillraceError MIGRATION_FAILED: nothing of this run was kept.
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

/** The server builds the statement (format %L), because a role statement takes no parameters. */
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
