import type { Client } from 'pg';
import { type Clock, wallClock } from '../../core/base/clock.ts';
import { endsOf, type Log } from '../../core/log/log.ts';
import type { Snapshot } from './snapshot.ts';

/** How long transactions that are open get to end, milliseconds: those of a service take no longer. */
const patienceMs = 2_000;
const pollMs = 50;

/**
 * How far a topic of captured rows needs no look at each record: where it ended before a snapshot was taken, if every transaction that could be below has
 * ended before, too.
 *
 * That a record is in the log is not enough. A commit has its place in the WAL, and may be decoded and published, before other
 * transactions see it: for a moment, or for as long as it waits for a synchronous standby. So the ends are asked for first, and then a transaction id is taken. What
 * is below the ends was published before, hence committed in the WAL before, by a transaction whose id is less: ids are given
 * in order, and long before the commit. (The snapshot's own `xmax` would not do. It is the id after the last one that has ended, so transactions that are about to be visible may have greater ones.)
 * A snapshot whose `xmin` is not less than that id sees them all. A transaction that goes on for longer, whichever it is, leaves it open, and each record is looked at.
 *
 * What was read from tables, by a snapshot of Debezium, a backfill, a recapture, or a redrive of what was there before, was visible when it was read. All ids are of 64 bits.
 */
export class Settled {
  readonly #ends: readonly bigint[];
  readonly #next: bigint;

  private constructor(ends: readonly bigint[], next: bigint) {
    this.#ends = ends;
    this.#next = next;
  }

  /**
   * To be asked before the snapshot is taken. Waits a little for transactions that are open, so that short ones do not count.
   *
   * @param db not the connection whose snapshot it is about: a transaction id is taken and given back
   */
  static async look(
    log: Log,
    topic: string,
    db: Client,
    { signal, clock = wallClock }: { readonly signal?: AbortSignal; readonly clock?: Clock } = {},
  ): Promise<Settled> {
    const ends = await endsOf(log, topic);
    const { rows } = await db.query<{ id: string }>('SELECT pg_current_xact_id()::text AS id');
    const next = BigInt(rows[0]?.id ?? 0);
    for (let waited = 0; waited < patienceMs; waited += pollMs) {
      const { rows: now } = await db.query<{ xmin: string }>(
        'SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS xmin',
      );
      if (BigInt(now[0]?.xmin ?? 0) >= next) break;
      await clock.sleep(pollMs, signal);
      signal?.throwIfAborted();
    }
    return new Settled(ends, next);
  }

  /** By partition, the offset below which the snapshot sees every change. None where that is not known. */
  below(snapshot: Snapshot): readonly bigint[] {
    return snapshot.endedBefore >= this.#next ? this.#ends : [];
  }
}
