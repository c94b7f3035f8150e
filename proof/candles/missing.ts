import type { Client } from 'pg';
import { onDay } from '../reading/day.ts';
import { windowsOf } from '../reading/windows.ts';

/** Trades of Postgres that no candle of an interval holds in their present form. */
export interface MissingTrades {
  readonly venue: string;
  readonly symbol: string;
  readonly interval: string;
  /**
   * LATE: beyond the allowed lateness. CORRECTION: the last change was not applied, or was refused. Otherwise the code of the dead letters.
   */
  readonly reason: string;
  readonly trades: number;
}

/**
 * Counts the trades in no candle, by recorded reason. A trade outside every session of its calendar has no candle and does not count. Needs
 * the temporary tables that `loadExcluded` and `checkCandles` leave in this session.
 */
export async function missingTrades(
  db: Client,
  intervals: readonly string[],
  day: string | undefined,
): Promise<readonly MissingTrades[]> {
  const found: MissingTrades[] = [];
  for (const interval of intervals) {
    const { rows } = await db.query<Omit<MissingTrades, 'trades'> & { trades: string }>(
      `SELECT venue, symbol, $1::text AS "interval", reason, count(DISTINCT trade_id) AS trades FROM (
         SELECT t.venue, t.symbol, t.trade_id, e.reason FROM excluded e JOIN public.trades t USING (venue, symbol, trade_id)
          CROSS JOIN LATERAL ${windowsOf(interval, 't')} w
          WHERE (e."interval" IS NULL OR e."interval" = $1) AND (e.window_start IS NULL OR e.window_start = w.window_start) AND ${onDay('w.window_start', day)}
            AND NOT EXISTS (SELECT FROM touched c WHERE (c.venue, c.symbol, c.trade_id) = (t.venue, t.symbol, t.trade_id))
         UNION ALL
         SELECT t.venue, t.symbol, t.trade_id, 'CORRECTION' FROM touched c JOIN public.trades t USING (venue, symbol, trade_id)
          CROSS JOIN LATERAL ${windowsOf(interval, 't')} w
          WHERE NOT c.newer AND ${onDay('w.window_start', day)} AND NOT EXISTS (
            SELECT FROM corrected h WHERE h."interval" = $1 AND h.window_start = w.window_start AND (h.venue, h.symbol, h.trade_id) = (t.venue, t.symbol, t.trade_id)
               AND (h.price, h.size, h.executed_at) = (t.price, t.size, t.executed_at) AND h.venue_sequence IS NOT DISTINCT FROM t.venue_sequence)) each
        GROUP BY venue, symbol, reason ORDER BY venue, symbol, reason`,
      [interval],
    );
    found.push(...rows.map(({ trades, ...row }) => ({ ...row, trades: Number(trades) })));
  }
  return found;
}
