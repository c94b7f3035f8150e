import type { Client } from 'pg';
import { onDay } from '../reading/day.ts';
import { windowsOf } from '../reading/windows.ts';
import { type Check, Differences } from '../report/report.ts';

/**
 * Conservation, for each interval. Unchanged trades of Postgres are in candles, late or dead. Changed trades are in the candles that their
 * accepted changes leave them in. It counts by window, so a trade in overlapping windows counts in each. Needs the temporary tables that
 * `loadExcluded` and `checkCandles` leave in this session.
 */
export async function checkAccounting(db: Client, intervals: readonly string[], day?: string): Promise<Check> {
  const startedMs = performance.now();
  const differences = new Differences();
  const { rows: all } = await db.query<{ trades: string }>(
    `SELECT count(*) AS trades FROM public.trades WHERE ${onDay('executed_at', day)}`,
  );
  for (const interval of intervals) {
    const { rows } = await db.query<Record<'places' | 'corrected' | 'applied' | 'late' | 'dead', string>>(
      `WITH places AS NOT MATERIALIZED (
         SELECT t.venue, t.symbol, t.trade_id, w.window_start FROM public.trades t CROSS JOIN LATERAL ${windowsOf(interval, 't')} w
          WHERE NOT EXISTS (SELECT FROM touched c WHERE (c.venue, c.symbol, c.trade_id) = (t.venue, t.symbol, t.trade_id))
            AND ${onDay('w.window_start', day)}),
       aside AS (
         SELECT bool_or(e."interval" IS NULL) AS dead, bool_or(e."interval" IS NOT NULL) AS late
           FROM places p JOIN excluded e ON (e.venue, e.symbol, e.trade_id) = (p.venue, p.symbol, p.trade_id)
            AND (e."interval" IS NULL OR e."interval" = $1) AND (e.window_start IS NULL OR e.window_start = p.window_start)
          GROUP BY p.venue, p.symbol, p.trade_id, p.window_start)
       SELECT (SELECT count(*) FROM places) AS places,
              (SELECT count(*) FROM corrected WHERE "interval" = $1 AND ${onDay('window_start', day)}) AS corrected,
              (SELECT coalesce(sum(trade_count), 0) FROM observed WHERE "interval" = $1) AS applied,
              (SELECT count(*) FROM aside WHERE late AND NOT dead) AS late, (SELECT count(*) FROM aside WHERE dead) AS dead`,
      [interval],
    );
    const [row] = rows;
    if (row === undefined) continue;
    const trades = BigInt(row.places) + BigInt(row.corrected);
    const missing = trades - BigInt(row.applied) - BigInt(row.late) - BigInt(row.dead);
    if (missing !== 0n) {
      const magnitude = missing < 0n ? -missing : missing;
      differences.add(
        `${interval}: ${trades} trades, but ${row.applied} in candles, ${row.late} late and ${row.dead} dead`,
        Number(magnitude),
      );
    }
  }
  return differences.check(
    'each trade is in a candle, late or dead',
    `${all[0]?.trades} trades (${intervals.join(', ')})`,
    startedMs,
  );
}
