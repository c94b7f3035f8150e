import type { Client } from 'pg';

/** Where a change came from, as Debezium says it. */
export interface ChangeSource {
  readonly op: string | null;
  readonly txId: bigint | null;
  readonly lsn: bigint | null;
}

export interface SnapshotParts {
  /** As `pg_current_snapshot()` writes it: `xmin:xmax:xip,…`, 64-bit transaction ids. */
  readonly text: string;
  /** Where the WAL ended before the snapshot was taken. */
  readonly before: bigint;
  /**
   * No change of a transaction that was not visible is before this place: the slot keeps the WAL from there on for those that it has not seen the end of.
   * 0n when there is no slot.
   */
  readonly floor: bigint;
  /** Where the WAL ended after it was taken: what is visible was committed before. */
  readonly after: bigint;
}

const two32 = 1n << 32n;

/**
 * What Postgres shows at one instant, and which changes of the log belong to it: those whose transaction is visible. The order of the log does
 * not decide: it is that of commits, and a commit becomes visible a moment after it has its place in the WAL.
 *
 * Debezium writes 32 bits of a streamed change's transaction id, and all 64 of a snapshot row's. 32 bits come again after four billion transactions,
 * so the LSN, which never does, tells old from new: what is before `floor` was written by transactions that had ended long ago. A row that a
 * snapshot of Debezium read has no transaction of its own: it is visible if that reading began before.
 */
export class Snapshot {
  readonly parts: SnapshotParts;
  /** Every transaction with a lesser id has ended: what it committed is visible. 64 bits. */
  readonly endedBefore: bigint;
  readonly #next: bigint;
  readonly #running: ReadonlySet<bigint>;

  constructor(parts: SnapshotParts) {
    this.parts = parts;
    const [xmin = '', xmax = '', running = ''] = parts.text.split(':');
    this.endedBefore = BigInt(xmin);
    this.#next = BigInt(xmax);
    this.#running = new Set(
      running
        .split(',')
        .filter((id) => id !== '')
        .map((id) => BigInt(id) % two32),
    );
  }

  /** Begins a transaction that sees this snapshot until it ends. Temporary tables are all that it may write. */
  static async take(db: Client): Promise<Snapshot> {
    const { rows: at } = await db.query<{ before: string; floor: string }>(
      `SELECT pg_current_wal_insert_lsn() - '0/0' AS before,
              (SELECT coalesce(min(restart_lsn) - '0/0', 0) FROM pg_replication_slots WHERE database = current_database()) AS floor`,
    );
    await db.query('BEGIN ISOLATION LEVEL REPEATABLE READ; SET LOCAL idle_in_transaction_session_timeout = 0');
    const { rows: taken } = await db.query<{ text: string }>('SELECT pg_current_snapshot()::text AS text');
    const { rows: then } = await db.query<{ after: string }>(`SELECT pg_current_wal_insert_lsn() - '0/0' AS after`);
    const { before = '0', floor = '0' } = at[0] ?? {};
    return new Snapshot({
      text: taken[0]?.text ?? '',
      before: BigInt(before),
      floor: BigInt(floor),
      after: BigInt(then[0]?.after ?? '0'),
    });
  }

  /** Begins a transaction on another connection that sees the same as this one's. It has to be asked while that lasts. */
  static async share(db: Client, other: Client): Promise<void> {
    const { rows } = await db.query<{ id: string }>('SELECT pg_export_snapshot() AS id');
    await other.query(
      `BEGIN ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION SNAPSHOT '${rows[0]?.id}'; SET LOCAL idle_in_transaction_session_timeout = 0`,
    );
  }

  sees({ op, txId, lsn }: ChangeSource): boolean {
    const { before, floor } = this.parts;
    if (lsn === null || lsn < floor) return true;
    if (op === 'r' || txId === null) return lsn < before;
    if (this.#running.has(BigInt.asUintN(32, txId))) return false;
    return BigInt.asUintN(32, txId - this.#next) >= two32 / 2n;
  }

  /** The same as an expression in DuckDB over `_op`, `_tx_id` and `_lsn`. */
  get duckdb(): string {
    const { before, floor } = this.parts;
    const running = [...this.#running].join(', ') || '-1';
    return `CASE WHEN _lsn IS NULL OR _lsn < ${floor} THEN true
      WHEN _op = 'r' OR _tx_id IS NULL THEN _lsn < ${before}
      WHEN (_tx_id & ${two32 - 1n}) IN (${running}) THEN false
      ELSE ((_tx_id - ${this.#next}) & ${two32 - 1n}) >= ${two32 / 2n} END`;
  }
}
