import type { Client } from 'pg';
import { AvroDecoder } from '../core/avro/decoder.ts';
import type { Schemas } from '../core/avro/schemas.ts';
import { formatDecimal, PRICE_SCALE } from '../core/decimal.ts';
import { isError, MillraceError } from '../core/errors.ts';
import type { Log } from '../core/runtime/log.ts';
import type { DeadLetter } from '../schemas/gen/dead_letter.ts';
import { schemas as contracts } from '../schemas/gen/index.ts';
import type { LateTrade } from '../schemas/gen/late_trade.ts';
import type { TradeChange } from '../schemas/gen/trade_change.ts';
import { type Cell, copyRows } from './copy.ts';
import { readRaw, readTopic } from './topic.ts';

const tradesTopic = 'cdc.public.trades';
/** By name: the captured table may have got more columns since. */
const correctedColumns =
  'corrected (venue, symbol, trade_id, venue_sequence, price, size, side, executed_at, conditions, origin)';

export interface Excluded {
  /** Late records that say a trade was not applied to a window. */
  readonly late: number;
  /** Dead letters whose trade is known. */
  readonly dead: number;
  /** Dead letters that name no trade: not one of Postgres' rows. */
  readonly unreadable: number;
  /** Rows that were updated or deleted later, while their candles stay as they were. */
  readonly corrected: number;
}

/**
 * Fills two temporary tables with what keeps candles from being a plain sum over Postgres, by the processor's own account. Nothing else may.
 *
 * `excluded` (venue, symbol, trade_id, interval; interval null for all of them): late trades with effect NOT_APPLIED, and dead letters.
 *
 * `corrected`: trades that were updated or deleted without effect on candles. Candles still count the rows as they were created, so that is
 * what is here, once for each time that the key was created; Postgres' row of the key does not count.
 *
 * Duplicates are in the late topic, too, but the trade itself is applied, so they exclude nothing.
 */
export async function loadExcluded(db: Client, log: Log, schemas: Schemas, processor: string): Promise<Excluded> {
  await db.query(`CREATE TEMP TABLE excluded (venue text, symbol text, trade_id text, "interval" text, origin text);
    CREATE TEMP TABLE corrected (LIKE public.trades, origin text)`);
  const found = { late: 0, dead: 0, unreadable: 0, corrected: 0 };
  const touched = new Set<string>();
  const repeated = new Set<string>();
  async function* late() {
    for await (const portion of readTopic<LateTrade>(log, schemas, `${processor}.late`, contracts.late_trade)) {
      const rows: Cell[][] = [];
      for (const { value } of portion) {
        if (value.effect !== 'NOT_APPLIED') continue;
        const { venue, symbol, trade_id, interval, reason } = value;
        if (reason === 'DUPLICATE') repeated.add(placeOf(value.origin));
        else if (reason === 'UPDATE' || reason === 'DELETE') touched.add(keyOf(value));
        else rows.push([venue, symbol, trade_id, interval, placeOf(value.origin)]);
      }
      found.late += rows.length;
      yield rows;
    }
  }
  await copyRows(db, 'excluded', late());
  const decoder = new AvroDecoder<TradeChange>(schemas, contracts.trade_change);
  async function* dead() {
    for await (const portion of readTopic<DeadLetter>(log, schemas, `${processor}.dead`, contracts.dead_letter)) {
      const rows: Cell[][] = [];
      for (const { value: letter } of portion) {
        const row = await tradeOf(decoder, letter);
        if (row === undefined) found.unreadable++;
        else rows.push([row.venue, row.symbol, row.trade_id, null, placeOf(letter.origin)]);
      }
      found.dead += rows.length;
      yield rows;
    }
  }
  await copyRows(db, 'excluded', dead());
  if (touched.size > 0)
    found.corrected = await copyRows(db, correctedColumns, created(log, schemas, touched, repeated));
  await db.query(`CREATE INDEX ON excluded (venue, symbol, trade_id); CREATE INDEX ON corrected (venue, symbol, trade_id);
    ANALYZE excluded; ANALYZE corrected`);
  return found;
}

/** The rows of these keys as they were created, from the log; a change that was captured twice counts once. */
async function* created(
  log: Log,
  schemas: Schemas,
  keys: ReadonlySet<string>,
  repeated: ReadonlySet<string>,
): AsyncGenerator<Cell[][]> {
  const decoder = new AvroDecoder<TradeChange>(schemas, contracts.trade_change);
  for await (const { partition, records } of readRaw(log, tradesTopic)) {
    const missing = decoder.missing(records.map(({ value }) => value));
    if (missing.length > 0) await decoder.prepare(missing);
    const rows: Cell[][] = [];
    for (const { offset, value } of records) {
      const change = value === null ? undefined : read(decoder, value);
      const place = placeOf({ partition, offset });
      if (change === undefined || change.after === null || (change.op !== 'c' && change.op !== 'r')) continue;
      if (repeated.has(place) || !keys.has(keyOf(change.after))) continue;
      const { venue, symbol, trade_id, venue_sequence, price, size, side, executed_at, conditions } = change.after;
      const exact = [formatDecimal(price, PRICE_SCALE), formatDecimal(size, PRICE_SCALE)] as const;
      rows.push([venue, symbol, trade_id, venue_sequence, ...exact, side, executed_at, conditions, place]);
    }
    yield rows;
  }
}

function keyOf({ venue, symbol, trade_id }: { venue: string; symbol: string; trade_id: string }): string {
  return [venue, symbol, trade_id].join('\u001f');
}

/** Where in the trades topic. */
function placeOf({ partition, offset }: { partition: number; offset: bigint }): string {
  return `${partition}/${offset}`;
}

/** Undefined for what is no trade change: that is a dead letter, not a trade. */
function read(decoder: AvroDecoder<TradeChange>, value: Buffer): TradeChange | undefined {
  try {
    return decoder.decode(value);
  } catch (error) {
    if (error instanceof MillraceError && error.disposition === 'deadLetter') return undefined;
    throw error;
  }
}

async function tradeOf(
  decoder: AvroDecoder<TradeChange>,
  letter: DeadLetter,
): Promise<{ venue: string; symbol: string; trade_id: string } | undefined> {
  if (letter.value === null) return undefined;
  try {
    const missing = decoder.missing([letter.value]);
    if (missing.length > 0) await decoder.prepare(missing);
    const change = decoder.decode(letter.value);
    return change.after ?? change.before ?? undefined;
  } catch (error) {
    if (error instanceof MillraceError && (error.disposition === 'deadLetter' || isError(error, 'SCHEMA_INCOMPATIBLE')))
      return undefined;
    throw error;
  }
}
