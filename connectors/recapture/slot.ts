import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from 'pg';
import { MillraceError } from '../../core/base/errors.ts';
import { connectPostgres, tryLock } from '../../core/base/postgres.ts';
import { parseLsn } from '../../core/values/lsn.ts';
import { readSlot } from '../supervision/slot.ts';

const releaseMs = 30_000;

/** A new slot with a snapshot of the database at its exact start. */
export interface NewSlot extends AsyncDisposable {
  /** Start of the slot: it delivers exactly the transactions that the snapshot does not show. */
  readonly lsn: bigint;
  /** LSN at which the slot begins to read. All delivered changes come after it, also those of a transaction open at `lsn`. */
  readonly reads: bigint;
  /** Snapshot id for `SET TRANSACTION SNAPSHOT`, valid until this is disposed of. */
  readonly snapshot: string;
}

/**
 * Drops the slot of this name, if any, and creates it anew. Waits for running transactions.
 *
 * @throws MillraceError POSTGRES_REFUSED: the old slot has a reader, or the role has no REPLICATION.
 */
export async function replaceSlot(db: Client, url: string, slot: string, signal?: AbortSignal): Promise<NewSlot> {
  await dropSlot(db, slot, signal);
  const connection = await connectPostgres({
    url,
    name: 'millrace recapture',
    replication: true,
    ...(signal === undefined ? {} : { signal }),
  });
  try {
    const { rows } = await connection.query<{ consistent_point: string; snapshot_name: string }>(
      `CREATE_REPLICATION_SLOT ${slot} LOGICAL pgoutput (SNAPSHOT 'export')`,
    );
    const made = rows[0];
    if (made === undefined) throw new MillraceError('POSTGRES_REFUSED', 'the new replication slot names no snapshot');
    const { rows: slots } = await db.query<{ restart_lsn: string }>(
      'SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = $1',
      [slot],
    );
    return {
      lsn: parseLsn(made.consistent_point),
      reads: parseLsn(slots[0]?.restart_lsn ?? made.consistent_point),
      snapshot: made.snapshot_name,
      [Symbol.asyncDispose]: () => connection.end(),
    };
  } catch (error) {
    await connection.end().catch(() => undefined);
    throw error;
  }
}

/** Takes the recapture lock until the connection ends. @returns false when another session holds it */
export function lockSlot(db: Pick<Client, 'query'>, slot: string): Promise<boolean> {
  return tryLock(db, `millrace.recapture.${slot}`);
}

/** Retries while the reader's connection is closing. @returns false without such a slot. @throws MillraceError POSTGRES_REFUSED */
export async function dropSlot(db: Pick<Client, 'query'>, slot: string, signal?: AbortSignal): Promise<boolean> {
  const giveUpAt = performance.now() + releaseMs;
  for (;;) {
    signal?.throwIfAborted();
    const found = await readSlot(db, slot);
    if (found === undefined) return false;
    if (!found.active) {
      await db.query('SELECT pg_drop_replication_slot($1)', [slot]);
      return true;
    }
    if (performance.now() > giveUpAt) {
      throw new MillraceError('POSTGRES_REFUSED', `replication slot ${slot} is still in use`, {
        remedy: 'Stop its reader (pg_stat_replication names it), then run the command again.',
      });
    }
    await sleep(200);
  }
}
