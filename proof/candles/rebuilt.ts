import type { Client } from 'pg';

/**
 * Candles whose newest revision was rebuilt. Such a candle holds every change up to the end of its input, including earlier ones that were
 * not applied at first.
 */
export class Rebuilt {
  readonly #ends: ReadonlyMap<string, bigint>;

  private constructor(ends: ReadonlyMap<string, bigint>) {
    this.#ends = ends;
  }

  /** Reads the table that `loadObserved` leaves. */
  static async load(db: Client): Promise<Rebuilt> {
    const { rows } = await db.query<{ symbol: string; interval: string; start: string; to_offset: string }>(
      `SELECT concat_ws(chr(31), venue, symbol) AS symbol, "interval", (extract(epoch FROM window_start) * 1000000)::bigint AS start, to_offset
         FROM observed WHERE reason = 'REBUILT' AND to_offset IS NOT NULL`,
    );
    return new Rebuilt(
      new Map(
        rows.map(({ symbol, interval, start, to_offset }) => [`${symbol}|${interval}|${start}`, BigInt(to_offset)]),
      ),
    );
  }

  /** Whether the candle holds the change of this offset. @param start of its window, microseconds */
  holds(
    { venue, symbol }: { venue: string; symbol: string },
    interval: string,
    start: bigint,
    offset: bigint,
  ): boolean {
    const end = this.#ends.size === 0 ? undefined : this.#ends.get(`${venue}\u001f${symbol}|${interval}|${start}`);
    return end !== undefined && offset <= end;
  }
}
