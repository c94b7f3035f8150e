/** The replication slot, as Postgres sees it: who reads it, how far behind, and how much disk it holds. */
import type { ClientBase } from 'pg';

export interface Slot {
  readonly slot: string;
  /** A consumer is attached. */
  readonly active: boolean;
  /** Process of Postgres that serves the consumer; null without one. */
  readonly reader: number | null;
  /** Where the write-ahead log ends. */
  readonly walLsn: bigint;
  /** `reserved`, `extended`, `unreserved`, or `lost`: what it has not read is gone. */
  readonly walStatus: string;
  /** Why Postgres gave the slot up; null while it is good. */
  readonly invalidation: string | null;
  /** What its consumer has confirmed: changes before it are not given again. Null while the slot is being made. */
  readonly confirmedLsn: bigint | null;
  /** Write-ahead log that Postgres keeps because of the slot. */
  readonly retainedBytes: bigint;
  /** Write-ahead log that the consumer has not confirmed. */
  readonly confirmedLagBytes: bigint;
  /** Bytes until Postgres gives the slot up; null when max_slot_wal_keep_size is unlimited. */
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

/** @returns undefined when there is no such slot: a connector that never ran has not made it yet. Errors are the database's. */
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
