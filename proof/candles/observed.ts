import type { Client } from 'pg';
import type { Schemas } from '../../core/avro/schemas.ts';
import type { Log } from '../../core/log/log.ts';
import { formatDecimal, NOTIONAL_SCALE, PRICE_SCALE } from '../../core/values/decimal.ts';
import { formatTimestamp } from '../../core/values/time.ts';
import type { Candle } from '../../schemas/gen/candle.ts';
import { schemas as contracts } from '../../schemas/gen/index.ts';
import { type CopyValue, copyRows } from '../reading/copy.ts';
import { dayRange } from '../reading/day.ts';
import { readTopic } from '../reading/topic.ts';
import type { Differences } from '../report/report.ts';

/** Compared fields with their Postgres types. Provenance and status are left out: they describe the origin of a candle, not its value. */
export const fields = [
  ['window_end', 'timestamptz'],
  ['open', 'numeric'],
  ['high', 'numeric'],
  ['low', 'numeric'],
  ['close', 'numeric'],
  ['volume', 'numeric'],
  ['notional', 'numeric'],
  ['vwap', 'numeric'],
  ['trade_count', 'bigint'],
  ['first_trade_id', 'text'],
  ['last_trade_id', 'text'],
  ['open_time', 'timestamptz'],
  ['high_time', 'timestamptz'],
  ['low_time', 'timestamptz'],
  ['close_time', 'timestamptz'],
] as const;

/**
 * Fills two temporary tables from the topic as it is now, or from one day of it: `revisions` with every record of a candle, `observed` with
 * the newest record of each. Adds errors in the order of revisions to `life`. Returns the number of records.
 */
export async function loadObserved(
  { db, log, schemas }: { readonly db: Client; readonly log: Log; readonly schemas: Schemas },
  { topic, day }: { readonly topic: string; readonly day?: string },
  life: Differences,
): Promise<number> {
  const scope = day === undefined ? undefined : dayRange(day);
  const columns = fields.map(([name, type]) => `${name} ${type}`).join(', ');
  await db.query(
    `CREATE TEMP TABLE revisions (venue text, symbol text, "interval" text, window_start timestamptz, ${columns}, revision int, status text, reason text, to_offset bigint, seq bigint)`,
  );
  let seq = 0;
  async function* rows() {
    for await (const portion of readTopic<Candle>(log, schemas, topic, contracts.candle)) {
      yield portion.flatMap(({ value }) => {
        const { window_start: start } = value;
        return scope === undefined || (start >= scope.from && start < scope.to) ? [toRow(value, seq++)] : [];
      });
    }
  }
  const count = await copyRows(db, 'revisions', rows());
  await db.query(`CREATE TEMP TABLE observed AS
    SELECT DISTINCT ON (venue, symbol, "interval", window_start) * FROM revisions
     ORDER BY venue, symbol, "interval", window_start, seq DESC`);
  await db.query('CREATE INDEX ON observed ("interval", venue, symbol, window_start)');
  await db.query('ANALYZE observed');
  const { rows: wrong } = await db.query<{ key: string; what: string }>(`
    SELECT key, what FROM (
      SELECT concat_ws(' ', venue, symbol, "interval", window_start AT TIME ZONE 'UTC') AS key,
             CASE WHEN revision <= lag(revision) OVER w THEN 'revision ' || revision || ' follows ' || lag(revision) OVER w
                  WHEN status = 'CLOSED' AND count(*) FILTER (WHERE status = 'CLOSED') OVER w > 1 THEN 'closed a second time'
                  WHEN status IN ('PARTIAL', 'CLOSED') AND count(*) FILTER (WHERE status IN ('REVISED', 'FILLED')) OVER w > 0 THEN lower(status) || ' after it was revised or filled'
                  WHEN status = 'PARTIAL' AND count(*) FILTER (WHERE status = 'CLOSED') OVER w > 0 THEN 'partial after it closed'
             END AS what
        FROM revisions WINDOW w AS (PARTITION BY venue, symbol, "interval", window_start ORDER BY seq)) AS each
     WHERE what IS NOT NULL`);
  for (const { key, what } of wrong) life.add(`${key}: ${what}`);
  return count;
}

function toRow(candle: Candle, seq: number): CopyValue[] {
  const price = (value: bigint | null): CopyValue => (value === null ? null : formatDecimal(value, PRICE_SCALE));
  const time = (value: bigint | null): CopyValue => (value === null ? null : formatTimestamp(value));
  return [
    candle.venue,
    candle.symbol,
    candle.interval,
    time(candle.window_start),
    time(candle.window_end),
    price(candle.open),
    price(candle.high),
    price(candle.low),
    price(candle.close),
    price(candle.volume),
    formatDecimal(candle.notional, NOTIONAL_SCALE),
    price(candle.vwap),
    candle.trade_count,
    candle.first_trade_id,
    candle.last_trade_id,
    time(candle.open_time),
    time(candle.high_time),
    time(candle.low_time),
    time(candle.close_time),
    candle.revision,
    candle.status,
    candle.reason,
    candle.provenance?.to_offset ?? null,
    seq,
  ];
}
