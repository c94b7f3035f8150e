import type { Client } from 'pg';

/** The origin of a change, from Debezium. */
export interface ChangeSource {
  readonly op: string | null;
  readonly txId: bigint | null;
  readonly lsn: bigint | null;
}

export interface SnapshotParts {
  /** The text of `pg_current_snapshot()`: `xmin:xmax:xip,…`, 64-bit transaction ids. */
  readonly text: string;
  /** End of the WAL before the snapshot was taken. */
  readonly before: bigint;
  /**
   * LSN before which no invisible transaction has a change: the slot keeps the WAL from there for transactions whose end it has not seen.
   * 0n without a slot.
   */
  readonly floor: bigint;
  /** End of the WAL after the snapshot was taken: every visible change was committed before it. */
  readonly after: bigint;
}

const two32 = 1n << 32n;

/**
 * The state of Postgres at one instant, and the changes of the log that belong to it: those whose transaction is visible. The log's order
 * does not decide. It is the order of commits, and a commit becomes visible shortly after it has its place in the WAL.
 *
 * Debezium writes 32 bits of a streamed change's transaction id, and all 64 of a snapshot row's. 32 bits wrap around after four billion
 * transactions. The LSN never does, so it tells old from new: transactions with changes before `floor` ended long ago. A row that a
 * snapshot of Debezium read has no transaction of its own. It is visible if that reading began before this snapshot.
 */
export class Snapshot {
  readonly parts: SnapshotParts;
  /** All transactions with a smaller id have ended, so their commits are visible. 64 bits. */
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

  /** Begins a transaction that sees this snapshot until it ends. It can write only temporary tables. */
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

  /** Begins a transaction on another connection with the same snapshot. The first transaction must still be open. */
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

  /** The same condition as a DuckDB expression over `_op`, `_tx_id` and `_lsn`. */
  get duckdb(): string {
    const { before, floor } = this.parts;
    const running = [...this.#running].join(', ') || '-1';
    return `CASE WHEN _lsn IS NULL OR _lsn < ${floor} THEN true
      WHEN _op = 'r' OR _tx_id IS NULL THEN _lsn < ${before}
      WHEN (_tx_id & ${two32 - 1n}) IN (${running}) THEN false
      ELSE ((_tx_id - ${this.#next}) & ${two32 - 1n}) >= ${two32 / 2n} END`;
  }
}
