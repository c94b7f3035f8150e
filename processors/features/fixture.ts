/** Shared by the tests of this folder: trades as Postgres changes, and short text of features. */

import { Driver } from '../../core/testing/driver.ts';
import { formatTrimmed, parseDecimal } from '../../core/values/decimal.ts';
import { formatTimestamp, parseTimestamp } from '../../core/values/time.ts';
import type { DeadLetter } from '../../schemas/gen/dead_letter.ts';
import type { Features, WindowFeatures } from '../../schemas/gen/features.ts';
import type { LateTrade } from '../../schemas/gen/late_trade.ts';
import type { TradeChange, TradeRow } from '../../schemas/gen/trade_change.ts';
import { features } from './features.ts';
import type { FeaturesSettings } from './settings.ts';

export const SETTINGS: FeaturesSettings = {
  set: 'test',
  step: '1m',
  windows: ['1m', '3m'],
  profileDigits: 2,
  watermarkDelayMs: 5_000,
  maxFutureSkewMs: 10_000,
  allowedLatenessMs: 3_600_000,
};

export interface RowFields {
  /** Event time: a time of day of 2025-06-02. */
  readonly at: string;
  readonly id?: string;
  readonly symbol?: string;
  readonly price?: string;
  readonly size?: string;
  readonly side?: string;
}

/** Microseconds of a time of day of 2025-06-02. */
export function time(text: string): bigint {
  return parseTimestamp(`2025-06-02T${text}Z`);
}

export function row({ at, id = at, symbol = 'BTC/USD', price = '100', size = '1', side = 'buy' }: RowFields): TradeRow {
  return {
    venue: 'bitstamp',
    symbol,
    trade_id: id,
    venue_sequence: null,
    price: parseDecimal(price, 8),
    size: parseDecimal(size, 8),
    side,
    executed_at: formatTimestamp(time(at)),
    conditions: null,
  };
}

/** Makes changes in Debezium's form, each with its own LSN. */
export class Feed {
  #lsn = 1000n;

  create(after: RowFields, log: string = after.at): TradeChange {
    return this.#change('c', null, after, log);
  }

  update(before: RowFields, after: RowFields, log: string): TradeChange {
    return this.#change('u', before, after, log);
  }

  delete(before: RowFields, log: string): TradeChange {
    return this.#change('d', before, null, log);
  }

  #change(op: string, before: RowFields | null, after: RowFields | null, log: string): TradeChange {
    this.#lsn += 1n;
    return {
      before: before === null ? null : row(before),
      after: after === null ? null : row(after),
      op,
      source: {
        ts_us: time(log),
        snapshot: 'false',
        sequence: `["${this.#lsn - 1n}","${this.#lsn}"]`,
        txId: null,
        lsn: this.#lsn,
      },
    };
  }
}

const values = async <V>(driver: Driver<TradeChange>, topic: string): Promise<V[]> =>
  (await driver.outputs<object, V>(topic)).flatMap(({ value }) => (value === null ? [] : [value]));

export const rows = (driver: Driver<TradeChange>) => values<Features>(driver, 'market.features');
export const lateTrades = (driver: Driver<TradeChange>) => values<LateTrade>(driver, 'features.late');
export const deadLetters = (driver: Driver<TradeChange>) => values<DeadLetter>(driver, 'features.dead');

const number = (units: bigint | null, scale: number) => (units === null ? '-' : formatTrimmed(units, scale));

/** `3m r0.1 v2 b1 s1 i0 n2` */
export function windowLine(window: WindowFeatures): string {
  const { length, volume, buy_volume, sell_volume, trade_imbalance, trade_count } = window;
  const sides = `b${number(buy_volume, 8)} s${number(sell_volume, 8)} i${number(trade_imbalance, 8)}`;
  return `${length} r${number(window.return, 16)} v${number(volume, 8)} ${sides} n${trade_count}`;
}

/** `12:01:00 p100 | 1m … | 3m …` */
export function line(features: Features): string {
  const at = formatTimestamp(features.as_of).slice(11, 19);
  return [`${at} p${number(features.price, 8)}`, ...features.windows.map(windowLine)].join(' | ');
}

export const lines = async (driver: Driver<TradeChange>) => (await rows(driver)).map(line);

/** A driver that has processed these changes. */
export async function open(changes: readonly TradeChange[], settings: Partial<FeaturesSettings> = {}) {
  const driver = await Driver.open(features({ ...SETTINGS, ...settings }));
  for (const each of changes) driver.send(each);
  await driver.run();
  return driver;
}

export const creates = (feed: Feed, ...trades: readonly RowFields[]) => trades.map((each) => feed.create(each));
