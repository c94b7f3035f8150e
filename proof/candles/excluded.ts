import type { Client } from 'pg';
import { AvroDecoder } from '../../core/avro/decoder.ts';
import type { Schemas } from '../../core/avro/schemas.ts';
import { isError, MillraceError } from '../../core/base/errors.ts';
import type { Log } from '../../core/log/log.ts';
import { deadTopic, letterId } from '../../core/operations/letters.ts';
import { readRedrives } from '../../core/operations/redrive.ts';
import { formatTimestamp } from '../../core/values/time.ts';
import type { DeadLetter } from '../../schemas/gen/dead_letter.ts';
import { schemas as contracts } from '../../schemas/gen/index.ts';
import type { LateTrade } from '../../schemas/gen/late_trade.ts';
import type { TradeChange } from '../../schemas/gen/trade_change.ts';
import type { UnseenChanges } from '../live/unseen.ts';
import { type CopyValue, copyRows } from '../reading/copy.ts';
import { readTopic } from '../reading/topic.ts';
import type { CandleSettings } from '../reading/windows.ts';
import { keyOf, loadCorrected, placeOf } from './corrected.ts';
import type { Rebuilt } from './rebuilt.ts';

export interface Excluded {
  /** Late records about a trade that was not applied to a window. */
  readonly late: number;
  /** Dead letters that identify their trade. */
  readonly dead: number;
  /** Dead letters that identify no trade, so no row of Postgres. */
  readonly unreadable: number;
  /** Trades that were updated or deleted. */
  readonly corrected: number;
}

/**
 * Fills three temporary tables with everything that makes candles differ from a plain sum over Postgres, according to the processor's own
 * records. No other difference is allowed.
 *
 * `excluded` (venue, symbol, trade_id, interval, window_start, where null means all; reason): late trades with effect NOT_APPLIED, unless
 * their candle was rebuilt since, and dead letters, with their code as the reason.
 *
 * `touched` (venue, symbol, trade_id, newer): trades that were updated or deleted, that have a change in a dead letter, or a change that
 * the snapshot does not see (newer). Postgres' row of such a key does not count. `corrected` counts instead: the trades of each window as
 * the accepted changes left them.
 *
 * Duplicates are in the late topic too, but the trade itself is applied, so they exclude nothing.
 */
export async function loadExcluded(
  { db, log, schemas }: { readonly db: Client; readonly log: Log; readonly schemas: Schemas },
  settings: CandleSettings & { readonly processor: string },
  rebuilt: Rebuilt,
  unseen?: UnseenChanges,
): Promise<Excluded> {
  const { processor } = settings;
  await db.query(`CREATE TEMP TABLE excluded (venue text, symbol text, trade_id text, "interval" text, window_start timestamptz, reason text);
    CREATE TEMP TABLE touched (venue text, symbol text, trade_id text, newer boolean)`);
  const found = { late: 0, dead: 0, unreadable: 0 };
  const touched = new Set<string>();
  const dead = new Set<string>();
  async function* late() {
    for await (const portion of readTopic<LateTrade>(log, schemas, `${processor}.late`, contracts.late_trade)) {
      const rows: CopyValue[][] = [];
      for (const { value } of portion) {
        const { venue, symbol, trade_id, interval, window_start, reason, effect, origin } = value;
        if (reason !== 'DUPLICATE' && (reason === 'UPDATE' || reason === 'DELETE' || isCorrection(value))) {
          touched.add(keyOf(value));
        } else if (effect === 'NOT_APPLIED' && (reason === 'LATE' || reason === 'OUTSIDE_SESSION')) {
          const isWindow = interval !== null && window_start !== null;
          if (isWindow && rebuilt.holds(value, interval, window_start, origin.offset)) continue;
          const start = window_start === null ? null : formatTimestamp(window_start);
          rows.push([venue, symbol, trade_id, interval, start, reason]);
        }
      }
      found.late += rows.length;
      yield rows;
    }
  }
  await copyRows(db, 'excluded', late());
  const decoder = new AvroDecoder<TradeChange>(schemas, contracts.trade_change);
  const redriven = await redrivesOf(log, schemas, processor);
  async function* letters() {
    for await (const portion of readTopic<DeadLetter>(log, schemas, `${processor}.dead`, contracts.dead_letter)) {
      const rows: CopyValue[][] = [];
      for (const { partition, record, value: letter } of portion) {
        // Redriven since: the outcome of the new record counts, and a second refusal has its own letter.
        if (redriven.has(letterId({ partition, offset: record.offset }))) {
          dead.add(placeOf(letter.origin));
          continue;
        }
        const change = await changeOf(decoder, letter);
        const row = change?.after ?? change?.before ?? undefined;
        dead.add(placeOf(letter.origin));
        if (change === undefined || row === undefined) found.unreadable++;
        else if (change.op === 'u' || change.op === 'd') {
          touched.add(keyOf(row));
          found.dead++;
        } else rows.push([row.venue, row.symbol, row.trade_id, null, null, letter.reason]);
      }
      found.dead += rows.length;
      yield rows;
    }
  }
  await copyRows(db, 'excluded', letters());
  const corrected = touched.size;
  const history = corrected > 0 || unseen?.changes.some(({ change }) => change.op !== 'c') === true;
  const newer = new Set<string>();
  for (const { change } of unseen?.changes ?? []) {
    const row = change.after ?? change.before;
    if (row === null) continue;
    touched.add(keyOf(row));
    newer.add(keyOf(row));
  }
  async function* keys() {
    yield [...touched].map((key): CopyValue[] => [...key.split('\u001f'), String(newer.has(key))]);
  }
  if (touched.size > 0) await copyRows(db, 'touched', keys());
  await loadCorrected(db, log, schemas, { processor, touched, dead, settings, history, unseen, rebuilt });
  await db.query(`CREATE INDEX ON excluded (venue, symbol, trade_id); CREATE INDEX ON touched (venue, symbol, trade_id);
    ANALYZE excluded; ANALYZE touched`);
  return { ...found, corrected };
}

function isCorrection({ operation, reason }: LateTrade): boolean {
  return reason === 'OUTSIDE_SESSION' && (operation === 'UPDATE' || operation === 'DELETE');
}

/** Redriven letters. A log of an earlier release has no such topic. */
async function redrivesOf(log: Log, schemas: Schemas, processor: string): Promise<ReadonlyMap<string, unknown>> {
  try {
    return await readRedrives(log, schemas, deadTopic(processor));
  } catch (error) {
    if (isError(error, 'TOPIC_MISSING')) return new Map();
    throw error;
  }
}

async function changeOf(decoder: AvroDecoder<TradeChange>, letter: DeadLetter): Promise<TradeChange | undefined> {
  if (letter.value === null) return undefined;
  try {
    const missing = decoder.missing([letter.value]);
    if (missing.length > 0) await decoder.prepare(missing);
    return decoder.decode(letter.value);
  } catch (error) {
    if (error instanceof MillraceError && (error.disposition === 'deadLetter' || isError(error, 'SCHEMA_INCOMPATIBLE')))
      return undefined;
    throw error;
  }
}
