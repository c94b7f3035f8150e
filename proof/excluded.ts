import type { Client } from 'pg';
import { AvroDecoder } from '../core/avro/decoder.ts';
import type { Schemas } from '../core/avro/schemas.ts';
import { isError, MillraceError } from '../core/errors.ts';
import type { Log } from '../core/runtime/log.ts';
import type { DeadLetter } from '../schemas/gen/dead_letter.ts';
import { schemas as contracts } from '../schemas/gen/index.ts';
import type { LateTrade } from '../schemas/gen/late_trade.ts';
import type { TradeChange } from '../schemas/gen/trade_change.ts';
import { copyRows } from './copy.ts';
import { readTopic } from './topic.ts';

export interface Excluded {
  /** Late records that say a trade was not applied to a window. */
  readonly late: number;
  /** Dead letters whose trade is known. */
  readonly dead: number;
  /** Dead letters that name no trade: not one of Postgres' rows. */
  readonly unreadable: number;
}

/**
 * Fills the temporary table `excluded` (venue, symbol, trade_id, interval; interval null for all of them) with what the processor says it has not applied:
 * late trades with effect NOT_APPLIED, and dead letters. Nothing else may be missing from candles.
 *
 * Duplicates, updates and deletes of a trade are in the late topic too, but the trade itself is applied, so they exclude nothing.
 */
export async function loadExcluded(db: Client, log: Log, schemas: Schemas, processor: string): Promise<Excluded> {
  await db.query('CREATE TEMP TABLE excluded (venue text, symbol text, trade_id text, "interval" text)');
  const found = { late: 0, dead: 0, unreadable: 0 };
  async function* late() {
    for await (const portion of readTopic<LateTrade>(log, schemas, `${processor}.late`, contracts.late_trade)) {
      const rows = portion
        .map(({ value }) => value)
        .filter(({ effect, reason }) => effect === 'NOT_APPLIED' && reason === 'LATE')
        .map((trade) => [trade.venue, trade.symbol, trade.trade_id, trade.interval] as const);
      found.late += rows.length;
      yield rows;
    }
  }
  await copyRows(db, 'excluded', late());
  const decoder = new AvroDecoder<TradeChange>(schemas, contracts.trade_change);
  async function* dead() {
    for await (const portion of readTopic<DeadLetter>(log, schemas, `${processor}.dead`, contracts.dead_letter)) {
      const rows = [];
      for (const { value: letter } of portion) {
        const row = await tradeOf(decoder, letter);
        if (row === undefined) found.unreadable++;
        else rows.push([row.venue, row.symbol, row.trade_id, null] as const);
      }
      found.dead += rows.length;
      yield rows;
    }
  }
  await copyRows(db, 'excluded', dead());
  await db.query('CREATE INDEX ON excluded (venue, symbol, trade_id)');
  await db.query('ANALYZE excluded');
  return found;
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
