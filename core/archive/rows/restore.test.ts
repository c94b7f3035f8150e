/** What the archive holds of a record is enough to make it again. */
import { describe, expect, test } from '@jest/globals';
import { type Anomaly, anomalySchema } from '../../../schemas/gen/anomaly.ts';
import { type Candle, candleSchema } from '../../../schemas/gen/candle.ts';
import type { InstrumentChange, InstrumentRow } from '../../../schemas/gen/instrument_change.ts';
import { type TradeChange, type TradeRow, tradeChangeSchema } from '../../../schemas/gen/trade_change.ts';
import fc from '../../../test/support/property.ts';
import { avroType } from '../../avro/types.ts';
import type { LogRecord } from '../../log/log.ts';
import { redrivenHeaders } from '../../log/redriven.ts';
import type { ColumnValue } from '../../values/rowhash/rowhash.ts';
import { formatTimestamp } from '../../values/time.ts';
import { sequenceOf } from './origin.ts';
import { type Restored, restoredColumns, restorer } from './restore.ts';
import { lineageValues, type Table, tables } from './tables.ts';

const at = { offset: 42n, timestamp: 1_700_000_000_123n };

function rowOf(
  table: Table,
  value: object,
  record: Pick<LogRecord, 'offset' | 'timestamp' | 'headers'>,
): ColumnValue[] {
  const data = table.row(value);
  const values = table.columns.map((column) => (data === undefined ? null : column.read(data)));
  const old = table.before?.(value);
  const before =
    table.before === undefined ? [] : table.columns.map((column) => (old === undefined ? null : column.read(old)));
  return [...values, ...lineageValues(table, { topic: table.topic, partition: 3 }, record, value), ...before];
}

function again(table: Table, value: object, headers?: LogRecord['headers']): Restored {
  return restorer(table)(rowOf(table, value, headers === undefined ? at : { ...at, headers }), true);
}

const long = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const instant = fc.bigInt({ min: 0n, max: 4_000_000_000_000_000n });
const decimal = fc.bigInt({ min: -(10n ** 20n - 1n), max: 10n ** 20n - 1n });
const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: null });

const row: fc.Arbitrary<TradeRow> = fc.record({
  venue: fc.string(),
  symbol: fc.string(),
  trade_id: fc.string(),
  venue_sequence: maybe(long),
  price: decimal,
  size: decimal,
  side: fc.constantFrom('buy', 'sell', 'unknown'),
  executed_at: instant.map(formatTimestamp),
  conditions: maybe(fc.string()),
});
const lsn = fc.bigInt({ min: 1n, max: 2n ** 62n });
const sequence = fc.oneof(
  fc
    .record({ lsn, commit: fc.oneof(fc.constant(0n), lsn) })
    .map((each) => [sequenceOf(each.commit, each.lsn), each.lsn] as const),
  fc.tuple(fc.constantFrom('["0","5"]', '["7","007"]', '[]', 'odd', ''), maybe(lsn)),
  fc.tuple(fc.constant(null), maybe(lsn)),
);
const change: fc.Arbitrary<TradeChange> = fc
  .record({
    before: maybe(row),
    after: maybe(row),
    op: fc.constantFrom('c', 'r', 'u', 'd', 't', 'm'),
    at: sequence,
    time: instant,
    snapshot: fc.constantFrom(null, 'false', 'true', 'incremental', 'last'),
    txId: maybe(long),
  })
  .map(({ before, after, op, at: [text, lsn], time, snapshot, txId }) => ({
    before,
    after,
    op,
    source: { ts_us: time, snapshot, sequence: text, txId, lsn },
  }));

describe('a record made of its row', () => {
  test('is the change that was captured, in every field that anybody reads', () => {
    fc.assert(
      fc.property(change, (value) => {
        expect(again(tables['cdc.public.trades'], value)).toEqual({ ...at, value });
        // Field by field, and by the schema: the bytes are the same.
        const type = avroType(tradeChangeSchema);
        const restored = again(tables['cdc.public.trades'], value).value;
        expect(type.toBuffer(restored).equals(type.toBuffer(value))).toBe(true);
      }),
    );
  });

  test('is the candle, with and without provenance, prices and trades', () => {
    const candle: fc.Arbitrary<Candle> = fc.record({
      venue: fc.string(),
      symbol: fc.string(),
      interval: fc.string(),
      window_start: long,
      window_end: long,
      open: maybe(decimal),
      high: maybe(decimal),
      low: maybe(decimal),
      close: maybe(decimal),
      vwap: maybe(decimal),
      volume: decimal,
      notional: decimal,
      trade_count: long,
      first_trade_id: maybe(fc.string()),
      last_trade_id: maybe(fc.string()),
      open_time: maybe(long),
      high_time: maybe(long),
      low_time: maybe(long),
      close_time: maybe(long),
      status: fc.constantFrom('PARTIAL', 'CLOSED', 'REVISED', 'FILLED'),
      revision: fc.nat(),
      reason: fc.constantFrom('CADENCE', 'WATERMARK', 'LATE_TRADE', 'CORRECTION', 'CANCEL', 'GAP'),
      provenance: maybe(
        fc.record({ processor_version: fc.string(), from_offset: long, to_offset: long, from_lsn: long, to_lsn: long }),
      ),
    });
    fc.assert(
      fc.property(candle, (value) => {
        const type = avroType(candleSchema);
        const restored = again(tables['market.candles'], value);
        expect(restored).toEqual({ ...at, value });
        expect(type.toBuffer(restored.value).equals(type.toBuffer(value))).toBe(true);
      }),
    );
  });

  test('is the change of an instrument, booleans included', () => {
    const row: fc.Arbitrary<InstrumentRow> = fc.record({
      venue: fc.string(),
      symbol: fc.string(),
      base: fc.string(),
      quote: fc.string(),
      tick_size: decimal,
      lot_size: decimal,
      active: fc.boolean(),
    });
    fc.assert(
      fc.property(row, row, fc.constantFrom('c', 'r', 'u', 'd'), instant, lsn, (before, after, op, time, lsn) => {
        const value: InstrumentChange = {
          before: op === 'u' || op === 'd' ? before : null,
          after: op === 'd' ? null : after,
          op,
          source: { ts_us: time, snapshot: 'false', sequence: sequenceOf(0n, lsn), txId: 7n, lsn },
        };
        expect(again(tables['cdc.public.instruments'], value)).toEqual({ ...at, value });
      }),
    );
  });

  test('is the anomaly, its lists included, also with integers that JSON would round', () => {
    const key = { venue: 'v', symbol: 's', interval: '1m', window_start: 5n };
    const anomaly: Anomaly = {
      ...key,
      type: 'volume_spike',
      severity: 'HIGH',
      status: 'RAISED',
      revision: 0,
      volume: null,
      mean_volume: 10n ** 38n - 1n,
      volume_ratio: null,
      open: null,
      close: 5n,
      price_change: -6n,
      thresholds: { volume_multiple: 3n, price_change: 5n, lookback: 20, direction: 'BOTH' },
      candle: key,
      baseline: [2n ** 62n + 1n, -5n],
      rule: 'volume_spike',
      rule_version: -1n,
      event: '',
      explanation: '…',
      figures: [{ name: 'r', value: '3', limit: null }],
      causes: [{ topic: 'market.candles', offset: 2n ** 63n - 1n, id: '7' }],
    };
    const type = avroType(anomalySchema);
    for (const value of [
      anomaly,
      { ...anomaly, thresholds: null, candle: null, baseline: [], figures: [], causes: [] },
    ]) {
      const restored = again(tables['market.anomalies'], value);
      expect(restored).toEqual({ ...at, value });
      expect(type.toBuffer(restored.value).equals(type.toBuffer(value))).toBe(true);
    }
  });

  test('still says that it was redriven, and for whom', () => {
    const headers = redrivenHeaders({
      processor: 'ohlcv',
      attempts: 2,
      firstOrigin: 't/0/1',
      letter: 'ohlcv.dead/0/0',
    });
    const value = {
      before: null,
      after: null,
      op: 't',
      source: { ts_us: 1n, snapshot: null, sequence: null, txId: null, lsn: null },
    };
    expect(again(tables['cdc.public.trades'], value, { ...headers, other: Buffer.from('x') }).headers).toEqual(headers);
    expect(again(tables['cdc.public.trades'], value, { other: Buffer.from('x') }).headers).toBeUndefined();
  });
});

test('a row without its lineage is no record', () => {
  const restore = restorer(tables['market.candles']);
  const columns = restoredColumns(tables['market.candles']);
  expect(() =>
    restore(
      columns.map(() => null),
      true,
    ),
  ).toThrow(expect.objectContaining({ code: 'ARCHIVE_DAMAGED' }));
});

test('an update of a file that has no rows before changes is refused, an insert or a delete is not', () => {
  const trades = tables['cdc.public.trades'];
  const restore = restorer(trades);
  const [value] = fc.sample(change, 1);
  const full = fc.sample(row, 1)[0] as TradeRow;
  const as = (op: string, before: TradeRow | null, after: TradeRow | null): TradeChange => ({
    ...(value as TradeChange),
    op,
    before,
    after,
  });
  const flat = (each: TradeChange) => {
    const values = rowOf(trades, each, at);
    return restore([...values.slice(0, -trades.columns.length), ...trades.columns.map(() => null)], false).value;
  };
  expect(flat(as('c', null, full))).toEqual(as('c', null, full));
  expect(flat(as('d', full, null))).toEqual(as('d', full, null));
  expect(() => flat(as('u', full, full))).toThrow(expect.objectContaining({ code: 'REPLAY_IMPOSSIBLE' }));
});
