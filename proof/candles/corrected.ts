import type { Client } from 'pg';
import { AvroDecoder } from '../../core/avro/decoder.ts';
import type { Schemas } from '../../core/avro/schemas.ts';
import { isBackfilled } from '../../core/capture/backfilled.ts';
import type { Log } from '../../core/log/log.ts';
import { formatDecimal, PRICE_SCALE } from '../../core/values/decimal.ts';
import { formatTimestamp, parseTimestamp } from '../../core/values/time.ts';
import { schemas as contracts } from '../../schemas/gen/index.ts';
import type { LateTrade } from '../../schemas/gen/late_trade.ts';
import type { TradeChange, TradeRow } from '../../schemas/gen/trade_change.ts';
import type { UnseenChanges } from '../live/unseen.ts';
import { type CopyValue, copyRows } from '../reading/copy.ts';
import { readRaw, readTopic, tradesTopic } from '../reading/topic.ts';
import { type CandleSettings, startsOf } from '../reading/windows.ts';
import type { Rebuilt } from './rebuilt.ts';

export interface Corrections {
  readonly processor: string;
  /** Keys of trades, as `keyOf` writes them. */
  readonly touched: ReadonlySet<string>;
  /** Positions of the changes that became dead letters, as `placeOf` writes them. */
  readonly dead: ReadonlySet<string>;
  readonly settings: CandleSettings;
  /** Whether more than the unseen inserts is touched. If so, the whole log is read, not only from the first unseen insert on. */
  readonly history: boolean;
  /** Changes that the snapshot in Postgres does not see. */
  readonly unseen: UnseenChanges | undefined;
  readonly rebuilt: Rebuilt;
}

/** One corrected trade: its last accepted row, and the rows that its windows hold. */
interface Life {
  accepted: TradeRow | null;
  /** Key: `interval|window start`. */
  readonly held: Map<string, TradeRow>;
}

/**
 * Fills the temporary table `corrected`: updated or deleted trades, one row for each interval and window that holds them. They follow from
 * the changes in the log and the processor's late records. A frozen window keeps the trade as it was.
 */
export async function loadCorrected(db: Client, log: Log, schemas: Schemas, of: Corrections): Promise<void> {
  await db.query(`CREATE TEMP TABLE corrected ("interval" text, window_start timestamptz, venue text, symbol text, trade_id text,
    venue_sequence bigint, price numeric, size numeric, executed_at timestamptz)`);
  if (of.touched.size === 0) return;
  const skipped = await notApplied(log, schemas, of);
  await notShown(db, of, skipped);
  const lives = await replay(log, schemas, of, skipped);
  async function* rows(): AsyncGenerator<CopyValue[][]> {
    yield [...lives.values()].flatMap(({ held }) =>
      [...held].map(([place, row]): CopyValue[] => {
        const at = place.indexOf('|');
        const { venue, symbol, trade_id, venue_sequence, price, size, executed_at } = row;
        const exact = [formatDecimal(price, PRICE_SCALE), formatDecimal(size, PRICE_SCALE)] as const;
        return [
          place.slice(0, at),
          place.slice(at + 1),
          venue,
          symbol,
          trade_id,
          venue_sequence,
          ...exact,
          executed_at,
        ];
      }),
    );
  }
  await copyRows(db, 'corrected', rows());
  await db.query('CREATE INDEX ON corrected (venue, symbol, trade_id); ANALYZE corrected');
}

/** Changes that were not applied. A position alone stands for the whole change. With an interval and a window it stands for that window. */
async function notApplied(log: Log, schemas: Schemas, of: Corrections): Promise<Set<string>> {
  const skipped = new Set<string>();
  for await (const portion of readTopic<LateTrade>(log, schemas, `${of.processor}.late`, contracts.late_trade)) {
    for (const { value } of portion) {
      const { interval, window_start, effect, origin } = value;
      if (effect === 'REVISED' || effect === 'APPLIED' || !of.touched.has(keyOf(value))) continue;
      if (effect === 'UNCHANGED') {
        // No window took it, and no later rebuild included it.
        const row = { ...value, executed_at: formatTimestamp(value.executed_at) };
        for (const each of of.settings.intervals) {
          for (const start of startsOf(each, row, of.settings.calendars)) {
            if (of.rebuilt.holds(value, each, parseTimestamp(start), origin.offset)) continue;
            skipped.add(`${placeOf(origin)}|${each}|${start}`);
          }
        }
      } else if (interval === null) skipped.add(placeOf(origin));
      else if (window_start !== null && !of.rebuilt.holds(value, interval, window_start, origin.offset))
        skipped.add(`${placeOf(origin)}|${interval}|${formatTimestamp(window_start)}`);
    }
  }
  return skipped;
}

/**
 * Adds the unseen changes that a candle has not taken yet: those after the last input of its newest revision. Changes that the snapshot
 * sees have no such excuse.
 */
async function notShown(db: Client, { unseen, settings }: Corrections, skipped: Set<string>): Promise<void> {
  const first = unseen?.first.filter((offset) => offset !== undefined).sort((a, b) => (a < b ? -1 : 1))[0];
  if (unseen === undefined || first === undefined) return;
  const { rows } = await db.query<{ symbol: string; interval: string; start: string; to_offset: string }>(
    `SELECT concat_ws(chr(31), venue, symbol) AS symbol, "interval", (extract(epoch FROM window_start) * 1000000)::bigint AS start, to_offset
       FROM observed WHERE to_offset >= $1`,
    [first.toString()],
  );
  const shown = new Map(
    rows.map(({ symbol, interval, start, to_offset }) => [
      [symbol, interval, formatTimestamp(BigInt(start))].join('|'),
      BigInt(to_offset),
    ]),
  );
  for (const { partition, offset, change } of unseen.changes) {
    for (const row of [change.before, change.after]) {
      if (row === null) continue;
      for (const window of settings.intervals.flatMap((interval) => windowsOfRow(interval, row, settings))) {
        const to = shown.get(`${row.venue}\u001f${row.symbol}|${window}`) ?? -1n;
        if (offset > to) skipped.add(`${placeOf({ partition, offset })}|${window}`);
      }
    }
  }
}

async function replay(
  log: Log,
  schemas: Schemas,
  { touched, dead, settings, history, unseen }: Corrections,
  skipped: ReadonlySet<string>,
): Promise<Map<string, Life>> {
  const lives = new Map<string, Life>();
  const decoder = new AvroDecoder<TradeChange>(schemas, contracts.trade_change);
  for await (const { partition, records } of readChanges(log, history, unseen)) {
    const missing = decoder.missing(records.map(({ value }) => value));
    if (missing.length > 0) await decoder.prepare(missing);
    for (const { offset, value } of records) {
      const change = decoder.decodeIfReadable(value);
      const row = change?.after ?? change?.before;
      const place = placeOf({ partition, offset });
      if (change === undefined || row === undefined || row === null || change.op === 't' || isBackfilled(change))
        continue;
      if (!touched.has(keyOf(row)) || dead.has(place) || skipped.has(place)) continue;
      const life = lives.get(keyOf(row)) ?? { accepted: null, held: new Map() };
      lives.set(keyOf(row), life);
      const windows = (one: TradeRow | null) =>
        one === null ? [] : settings.intervals.flatMap((interval) => windowsOfRow(interval, one, settings));
      for (const window of windows(life.accepted)) if (!skipped.has(`${place}|${window}`)) life.held.delete(window);
      for (const window of windows(change.after)) {
        if (change.after !== null && !skipped.has(`${place}|${window}`)) life.held.set(window, change.after);
      }
      life.accepted = change.after;
    }
  }
  return lives;
}

/** Changes after the ends at which the unseen changes were searched are not read: no candle that was read earlier has them. */
async function* readChanges(log: Log, history: boolean, unseen: UnseenChanges | undefined): ReturnType<typeof readRaw> {
  if (unseen === undefined) {
    yield* readRaw(log, tradesTopic);
    return;
  }
  const starts = history ? await log.starts(tradesTopic) : unseen.first;
  for (const [partition, to] of unseen.ends.entries()) {
    const from = starts[partition];
    if (from !== undefined) yield* readRaw(log, tradesTopic, undefined, { partition, from, to });
  }
}

function windowsOfRow(interval: string, row: TradeRow, { calendars }: CandleSettings): string[] {
  return startsOf(interval, row, calendars).map((start) => `${interval}|${start}`);
}

export function keyOf({ venue, symbol, trade_id }: { venue: string; symbol: string; trade_id: string }): string {
  return [venue, symbol, trade_id].join('\u001f');
}

/** Position in the trades topic. */
export function placeOf({ partition, offset }: { partition: number; offset: bigint }): string {
  return `${partition}/${offset}`;
}
