import type { Client } from 'pg';
import type { Schemas } from '../../core/avro/schemas.ts';
import type { Log } from '../../core/log/log.ts';
import { parseInterval } from '../../core/values/time.ts';
import type { Snapshot } from '../live/snapshot.ts';
import { findUnseen } from '../live/unseen.ts';
import { onDay } from '../reading/day.ts';
import { type CandleSettings, loadSessions, windowsOf } from '../reading/windows.ts';
import { type Check, Differences, maxExamples } from '../report/report.ts';
import { checkAccounting } from './accounting.ts';
import { type Excluded, loadExcluded } from './excluded.ts';
import { type MissingTrades, missingTrades } from './missing.ts';
import { fields, loadObserved } from './observed.ts';
import { Rebuilt } from './rebuilt.ts';

export interface CandleSources {
  readonly db: Client;
  readonly log: Log;
  readonly schemas: Schemas;
  /** Changes that `db` sees, if trades are written meanwhile. Default: everything in the log. */
  readonly snapshot?: Snapshot;
  /** Offsets below which `db` sees every trade, by partition, as in `CapturedInstant`. They save a check of each record. Default: none. */
  readonly settled?: readonly bigint[];
}

export interface CandleProof {
  /** Values, order of revisions, accounting. */
  readonly checks: readonly Check[];
  /** Trades in no candle, according to the processor's own records. */
  readonly excluded: Excluded;
  /** Trades of Postgres in no candle of an interval, with the recorded reason. They are no difference. */
  readonly missing: readonly MissingTrades[];
}

/**
 * Compares the newest revision of every candle with a recomputation by Postgres over its trades. Trades in the temporary table `excluded`
 * are left out. Those in `corrected` count as their windows hold them. Exact: numeric against numeric, in both directions, field by field.
 * It shares only the calendars with the processor.
 *
 * For a trade that changed after the snapshot, `corrected` follows the log up to the last change in the candle. So a change that the
 * snapshot sees counts in every candle, also in one that has taken later changes.
 */
export async function checkCandles(
  { db, log, schemas, snapshot, settled }: CandleSources,
  settings: CandleSettings & { readonly processor: string; readonly topic: string; readonly day?: string },
): Promise<CandleProof> {
  const startedMs = performance.now();
  await db.query(`DROP TABLE IF EXISTS ${temporary.map((name) => `pg_temp.${name}`).join(', ')}`);
  const life = new Differences();
  const count = await loadObserved({ db, log, schemas }, settings, life);
  const unseen = snapshot === undefined ? undefined : await findUnseen(log, schemas, snapshot, settled);
  const excluded = await loadExcluded({ db, log, schemas }, settings, await Rebuilt.load(db), unseen);
  const values = new Differences();
  let expected = 0;
  await loadSessions(db, settings);
  for (const interval of settings.intervals) {
    expected += await compare(db, interval, settings.day, values);
    await compareGaps(db, interval, settings, values);
  }
  await unknownIntervals(db, settings.intervals, values);
  const newer =
    unseen === undefined || unseen.changes.length === 0 ? '' : `, ${unseen.changes.length} changes are newer`;
  const checks = [
    values.check(
      'candles equal a recompute in SQL',
      `${expected} candles (${settings.intervals.join(', ')})${newer}`,
      startedMs,
    ),
    life.check('revisions rise and a candle closes once', `${count} candle records`, startedMs),
    await checkAccounting(db, settings.intervals, settings.day),
  ];
  return { checks, excluded, missing: await missingTrades(db, settings.intervals, settings.day) };
}

/** Temporary tables that stay in the session. */
const temporary = [
  'excluded',
  'touched',
  'corrected',
  'sessions',
  'venue_calendars',
  'revisions',
  'observed',
  'applied',
  'totals',
  'expected',
];

/** Order inside a window. */
const order = 'executed_at, venue_sequence NULLS FIRST, trade_id COLLATE "C"';
const reversed = 'executed_at DESC, venue_sequence DESC NULLS LAST, trade_id COLLATE "C" DESC';

/** The condition that Postgres' row `t` counts in its window `w`. It is short in the common case, without corrections and exclusions. */
async function inCandles(db: Client, interval: string): Promise<string> {
  const { rows } = await db.query<{ touched: boolean; excluded: boolean }>(
    'SELECT EXISTS (SELECT FROM touched) AS touched, EXISTS (SELECT FROM excluded) AS excluded',
  );
  const conditions = ['true'];
  if (rows[0]?.touched === true) {
    conditions.push(
      'NOT EXISTS (SELECT FROM touched c WHERE (c.venue, c.symbol, c.trade_id) = (t.venue, t.symbol, t.trade_id))',
    );
  }
  if (rows[0]?.excluded === true) {
    conditions.push(`NOT EXISTS (SELECT FROM excluded e WHERE (e.venue, e.symbol, e.trade_id) = (t.venue, t.symbol, t.trade_id)
      AND (e."interval" IS NULL OR e."interval" = '${interval}') AND (e.window_start IS NULL OR e.window_start = w.window_start))`);
  }
  return conditions.join(' AND ');
}

/** Compares the candles of an interval. Returns the number that SQL computes. */
async function compare(
  db: Client,
  interval: string,
  day: string | undefined,
  differences: Differences,
): Promise<number> {
  await db.query(
    `DROP TABLE IF EXISTS ${['applied', 'totals', 'expected'].map((name) => `pg_temp.${name}`).join(', ')}`,
  );
  // Separate analysed tables: without row counts, Postgres chooses a slow join for a million rows.
  await db.query(
    `CREATE TEMP TABLE applied AS
       SELECT venue, symbol, trade_id, venue_sequence, price, size, executed_at, w.window_start, w.window_end
         FROM public.trades t CROSS JOIN LATERAL ${windowsOf(interval, 't')} w
        WHERE ${await inCandles(db, interval)} AND ${onDay('w.window_start', day)}
       UNION ALL
       SELECT c.venue, c.symbol, trade_id, venue_sequence, price, size, executed_at, c.window_start, w.window_end
         FROM corrected c CROSS JOIN LATERAL ${windowsOf(interval, 'c')} w
        WHERE c."interval" = '${interval}' AND c.window_start = w.window_start AND ${onDay('c.window_start', day)};
     ANALYZE applied;
     CREATE TEMP TABLE totals AS
       SELECT venue, symbol, window_start, min(window_end) AS window_end, min(executed_at) AS open_time, max(executed_at) AS close_time,
              max(price) AS high, min(price) AS low, sum(size) AS volume, sum(price * size) AS notional, count(*) AS trade_count
         FROM applied GROUP BY venue, symbol, window_start;
     ANALYZE totals`,
  );
  // Only trades at an end or an extreme decide the other fields. Sorting these few is cheap, sorting all is not.
  await db.query(
    `CREATE TEMP TABLE expected AS
     WITH ends AS (
       SELECT venue, symbol, window_start,
              (array_agg(price ORDER BY ${order}))[1] AS open, (array_agg(trade_id ORDER BY ${order}))[1] AS first_trade_id,
              (array_agg(price ORDER BY ${reversed}))[1] AS close, (array_agg(trade_id ORDER BY ${reversed}))[1] AS last_trade_id,
              min(executed_at) FILTER (WHERE price = high) AS high_time, min(executed_at) FILTER (WHERE price = low) AS low_time
         FROM applied JOIN totals USING (venue, symbol, window_start)
        WHERE executed_at = open_time OR executed_at = close_time OR price = high OR price = low
        GROUP BY venue, symbol, window_start)
     SELECT venue, symbol, $1 AS "interval", window_start, window_end, open, high, low, close, volume, notional,
            round(notional / nullif(volume, 0), 8) AS vwap, trade_count, first_trade_id, last_trade_id, open_time, high_time, low_time, close_time
       FROM totals JOIN ends USING (venue, symbol, window_start)`,
    [interval],
  );
  // Each candle without trades looks up the previous one.
  await db.query('CREATE INDEX ON expected (venue, symbol, window_start); ANALYZE expected');
  const distinct = fields.map(([name]) => `e.${name} IS DISTINCT FROM o.${name}`).join(' OR ');
  const { rows } = await db.query<{
    key: string;
    e: Record<string, string | null> | null;
    o: Record<string, string | null> | null;
    total: string;
  }>(
    `SELECT concat_ws(' ', coalesce(e.venue, o.venue), coalesce(e.symbol, o.symbol), $1::text, coalesce(e.window_start, o.window_start) AT TIME ZONE 'UTC') AS key,
            CASE WHEN e.venue IS NOT NULL THEN (SELECT jsonb_object_agg(key, value) FROM jsonb_each_text(to_jsonb(e))) END AS e,
            CASE WHEN o.venue IS NOT NULL THEN (SELECT jsonb_object_agg(key, value) FROM jsonb_each_text(to_jsonb(o))) END AS o, count(*) OVER () AS total
       FROM expected e FULL JOIN (SELECT * FROM observed WHERE "interval" = $1) o USING (venue, symbol, window_start)
      WHERE (e.venue IS NULL AND o.trade_count > 0) OR o.venue IS NULL OR (e.venue IS NOT NULL AND (${distinct}))
      ORDER BY key LIMIT ${maxExamples}`,
    [interval],
  );
  for (const { key, e, o } of rows) differences.add(`${key}: ${describe(e, o)}`);
  differences.count += Number(rows[0]?.total ?? 0) - rows.length;
  const { rows: counted } = await db.query<{ count: string }>('SELECT count(*) FROM expected');
  return Number(counted[0]?.count ?? 0);
}

/**
 * Checks candles without trades. Each has nulls or, if gaps are filled, the close of the last candle with trades. Within the fill time no
 * window is missing between two candles with trades, once the later one is closed, because candles close in order. For one day the windows
 * before its first trade are left out, since the close before them belongs to another day. Needs the tables of `compare`.
 */
async function compareGaps(
  db: Client,
  interval: string,
  { fillMs = 0, day }: CandleSettings & { readonly day?: string },
  differences: Differences,
): Promise<void> {
  const { rows } = await db.query<{ what: string }>(
    `SELECT concat_ws(' ', o.venue, o.symbol, $1::text, o.window_start AT TIME ZONE 'UTC') || ': ' ||
            CASE WHEN o.open IS NULL THEN 'has no trades and no prices, and figures' ELSE 'is filled with ' || o.close || ', the close before is ' || coalesce(last.close::text, 'none') END AS what
       FROM observed o LEFT JOIN LATERAL (
            SELECT e.close FROM expected e WHERE (e.venue, e.symbol) = (o.venue, o.symbol) AND e.window_start < o.window_start
             ORDER BY e.window_start DESC LIMIT 1) last ON true
      WHERE o."interval" = $1 AND o.trade_count = 0
        AND (o.volume <> 0 OR o.notional <> 0 OR o.vwap IS NOT NULL OR o.first_trade_id IS NOT NULL OR o.open_time IS NOT NULL
          OR num_nonnulls(o.open, o.high, o.low, o.close) NOT IN (0, 4)
          OR (o.open IS NOT NULL AND (last.close IS NOT NULL OR ${day === undefined}) AND (o.open, o.high, o.low, o.close) IS DISTINCT FROM (last.close, last.close, last.close, last.close)))
      ORDER BY 1`,
    [interval],
  );
  for (const { what } of rows) differences.add(what);
  if (fillMs === 0 || !/^\d+[smhd]$/.test(interval)) return;
  const size = parseInterval(interval);
  const { rows: missing } = await db.query<{ what: string }>(
    `SELECT concat_ws(' ', e.venue, e.symbol, $1::text, gap AT TIME ZONE 'UTC') || ': not filled' AS what
       FROM (SELECT venue, symbol, window_end, close_time, lead(window_start) OVER (PARTITION BY venue, symbol ORDER BY window_start) AS following FROM expected) e
       JOIN observed f ON f."interval" = $1 AND (f.venue, f.symbol, f.window_start) = (e.venue, e.symbol, e.following) AND f.status <> 'PARTIAL'
      CROSS JOIN LATERAL generate_series(e.window_end, following - interval '${size} microseconds', interval '${size} microseconds') gap
      WHERE gap < e.close_time + interval '${fillMs} milliseconds'
        AND NOT EXISTS (SELECT FROM observed o WHERE o."interval" = $1 AND (o.venue, o.symbol, o.window_start) = (e.venue, e.symbol, gap))
      ORDER BY 1`,
    [interval],
  );
  for (const { what } of missing) differences.add(what);
}

function describe(
  expected: Record<string, string | null> | null,
  observed: Record<string, string | null> | null,
): string {
  if (observed === null) return 'missing in the topic';
  if (expected === null) return 'in the topic, but Postgres has no trades for it';
  return fields
    .filter(([name]) => expected[name] !== observed[name])
    .map(([name]) => `${name} is ${observed[name]}, recomputed ${expected[name]}`)
    .join(', ');
}

async function unknownIntervals(db: Client, intervals: readonly string[], differences: Differences): Promise<void> {
  const { rows } = await db.query<{ interval: string; count: string }>(
    'SELECT "interval", count(*) FROM observed WHERE "interval" <> ALL ($1) GROUP BY 1',
    [intervals],
  );
  for (const { interval, count } of rows)
    differences.add(`${count} candles of interval ${interval}, which is not configured`, Number(count));
}
