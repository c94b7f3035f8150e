import { Driver, type DriverOptions } from '../../../core/testing/driver.ts';
import { parseDecimal } from '../../../core/values/decimal.ts';
import { formatTimestamp } from '../../../core/values/time.ts';
import type { Anomaly } from '../../../schemas/gen/anomaly.ts';
import type { AnomalyKey } from '../../../schemas/gen/anomaly_key.ts';
import type { Candle, CandleStatus } from '../../../schemas/gen/candle.ts';
import { anomaly } from '../anomaly.ts';
import type { Traded } from '../rules/measure.ts';
import { parseRule, toRecord } from '../rules/parse.ts';
import type { Rule } from '../rules/rule.ts';
import type { AnomalySettings } from '../settings.ts';
import type { TradeNews } from '../trade-schema.ts';
import { tradesTopic } from '../trades.ts';

export const SETTINGS: AnomalySettings = {
  volumeMultiple: '3',
  priceChange: '0.05',
  lookback: 20,
  direction: 'any',
  revisable: 60,
};
export const MINUTE = 60_000_000n;
export const SECOND = 1_000_000n;

export const units = (text: string): bigint => parseDecimal(text, 8);

export interface Fields {
  /** Minute of the window's start. */
  readonly at: number;
  readonly symbol?: string;
  readonly interval?: string;
  readonly volume?: string;
  readonly open?: string | null;
  readonly close?: string;
  readonly status?: CandleStatus;
  readonly revision?: number;
}

export function candle({ at, symbol = 'BTC/USD', interval = '1m', volume = '10', ...fields }: Fields): Candle {
  const open = fields.open === null ? null : units(fields.open ?? '100');
  const close = fields.open === null ? null : units(fields.close ?? '100');
  const time = BigInt(at) * MINUTE;
  return {
    venue: 'bitstamp',
    symbol,
    interval,
    window_start: time,
    window_end: time + MINUTE,
    open,
    high: open,
    low: open,
    close,
    vwap: open,
    volume: units(volume),
    notional: 0n,
    trade_count: 1n,
    first_trade_id: 'a',
    last_trade_id: 'a',
    open_time: time,
    high_time: time,
    low_time: time,
    close_time: time,
    status: fields.status ?? 'CLOSED',
    revision: fields.revision ?? 1,
    reason: 'WATERMARK',
    provenance: null,
  };
}

/** A candle in the form that rules read. */
export function kept(at: number, fields: { readonly [K in 'open' | 'close' | 'volume']?: string } = {}): Traded {
  const open = units(fields.open ?? '100');
  const close = units(fields.close ?? '100');
  const [low, high] = open < close ? [open, close] : [close, open];
  return {
    window_start: BigInt(at) * MINUTE,
    revision: 1,
    closed_at: BigInt(at),
    offset: BigInt(at),
    first: at === 0,
    open,
    close,
    high,
    low,
    vwap: open,
    volume: units(fields.volume ?? '10'),
    trade_count: 1n,
  };
}

export const rule = (fields: object): Rule => parseRule(fields);

export interface TradeFields {
  readonly id: string;
  /** Log time, seconds. */
  readonly log: number;
  readonly symbol?: string;
  readonly sequence?: bigint | null;
  readonly op?: string;
  /** Event time, microseconds. Default: the log time. */
  readonly time?: bigint;
}

let lsn = 0n;

export function trade({ id, log, symbol = 'BTC/USD', sequence = null, op = 'c', time }: TradeFields): TradeNews {
  const commit = BigInt(Math.round(log * 1e6));
  const row = {
    venue: 'bitstamp',
    symbol,
    trade_id: id,
    venue_sequence: sequence,
    executed_at: formatTimestamp(time ?? commit),
  };
  lsn += 1n;
  return {
    before: op === 'd' ? row : null,
    after: op === 'd' ? null : row,
    op,
    source: { ts_us: commit, snapshot: 'false', sequence: `["${lsn}","${lsn}"]`, txId: 1n, lsn },
  };
}

type Value = Candle | TradeNews;

/** An anomaly processor with a short text form of its output. */
export class Bench implements AsyncDisposable {
  readonly driver: Driver<Value>;
  #sent = 0n;

  private constructor(driver: Driver<Value>) {
    this.driver = driver;
  }

  static async open(
    options: { readonly settings?: Partial<AnomalySettings>; readonly rules?: readonly object[] } & DriverOptions = {},
  ): Promise<Bench> {
    const { settings, rules, ...driver } = options;
    const builtIn = rules?.map((each) => parseRule(each));
    return new Bench(await Driver.open(anomaly({ ...SETTINGS, ...settings }, builtIn), driver));
  }

  candles(...all: readonly Candle[]): void {
    for (const each of all) this.driver.send(each, { timestamp: this.#sent++ });
  }

  trades(...all: readonly TradeFields[]): void {
    for (const each of all) {
      this.driver.send(trade(each), { topic: tradesTopic, timestamp: BigInt(Math.round(each.log * 1000)) });
    }
  }

  rule(fields: { readonly id: string } & Readonly<Record<string, unknown>>): void {
    this.driver.table('rules', { id: fields.id }, toRecord(fields));
  }

  removeRule(id: string): void {
    this.driver.table('rules', { id }, null);
  }

  anomalies() {
    return this.driver.outputs<AnomalyKey, Anomaly>('market.anomalies');
  }

  /** Output such as `volume_spike@20 RAISED 1`: the rule, the minute of its window or the id of its trade, status and revision. */
  async said(): Promise<string[]> {
    await this.driver.run();
    return (await this.anomalies()).map(({ value }) => {
      const { rule: id, window_start, event, status, revision } = value as Anomaly;
      return `${id}@${event === '' ? window_start / MINUTE : event} ${status} ${revision}`;
    });
  }

  async late(): Promise<(Candle | null)[]> {
    return (await this.driver.outputs<object, Candle>('anomaly.late')).map(({ value }) => value);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.driver[Symbol.asyncDispose]();
  }
}
