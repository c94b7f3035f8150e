import type { Client } from 'pg';

export interface AdvanceOptions {
  readonly signal?: AbortSignal | undefined;
  /** Bytes moved so far, of so many. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** Bytes of one message. */
const step = 8_388_608n;

/**
 * Moves the end of the write-ahead log to `to` or beyond, by messages that mean nothing: that needs no rights. A Postgres that was restored to an
 * earlier point would give the LSNs of changes that were captured to other ones, and whoever has seen those would take these for the same,
 * delivered again.
 *
 * @returns bytes moved; 0 when the log ends there already.
 */
export async function advanceWal(db: Client, to: bigint, { signal, onProgress }: AdvanceOptions = {}): Promise<bigint> {
  const from = await endOfWal(db);
  let at = from;
  while (at < to) {
    signal?.throwIfAborted();
    onProgress?.(Number(at - from), Number(to - from));
    const bytes = to - at < step ? to - at : step;
    await db.query("SELECT pg_logical_emit_message(false, 'millrace', repeat(' ', $1))", [Number(bytes)]);
    at = await endOfWal(db);
  }
  return at - from;
}

/** Everything that was written until now is before it. */
export async function endOfWal(db: Pick<Client, 'query'>): Promise<bigint> {
  const { rows } = await db.query<{ lsn: string }>("SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::text AS lsn");
  return BigInt(rows[0]?.lsn ?? 0);
}
