/** The replication slot in Postgres: its reader, its lag and its retained WAL. */
import type { ClientBase } from 'pg';

export interface Slot {
  readonly slot: string;
  /** A consumer reads the slot. */
  readonly active: boolean;
  /** Postgres backend that serves the consumer; null without one. */
  readonly reader: number | null;
  /** End of the write-ahead log. */
  readonly walLsn: bigint;
  /** `reserved`, `extended`, `unreserved`, or `lost`: unread WAL has been removed. */
  readonly walStatus: string;
  /** Postgres' reason for the invalidation; null for a valid slot. */
  readonly invalidation: string | null;
  /** LSN confirmed by the consumer: changes before it are not sent again. Null while the slot is being created. */
  readonly confirmedLsn: bigint | null;
  /** Write-ahead log that Postgres keeps because of the slot, bytes. */
  readonly retainedBytes: bigint;
  /** Write-ahead log that the consumer has not confirmed, bytes. */
  readonly confirmedLagBytes: bigint;
  /** Bytes until Postgres invalidates the slot; null when max_slot_wal_keep_size is unlimited. */
  readonly safeBytes: bigint | null;
}

interface Row {
  active: boolean;
  active_pid: number | null;
  wal: string;
  wal_status: string | null;
  invalidation_reason: string | null;
  confirmed: string | null;
  retained: string | null;
  lag: string | null;
  safe: string | null;
}

const query = `
  SELECT active, active_pid, (pg_current_wal_lsn() - '0/0'::pg_lsn)::text AS wal, wal_status, invalidation_reason, safe_wal_size::text AS safe, (confirmed_flush_lsn - '0/0'::pg_lsn)::text AS confirmed,
         pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint::text AS retained,
         pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)::bigint::text AS lag
    FROM pg_replication_slots WHERE slot_name = $1`;

/** @returns undefined without such a slot: a connector that never ran has not created it yet. @throws errors of the database */
export async function readSlot(db: Pick<ClientBase, 'query'>, slot: string): Promise<Slot | undefined> {
  const { rows } = await db.query<Row>(query, [slot]);
  const row = rows[0];
  if (row === undefined) return undefined;
  return {
    slot,
    active: row.active,
    reader: row.active_pid,
    walLsn: BigInt(row.wal),
    walStatus: row.wal_status ?? 'lost',
    invalidation: row.invalidation_reason,
    confirmedLsn: row.confirmed === null ? null : BigInt(row.confirmed),
    retainedBytes: BigInt(row.retained ?? 0),
    confirmedLagBytes: BigInt(row.lag ?? 0),
    safeBytes: row.safe === null ? null : BigInt(row.safe),
  };
}
