/** Shared by the tests of this folder: trades as Postgres changes, and short text of candles. */

import type { Driver } from '../../../core/testing/driver.ts';
import { formatTrimmed, parseDecimal } from '../../../core/values/decimal.ts';
import { formatTimestamp, parseTimestamp } from '../../../core/values/time.ts';
import type { Candle } from '../../../schemas/gen/candle.ts';
import type { DeadLetter } from '../../../schemas/gen/dead_letter.ts';
import type { LateTrade } from '../../../schemas/gen/late_trade.ts';
import type { TradeChange, TradeRow } from '../../../schemas/gen/trade_change.ts';
import type { OhlcvSettings } from '../settings.ts';

export const SETTINGS: OhlcvSettings = {
  intervals: ['1m', '5m'],
  watermarkDelayMs: 5_000,
  maxFutureSkewMs: 10_000,
  partialMs: 0,
};

export interface TradeFields {
  /** Event time: an ISO timestamp, or a time of day of 2025-06-02. */
  readonly at: string;
  /** Log time, in the same form. Default: the event time. */
  readonly log?: string;
  readonly id?: string;
  readonly venue?: string;
  readonly symbol?: string;
  readonly price?: string;
  readonly size?: string;
  readonly sequence?: bigint;
  readonly op?: string;
  readonly snapshot?: string;
  readonly lsn?: bigint;
  /** For an update: fields of the old row that differ. */
  readonly was?: { readonly at?: string; readonly price?: string; readonly size?: string };
}

/** Microseconds of an ISO timestamp or of a time of day of 2025-06-02. */
export function time(text: string): bigint {
  return parseTimestamp(text.includes('T') ? text : `2025-06-02T${text}Z`);
}

/** Makes changes in Debezium's form, each with its own LSN. */
export class Feed {
  #lsn = 1000n;

  change(fields: TradeFields): TradeChange {
    this.#lsn += 1n;
    const lsn = fields.lsn ?? this.#lsn;
    const row: TradeRow = {
      venue: fields.venue ?? 'bitstamp',
      symbol: fields.symbol ?? 'BTC/USD',
      trade_id: fields.id ?? `t${this.#lsn}`,
      venue_sequence: fields.sequence ?? null,
      price: parseDecimal(fields.price ?? '100', 8),
      size: parseDecimal(fields.size ?? '1', 8),
      side: 'buy',
      executed_at: formatTimestamp(time(fields.at)),
      conditions: null,
    };
    const op = fields.op ?? 'c';
    return {
      before: op === 'u' || op === 'd' ? before(row, fields.was ?? {}) : null,
      after: op === 'd' || op === 't' ? null : row,
      op,
      source: {
        ts_us: time(fields.log ?? fields.at),
        snapshot: fields.snapshot ?? 'false',
        sequence: `["${lsn - 1n}","${lsn}"]`,
        txId: null,
        lsn,
      },
    };
  }
}

function before(row: TradeRow, was: NonNullable<TradeFields['was']>): TradeRow {
  return {
    ...row,
    ...(was.at === undefined ? {} : { executed_at: formatTimestamp(time(was.at)) }),
    ...(was.price === undefined ? {} : { price: parseDecimal(was.price, 8) }),
    ...(was.size === undefined ? {} : { size: parseDecimal(was.size, 8) }),
  };
}

const values = async <V>(driver: Driver<TradeChange>, topic: string): Promise<V[]> =>
  (await driver.outputs<object, V>(topic)).flatMap(({ value }) => (value === null ? [] : [value]));

export const candles = (driver: Driver<TradeChange>) => values<Candle>(driver, 'market.candles');
export const lateTrades = (driver: Driver<TradeChange>) => values<LateTrade>(driver, 'ohlcv.late');
export const deadLetters = (driver: Driver<TradeChange>) => values<DeadLetter>(driver, 'ohlcv.dead');

/** `UPDATE REVISED 1m 12:00:00` */
export function lateLine({ reason, effect, interval, window_start }: LateTrade): string {
  const start = window_start === null ? '-' : formatTimestamp(window_start).slice(11, 19);
  return `${reason} ${effect} ${interval ?? '-'} ${start}`;
}

export const lateLines = async (driver: Driver<TradeChange>) => (await lateTrades(driver)).map(lateLine);

/** `BTC/USD 1m 12:00:00 CLOSED#1 o100 h100 l100 c100 v1 n1` */
export function line(candle: Candle): string {
  const price = (units: bigint | null) => (units === null ? '-' : formatTrimmed(units, 8));
  const { open, high, low, close, volume } = candle;
  const start = formatTimestamp(candle.window_start).slice(11, 19);
  const prices = `o${price(open)} h${price(high)} l${price(low)} c${price(close)} v${price(volume)}`;
  const life = `${candle.status}#${candle.revision}`;
  return `${candle.symbol} ${candle.interval} ${start} ${life} ${prices} n${candle.trade_count}`;
}

export const lines = async (driver: Driver<TradeChange>) => (await candles(driver)).map(line);
