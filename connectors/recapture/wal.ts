import type { Client } from 'pg';

export interface AdvanceOptions {
  readonly signal?: AbortSignal | undefined;
  /** Bytes written so far, and in total. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** Size of one message, bytes. */
const step = 8_388_608n;

/**
 * Advances the end of the write-ahead log to `to` or beyond, by logical messages without meaning, which need no rights. A Postgres restored
 * to an earlier point would reuse the LSNs of captured changes for other changes. Readers would then take these for duplicates.
 *
 * @returns bytes written; 0 when the log already ends there.
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

/** End of the write-ahead log: everything written until now is before it. */
export async function endOfWal(db: Pick<Client, 'query'>): Promise<bigint> {
  const { rows } = await db.query<{ lsn: string }>("SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::text AS lsn");
  return BigInt(rows[0]?.lsn ?? 0);
}
