import type { Client } from 'pg';
import { type Clock, wallClock } from '../../core/base/clock.ts';
import { endsOf, type Log } from '../../core/log/log.ts';
import type { Snapshot } from './snapshot.ts';

/** Longest wait for open transactions to end, milliseconds. Those of a service are shorter. */
const patienceMs = 2_000;
const pollMs = 50;

/**
 * The offset in a topic of captured rows below which a snapshot sees every change, so that these records need no check. It is the end of
 * the topic before the snapshot, if every transaction below it has ended before, too.
 *
 * A record in the log is not enough. A commit has its place in the WAL, and may be decoded and published, before other transactions see it.
 * That gap is short, or as long as the wait for a synchronous standby. So the ends are read first, and then a transaction id is assigned.
 * Records below the ends come from earlier transactions, which have smaller ids, because ids are assigned in order and long before the
 * commit. If the snapshot's `xmin` is not less than that id, the snapshot sees them all. The snapshot's own `xmax` would not do: it follows
 * the last id that has ended, so transactions about to become visible may have greater ids. While a long transaction is open, the offset is
 * unknown and each record is checked.
 *
 * Rows read from tables were visible when they were read: by a snapshot of Debezium, a backfill, a recapture, or a redrive of an earlier
 * record. All ids have 64 bits.
 */
export class SettledOffsets {
  readonly #ends: readonly bigint[];
  readonly #next: bigint;

  private constructor(ends: readonly bigint[], next: bigint) {
    this.#ends = ends;
    this.#next = next;
  }

  /**
   * Reads the ends and assigns the id. The caller takes the snapshot afterwards. Waits a little for open transactions, so that short ones
   * do not count.
   *
   * @param db not the connection of the snapshot: the call assigns an id in a short transaction of its own
   */
  static async look(
    log: Log,
    topic: string,
    db: Client,
    { signal, clock = wallClock }: { readonly signal?: AbortSignal; readonly clock?: Clock } = {},
  ): Promise<SettledOffsets> {
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
    return new SettledOffsets(ends, next);
  }

  /** The offset below which the snapshot sees every change, by partition. Empty if unknown. */
  below(snapshot: Snapshot): readonly bigint[] {
    return snapshot.endedBefore >= this.#next ? this.#ends : [];
  }
}
