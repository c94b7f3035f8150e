/** Reads what the log says became of each change of a trade into temporary tables of Postgres, where the independent checks compare. */
import type { Client } from 'pg';
import { AvroDecoder } from '../../core/avro/decoder.ts';
import type { Schemas } from '../../core/avro/schemas.ts';
import { MillraceError } from '../../core/base/errors.ts';
import { isBackfilled } from '../../core/capture/backfilled.ts';
import type { Log } from '../../core/log/log.ts';
import { formatDecimal, NOTIONAL_SCALE, PRICE_SCALE } from '../../core/values/decimal.ts';
import { formatTimestamp } from '../../core/values/time.ts';
import { type Cell, copyRows } from '../../proof/reading/copy.ts';
import { readRaw, readTopic, tradesTopic } from '../../proof/reading/topic.ts';
import type { Candle } from '../../schemas/gen/candle.ts';
import type { DeadLetter } from '../../schemas/gen/dead_letter.ts';
import { schemas as contracts } from '../../schemas/gen/index.ts';
import type { LateTrade } from '../../schemas/gen/late_trade.ts';
import type { TradeChange } from '../../schemas/gen/trade_change.ts';

const identity = 'lsn bigint, op text, venue text, symbol text, trade_id text';
/** In place of `r`, for a row that a backfill read once more: no delivery of a change, and in no candle. */
const backfilled = 'b';
const operations: Readonly<Record<string, string>> = { CREATE: 'c', READ: 'r', UPDATE: 'u', DELETE: 'd' };

/**
 * Fills temporary tables of this session, anew at each call:
 *
 *   captured  each record of the trades topic: partition, position, and its identity; lsn is null for what is no change of a trade; then op is `b` of a backfill
 *   late      each record of `ohlcv.late`: identity, interval, window_start, reason, effect, origin
 *   dead      each record of `ohlcv.dead`: origin, reason, and the identity where its value tells one
 *   revisions each record of `market.candles` in its partition's order, with the figures that are compared
 */
export async function loadLedger(db: Client, log: Log, schemas: Schemas): Promise<void> {
  await db.query(`
    DROP TABLE IF EXISTS captured, late, dead, revisions;
    CREATE TEMP TABLE captured (partition int, position bigint, ${identity});
    CREATE TEMP TABLE late (${identity}, "interval" text, window_start timestamptz, reason text, effect text, partition int, position bigint);
    CREATE TEMP TABLE dead (${identity}, reason text, partition int, position bigint);
    CREATE TEMP TABLE revisions (partition int, seq bigint, venue text, symbol text, "interval" text, window_start timestamptz,
      open numeric, high numeric, low numeric, close numeric, volume numeric, notional numeric, trade_count bigint,
      first_trade_id text, last_trade_id text, revision int, status text, to_offset bigint)`);
  const changes = new AvroDecoder<TradeChange>(schemas, contracts.trade_change);
  await copyRows(db, 'captured (partition, position, lsn, op, venue, symbol, trade_id)', captured(log, changes));
  await copyRows(
    db,
    'late (lsn, op, venue, symbol, trade_id, "interval", window_start, reason, effect, partition, position)',
    late(log, schemas),
  );
  await copyRows(
    db,
    'dead (lsn, op, venue, symbol, trade_id, reason, partition, position)',
    dead(log, schemas, changes),
  );
  await copyRows(db, 'revisions', revisions(log, schemas));
  await db.query(`CREATE INDEX ON captured (lsn, op, venue, symbol, trade_id); CREATE INDEX ON late (lsn, op, venue, symbol, trade_id);
    CREATE INDEX ON dead (lsn, op, venue, symbol, trade_id); ANALYZE captured; ANALYZE late; ANALYZE dead; ANALYZE revisions`);
}

async function* captured(log: Log, decoder: AvroDecoder<TradeChange>): AsyncGenerator<Cell[][]> {
  for await (const { partition, records } of readRaw(log, tradesTopic)) {
    const rows: Cell[][] = [];
    for (const { offset, value, unreadable } of records) {
      // A tombstone says nothing that the delete before it did not say; a batch that cannot be read is no change, and no tombstone.
      if (value !== null || unreadable !== undefined) {
        rows.push([partition, offset, ...(await identityOf(decoder, value))]);
      }
    }
    yield rows;
  }
}

async function* late(log: Log, schemas: Schemas): AsyncGenerator<Cell[][]> {
  for await (const portion of readTopic<LateTrade>(log, schemas, 'ohlcv.late', contracts.late_trade)) {
    yield portion.map(({ value }): Cell[] => [
      value.lsn,
      value.reason === 'SNAPSHOT' ? backfilled : (operations[value.operation] ?? value.operation),
      value.venue,
      value.symbol,
      value.trade_id,
      value.interval,
      value.window_start === null ? null : formatTimestamp(value.window_start),
      value.reason,
      value.effect,
      value.origin.partition,
      value.origin.offset,
    ]);
  }
}

async function* dead(log: Log, schemas: Schemas, decoder: AvroDecoder<TradeChange>): AsyncGenerator<Cell[][]> {
  for await (const portion of readTopic<DeadLetter>(log, schemas, 'ohlcv.dead', contracts.dead_letter)) {
    const rows: Cell[][] = [];
    for (const { value } of portion) {
      const { origin, reason } = value;
      if (origin.topic === tradesTopic) {
        rows.push([...(await identityOf(decoder, value.value)), reason, origin.partition, origin.offset]);
      }
    }
    yield rows;
  }
}

async function* revisions(log: Log, schemas: Schemas): AsyncGenerator<Cell[][]> {
  const price = (value: bigint | null): Cell => (value === null ? null : formatDecimal(value, PRICE_SCALE));
  for await (const portion of readTopic<Candle>(log, schemas, 'market.candles', contracts.candle)) {
    yield portion.map(({ partition, record, value: candle }): Cell[] => [
      partition,
      record.offset,
      candle.venue,
      candle.symbol,
      candle.interval,
      formatTimestamp(candle.window_start),
      price(candle.open),
      price(candle.high),
      price(candle.low),
      price(candle.close),
      price(candle.volume),
      formatDecimal(candle.notional, NOTIONAL_SCALE),
      candle.trade_count,
      candle.first_trade_id,
      candle.last_trade_id,
      candle.revision,
      candle.status,
      candle.provenance?.to_offset ?? null,
    ]);
  }
}

const nobody: readonly Cell[] = [null, null, null, null, null];

/** All null for what is no change of a trade. */
async function identityOf(decoder: AvroDecoder<TradeChange>, value: Buffer | null): Promise<readonly Cell[]> {
  if (value === null) return nobody;
  try {
    const missing = decoder.missing([value]);
    if (missing.length > 0) await decoder.prepare(missing);
    const change = decoder.decode(value);
    const { op, before, after, source } = change;
    const row = after ?? before;
    return row === null
      ? nobody
      : [source.lsn, isBackfilled(change) ? backfilled : op, row.venue, row.symbol, row.trade_id];
  } catch (error) {
    if (error instanceof MillraceError && error.disposition !== 'retry') return nobody;
    throw error;
  }
}
