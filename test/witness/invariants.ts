/**
 * What holds of every run, however it was disturbed, checked against the witness alone: not against Postgres' table, and without code of
 * the processor. Everything must have come to rest.
 */
import type { Client } from 'pg';
import type { Schemas } from '../../core/avro/schemas.ts';
import type { Log } from '../../core/log/log.ts';
import { parseInterval } from '../../core/values/time.ts';
import { tradesTopic } from '../../proof/reading/topic.ts';
import { type Check, Differences, maxExamples } from '../../proof/report/report.ts';
import { acrossGaps } from './gaps.ts';
import { loadLedger } from './ledger.ts';

export interface InvariantOptions {
  /** `Witness.table`; it must have followed to the end. Undefined where it is not what was captured: then only what the log tells by itself is checked. */
  readonly witness: string | undefined;
  /** Consumer group of the candle processor. */
  readonly group: string;
  /** Tumbling intervals to recompute. */
  readonly intervals: readonly string[];
  /** LSNs of the records that were recaptured after a loss, in their order. */
  readonly recaptured?: readonly bigint[];
}

const samePlace = '(a.partition, a.position) = (b.partition, b.position)';
const key = "concat_ws(' ', venue, symbol, trade_id)";

/** One check per promise; its name begins with the invariant. */
export async function checkInvariants(
  db: Client,
  log: Log,
  schemas: Schemas,
  given: InvariantOptions,
): Promise<readonly Check[]> {
  await loadLedger(db, log, schemas);
  const { recaptured = [], witness: table } = given;
  const witness = table === undefined || recaptured.length === 0 ? table : await acrossGaps(db, table, recaptured);
  const { rows } = await db.query<{ seen: string }>(`SELECT count(*) AS seen FROM ${witness ?? 'captured'}`);
  const subject = `${rows[0]?.seen ?? 0} changes ${witness === undefined ? 'in the log' : 'seen by the witness'}`;
  const committed = await log.committed(given.group, tradesTopic);
  await db.query('DROP TABLE IF EXISTS committed; CREATE TEMP TABLE committed (partition int, position bigint)');
  for (const { partition, offset } of committed) {
    await db.query('INSERT INTO committed VALUES ($1, $2)', [partition, offset.toString()]);
  }
  const ask = (name: string, ...queries: string[]): Promise<Check> => check(db, name, subject, queries);
  const witnessed =
    witness === undefined
      ? []
      : [
          await ask('I1 what was committed is what was captured', ...captureQueries(witness)),
          await ask('I1 what was set aside was committed', ...asideQueries(witness)),
          await ask(
            'I2 candles are a recompute over the applied changes',
            ...given.intervals.map((interval) => candles(witness, interval)),
          ),
        ];
  return [
    ...witnessed,
    await ask('I3 revisions of a key only rise', ...risingQueries),
    await ask('I5 outputs and offsets are committed together, once', ...atomicQueries),
  ];
}

/** Each query answers the differences, one text a row. */
async function check(db: Client, name: string, subject: string, queries: readonly string[]): Promise<Check> {
  const startedMs = performance.now();
  const differences = new Differences();
  for (const query of queries) {
    const { rows } = await db.query<{ what: string; total: string }>(
      `SELECT what, count(*) OVER () AS total FROM (${query}) AS found LIMIT ${maxExamples}`,
    );
    for (const { what } of rows) differences.add(what);
    differences.count += Number(rows[0]?.total ?? 0) - rows.length;
  }
  return differences.check(name, subject, startedMs);
}

function captureQueries(witness: string): string[] {
  const identity = 'lsn, op, venue, symbol, trade_id';
  return [
    `SELECT ${key} || ' ' || op || ' at ' || lsn || ' was committed, and is not in the log' AS what
       FROM (SELECT ${identity} FROM ${witness} EXCEPT SELECT ${identity} FROM captured) AS lost`,
    `SELECT ${key} || ' ' || op || ' at ' || lsn || ' is in the log, and was not committed' AS what
       FROM (SELECT ${identity} FROM captured WHERE lsn IS NOT NULL EXCEPT SELECT ${identity} FROM ${witness}) AS made_up`,
    // First deliveries of one trade keep the order of their commits.
    `SELECT ${key} || ': ' || op || ' at ' || lsn || ' came before an earlier commit' AS what FROM (
       SELECT venue, symbol, trade_id, op, lsn, seq, max(seq) OVER (PARTITION BY venue, symbol, trade_id ORDER BY first) AS newest
         FROM (SELECT ${identity}, min(position) AS first FROM captured GROUP BY ${identity}) AS delivered JOIN ${witness} USING (${identity})) AS ordered
      WHERE seq < newest`,
  ];
}

function asideQueries(witness: string): string[] {
  const unknown = (from: string): string =>
    `SELECT ${key} || ' ' || op || ' at ' || lsn || ' is in ohlcv.${from}, and was never committed' AS what FROM ${from} AS a
      WHERE lsn IS NOT NULL AND NOT EXISTS (
        SELECT FROM ${witness} w WHERE (w.lsn, w.op, w.venue, w.symbol, w.trade_id) = (a.lsn, a.op, a.venue, a.symbol, a.trade_id))`;
  const foreign = (from: string): string =>
    `SELECT 'ohlcv.${from} names ' || a.partition || '/' || a.position || ', which is another change or none' AS what
       FROM ${from} a LEFT JOIN captured b ON ${samePlace}
      WHERE b.partition IS NULL OR (a.lsn, a.op, a.venue, a.symbol, a.trade_id) IS DISTINCT FROM (b.lsn, b.op, b.venue, b.symbol, b.trade_id)`;
  return [unknown('late'), unknown('dead'), foreign('late'), foreign('dead')];
}

/** A trade is what its newest applied change made of it. Applied is what was committed, less what the processor says it did not apply. */
function candles(witness: string, interval: string): string {
  const of = (alias: string): string =>
    `(${alias}.lsn, ${alias}.op, ${alias}.venue, ${alias}.symbol, ${alias}.trade_id)`;
  const order = 'executed_at, venue_sequence NULLS FIRST, trade_id COLLATE "C"';
  const reverse = 'executed_at DESC, venue_sequence DESC NULLS LAST, trade_id COLLATE "C" DESC';
  const figures = 'open, high, low, close, volume, notional, trade_count, first_trade_id, last_trade_id';
  return `
    WITH aside AS (
      SELECT lsn, op, venue, symbol, trade_id FROM late
       WHERE effect IN ('NOT_APPLIED', 'UNCHANGED') AND reason <> 'DUPLICATE' AND ("interval" IS NULL OR "interval" = '${interval}')
      UNION SELECT lsn, op, venue, symbol, trade_id FROM dead WHERE lsn IS NOT NULL),
    newest AS (
      SELECT DISTINCT ON (venue, symbol, trade_id) w.* FROM ${witness} w
       WHERE NOT EXISTS (SELECT FROM aside s WHERE ${of('s')} = ${of('w')})
       ORDER BY venue, symbol, trade_id, seq DESC),
    applied AS (
      SELECT *, date_bin('${parseInterval(interval)} microseconds', executed_at, timestamptz '1970-01-01 00:00:00Z') AS window_start
        FROM newest WHERE op <> 'd'),
    expected AS (
      SELECT venue, symbol, window_start, (array_agg(price ORDER BY ${order}))[1] AS open, max(price) AS high, min(price) AS low,
             (array_agg(price ORDER BY ${reverse}))[1] AS close, sum(size) AS volume, sum(price * size) AS notional, count(*) AS trade_count,
             (array_agg(trade_id ORDER BY ${order}))[1] AS first_trade_id, (array_agg(trade_id ORDER BY ${reverse}))[1] AS last_trade_id
        FROM applied GROUP BY 1, 2, 3),
    observed AS (
      SELECT DISTINCT ON (venue, symbol, window_start) venue, symbol, window_start, ${figures} FROM revisions
       WHERE "interval" = '${interval}' ORDER BY venue, symbol, window_start, revision DESC)
    SELECT concat_ws(' ', venue, symbol, '${interval}', window_start AT TIME ZONE 'UTC') || ': is ' || coalesce(is_so::text, 'absent') || ', should be '
           || coalesce(should::text, 'absent') AS what
      FROM (SELECT venue, symbol, window_start, ROW(${figures}) AS is_so, ${figures} FROM observed WHERE trade_count > 0) AS o
      FULL JOIN (SELECT venue, symbol, window_start, ROW(${figures}) AS should, ${figures} FROM expected) AS e USING (venue, symbol, window_start)
     WHERE ${figures
       .split(', ')
       .map((name) => `o.${name} IS DISTINCT FROM e.${name}`)
       .join(' OR ')}`;
}

const risingQueries = [
  `SELECT concat_ws(' ', venue, symbol, "interval", window_start AT TIME ZONE 'UTC') || ': revision ' || revision || ' follows ' || before AS what
     FROM (SELECT *, lag(revision) OVER (PARTITION BY venue, symbol, "interval", window_start ORDER BY seq) AS before FROM revisions) AS each
    WHERE revision <= before`,
  `SELECT concat_ws(' ', venue, symbol, "interval", window_start AT TIME ZONE 'UTC') || ' is in more than one partition' AS what
     FROM revisions GROUP BY venue, symbol, "interval", window_start HAVING count(DISTINCT partition) > 1`,
];

const atomicQueries = [
  // Twice: the output of a transaction whose offset was not committed with it. Never: the reverse.
  `SELECT 'ohlcv.dead has ' || partition || '/' || position || ' ' || count(*) || ' times' AS what
     FROM dead GROUP BY partition, position HAVING count(*) > 1`,
  `SELECT 'ohlcv.late has ' || partition || '/' || position || ' ' || count(*) || ' times for one window' AS what
     FROM late GROUP BY partition, position, "interval", window_start, reason HAVING count(*) > 1`,
  `SELECT 'candle ' || revision || ' of ' || concat_ws(' ', venue, symbol, "interval") || ' is of offset ' || to_offset || ', committed is ' || position AS what
     FROM revisions JOIN committed USING (partition) WHERE to_offset >= position`,
  `SELECT 'ohlcv.dead has ' || partition || '/' || a.position || ', committed is ' || c.position AS what
     FROM dead a JOIN committed c USING (partition) WHERE a.position >= c.position`,
  `SELECT partition || '/' || a.position || ' is no change of a trade, is committed, and is no dead letter' AS what
     FROM captured a JOIN committed c USING (partition) WHERE a.lsn IS NULL AND a.op IS DISTINCT FROM 'b' AND a.position < c.position
      AND NOT EXISTS (SELECT FROM dead b WHERE ${samePlace})`,
  `SELECT partition || '/' || a.position || ' is a row of a backfill, is committed, and is not told as one' AS what
     FROM captured a JOIN committed c USING (partition) WHERE a.op = 'b' AND a.position < c.position
      AND NOT EXISTS (SELECT FROM late b WHERE b.reason = 'SNAPSHOT' AND ${samePlace})`,
  // Every further delivery of a change is told as such, at its own place, and no first one is.
  `SELECT partition || '/' || position || CASE WHEN told THEN ' is told as a duplicate, and is the first' ELSE ' is a duplicate that nobody tells' END AS what
     FROM (SELECT partition, position, EXISTS (SELECT FROM late b WHERE b.reason = 'DUPLICATE' AND ${samePlace}) AS told,
                  row_number() OVER (PARTITION BY partition, lsn, op, venue, symbol, trade_id ORDER BY position) > 1 AS again
             FROM captured a WHERE lsn IS NOT NULL) AS deliveries
    WHERE told <> again`,
];
