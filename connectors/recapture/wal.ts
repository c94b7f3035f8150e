import type { Client } from 'pg';
import { MillraceError } from '../../core/errors.ts';

export interface AdvanceOptions {
  readonly signal?: AbortSignal | undefined;
  /** Bytes moved so far, of so many. */
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * Moves the end of the write-ahead log to `to` or beyond, a segment at a time. A Postgres that was restored to an earlier point would give the
 * LSNs of changes that were captured to other ones, and whoever has seen those would take these for the same, delivered again.
 *
 * @returns bytes moved; 0 when the log ends there already.
 * @throws MillraceError POSTGRES_REFUSED when the role may not.
 */
export async function advanceWal(db: Client, to: bigint, { signal, onProgress }: AdvanceOptions = {}): Promise<bigint> {
  const from = await endOfWal(db);
  for (let at = from; at < to; at = await endOfWal(db)) {
    signal?.throwIfAborted();
    onProgress?.(Number(at - from), Number(to - from));
    try {
      // A switch does nothing while the segment is empty.
      await db.query("SELECT pg_logical_emit_message(false, 'millrace', 'moved on')");
      await db.query('SELECT pg_switch_wal()');
    } catch (cause) {
      throw new MillraceError('POSTGRES_REFUSED', 'the write-ahead log cannot be moved on past what was captured', {
        cause,
        remedy:
          'Grant the role EXECUTE on pg_switch_wal() and pg_logical_emit_message(boolean, text, text), or use a superuser.',
      });
    }
  }
  return (await endOfWal(db)) - from;
}

async function endOfWal(db: Client): Promise<bigint> {
  const { rows } = await db.query<{ lsn: string }>("SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::text AS lsn");
  return BigInt(rows[0]?.lsn ?? 0);
}
