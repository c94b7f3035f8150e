import type { Client } from 'pg';
import { type Clock, wallClock } from '../../../core/base/clock.ts';
import { type Masks, maskedTable, noMasks } from '../../../core/capture/masks.ts';
import type { TradeId } from '../sources.ts';
import { readTexts, selectTexts, type Texts, tradeColumns } from '../texts.ts';

/** The row as Postgres has it now. */
export interface PostgresRow {
  /** Null if the row does not exist. */
  readonly texts: Texts | null;
  /** The transaction that wrote this version of the row, 32 bits as in Postgres; null without a row. */
  readonly xmin: bigint | null;
  /** Commit time of that transaction, ISO 8601, if Postgres keeps it (`track_commit_timestamp`). */
  readonly committedAt: string | null;
  /** End of the write-ahead log just after the row was read, as decimal text. */
  readonly walLsn: string;
}

export async function readRow(
  db: Client,
  { venue, symbol, trade_id }: TradeId,
  masks: Masks = noMasks,
): Promise<PostgresRow> {
  const table = maskedTable(masks, 'public.trades', [...tradeColumns.map(({ name }) => name), 'xmin']);
  const { rows } = await db.query<Record<string, string>>(
    `SELECT ${selectTexts('postgres', tradeColumns)}, xmin::text AS xmin FROM ${table} AS trades WHERE (venue, symbol, trade_id) = ($1, $2, $3)`,
    [venue, symbol, trade_id],
  );
  const { rows: now } = await db.query<{ lsn: string; tracks: string }>(
    `SELECT (pg_current_wal_insert_lsn() - '0/0')::text AS lsn, current_setting('track_commit_timestamp') AS tracks`,
  );
  const [row] = rows;
  const walLsn = now[0]?.lsn ?? '0';
  if (row === undefined) return { texts: null, xmin: null, committedAt: null, walLsn };
  const xmin = BigInt(row['xmin'] as string);
  const committedAt = now[0]?.tracks === 'on' ? await commitTime(db, xmin) : null;
  return { texts: readTexts(tradeColumns, row), xmin, committedAt, walLsn };
}

async function commitTime(db: Client, xmin: bigint): Promise<string | null> {
  const { rows } = await db.query<{ at: string | null }>(
    `SELECT to_char(pg_xact_commit_timestamp($1::xid) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS at`,
    [xmin.toString()],
  );
  return rows[0]?.at ?? null;
}

const pollMs = 250;

/**
 * Waits until Kafka has everything committed before `walLsn`, which the slot then has confirmed. False after the time, or without such a
 * slot: a missing change may then be lost or on its way.
 */
export async function untilCaptured(
  db: Client,
  slot: string,
  walLsn: string,
  options: { readonly waitMs: number; readonly signal?: AbortSignal; readonly clock?: Clock },
): Promise<boolean> {
  const { waitMs, signal = new AbortController().signal, clock = wallClock } = options;
  const giveUpAt = clock.now() + waitMs;
  for (;;) {
    const { rows } = await db.query<{ captured: boolean | null }>(
      `SELECT confirmed_flush_lsn - '0/0' >= $2::numeric AS captured FROM pg_replication_slots WHERE slot_name = $1`,
      [slot, walLsn],
    );
    if (rows[0]?.captured === true) return true;
    if (rows.length === 0 || clock.now() >= giveUpAt) return false;
    await clock.sleep(pollMs, signal);
    signal.throwIfAborted();
  }
}
