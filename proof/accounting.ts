import type { Client } from 'pg';
import { type Check, Differences } from './report.ts';

/**
 * Conservation, per interval: the trades of Postgres, and those that were deleted since, are the trades in candles, plus the late, plus the
 * dead. Needs the temporary tables that `loadExcluded` and `checkCandles` leave in this session.
 */
export async function checkAccounting(db: Client, intervals: readonly string[]): Promise<Check> {
  const startedMs = performance.now();
  const differences = new Differences();
  let trades = '0';
  for (const interval of intervals) {
    const { rows } = await db.query<{ trades: string; applied: string; late: string; dead: string }>(
      `WITH existing AS (
         SELECT venue, symbol, trade_id, NULL AS origin FROM public.trades t
          WHERE NOT EXISTS (SELECT FROM corrected c WHERE (c.venue, c.symbol, c.trade_id) = (t.venue, t.symbol, t.trade_id))
         UNION ALL SELECT venue, symbol, trade_id, origin FROM corrected),
       judged AS (
         SELECT bool_or(e."interval" IS NULL) AS dead
           FROM existing t JOIN excluded e USING (venue, symbol, trade_id)
          WHERE (e."interval" IS NULL OR e."interval" = $1) AND (t.origin IS NULL OR t.origin = e.origin)
          GROUP BY venue, symbol, trade_id, t.origin)
       SELECT (SELECT count(*) FROM existing) AS trades,
              (SELECT coalesce(sum(trade_count), 0) FROM observed WHERE "interval" = $1) AS applied,
              (SELECT count(*) FROM judged WHERE NOT dead) AS late, (SELECT count(*) FROM judged WHERE dead) AS dead`,
      [interval],
    );
    const [row] = rows;
    if (row === undefined) continue;
    trades = row.trades;
    const missing = BigInt(row.trades) - BigInt(row.applied) - BigInt(row.late) - BigInt(row.dead);
    if (missing !== 0n) {
      const magnitude = missing < 0n ? -missing : missing;
      differences.add(
        `${interval}: ${row.trades} trades, but ${row.applied} in candles, ${row.late} late and ${row.dead} dead`,
        Number(magnitude),
      );
    }
  }
  return differences.check(
    'each trade is in a candle, late or dead',
    `${trades} trades (${intervals.join(', ')})`,
    startedMs,
  );
}
