import { describe, expect, test } from '@jest/globals';
import { Driver } from '../../core/testing/driver.ts';
import { parseDecimal } from '../../core/values/decimal.ts';
import { parseTimestamp } from '../../core/values/time.ts';
import type { DeadLetter } from '../../schemas/gen/dead_letter.ts';
import type { InstrumentChange, InstrumentRow } from '../../schemas/gen/instrument_change.ts';
import type { LateTrade } from '../../schemas/gen/late_trade.ts';
import type { MarketTrade } from '../../schemas/gen/market_trade.ts';
import type { TradeChange, TradeRow } from '../../schemas/gen/trade_change.ts';
import { enrichment } from './enrichment.ts';

const INSTRUMENTS = 'cdc.public.instruments';
const executedAt = '2025-06-02T12:00:00.000001Z';
const logTime = 1_748_865_601_000_000n;
let lsn = 1000n;

function trade(fields: Partial<TradeRow> = {}): TradeRow {
  return {
    venue: 'bitstamp',
    symbol: 'BTC/USD',
    trade_id: 't1',
    venue_sequence: 7n,
    price: parseDecimal('100.5', 8),
    size: parseDecimal('0.3', 8),
    side: 'buy',
    executed_at: executedAt,
    conditions: null,
    ...fields,
  };
}

function change(op: string, row: TradeRow | null, snapshot = 'false'): TradeChange {
  lsn += 1n;
  return {
    before: op === 'u' || op === 'd' ? row : null,
    after: op === 'd' ? null : row,
    op,
    source: { ts_us: logTime, snapshot, sequence: `["${lsn}","${lsn}"]`, txId: null, lsn },
  };
}

function instrument(fields: Partial<InstrumentRow> = {}): InstrumentRow {
  const steps = { tick_size: parseDecimal('0.5', 8), lot_size: parseDecimal('0.2', 8) };
  return { venue: 'bitstamp', symbol: 'BTC/USD', base: 'BTC', quote: 'USD', ...steps, active: true, ...fields };
}

function tableChange(op: string, row: InstrumentRow): InstrumentChange {
  lsn += 1n;
  const source = { ts_us: logTime, snapshot: 'false', sequence: `["${lsn}","${lsn}"]`, txId: null, lsn };
  return { before: op === 'd' ? row : null, after: op === 'd' ? null : row, op, source };
}

const keyOf = ({ venue, symbol }: InstrumentRow) => ({ venue, symbol });

async function open(...rows: readonly InstrumentRow[]): Promise<Driver<TradeChange>> {
  const driver = await Driver.open(enrichment());
  for (const row of rows) driver.table(INSTRUMENTS, keyOf(row), tableChange('c', row));
  return driver;
}

async function trades(driver: Driver<TradeChange>): Promise<MarketTrade[]> {
  await driver.run();
  return (await driver.outputs<object, MarketTrade>('market.trades')).flatMap(({ value }) => value ?? []);
}

describe('an enriched trade', () => {
  test('is the trade with the fields of its instrument, exact, and where it came from', async () => {
    await using driver = await open(instrument(), instrument({ symbol: 'ETH/USD', base: 'ETH' }));
    const origin = driver.send(change('c', trade({ price: 10_050_000_001n })));
    const [enriched] = await trades(driver);
    expect(enriched).toEqual({
      venue: 'bitstamp',
      symbol: 'BTC/USD',
      trade_id: 't1',
      venue_sequence: 7n,
      price: 10_050_000_001n,
      size: 30_000_000n,
      notional: 10_050_000_001n * 30_000_000n,
      side: 'buy',
      executed_at: parseTimestamp(executedAt),
      conditions: null,
      operation: 'CREATE',
      instrument: { base: 'BTC', quote: 'USD', tick_size: 50_000_000n, lot_size: 20_000_000n, active: true },
      on_tick: false,
      on_lot: false,
      log_time: logTime,
      lsn,
      origin: { topic: 'cdc.public.trades', partition: 0, offset: origin },
      processor_version: '1',
    });
    const [{ key, timestamp } = { key: null, timestamp: 0n }] = await driver.outputs<object, object>('market.trades');
    expect(key).toEqual({ venue: 'bitstamp', symbol: 'BTC/USD', trade_id: 't1' });
    expect(timestamp).toBe(logTime / 1000n);
  });

  test('has no fields of an instrument that is not known', async () => {
    await using driver = await open(instrument({ symbol: 'ETH/USD' }));
    driver.send(change('c', trade()));
    expect(await trades(driver)).toMatchObject([{ instrument: null, on_tick: null, on_lot: null }]);
  });

  test('is there once for each change, with what Postgres did', async () => {
    await using driver = await open(instrument());
    const size = parseDecimal('0.4', 8);
    driver.send(change('r', trade({ trade_id: 'old' }), 'true'));
    driver.send(change('c', trade()));
    driver.send(change('u', trade({ size })));
    driver.send(change('d', trade({ size })));
    const seen = (await trades(driver)).map(({ trade_id, operation, on_lot }) => [trade_id, operation, on_lot]);
    expect(seen).toEqual([
      ['old', 'READ', false],
      ['t1', 'CREATE', false],
      ['t1', 'UPDATE', true],
      ['t1', 'DELETE', true],
    ]);
  });

  test('has the instrument as it was at its place between the changes of the table, also after a crash', async () => {
    await using driver = await open(instrument({ base: 'first' }));
    const next = async (row: InstrumentRow, op = 'u') => {
      driver.send(change('c', trade({ trade_id: `t${lsn}` })));
      await driver.run();
      driver.table(INSTRUMENTS, keyOf(row), tableChange(op, row));
    };
    await next(instrument({ base: 'second' }));
    driver.crash();
    await next(instrument(), 'd');
    await next(instrument({ base: 'third' }), 'c');
    driver.crash();
    driver.send(change('c', trade({ trade_id: 'last' })));
    const bases = (await trades(driver)).map((each) => each.instrument?.base);
    expect(bases).toEqual(['first', 'second', undefined, 'third']);
  });
});

describe('the processor', () => {
  test('says in its late topic what is no news: changes delivered again, and rows of an incremental snapshot', async () => {
    await using driver = await open();
    const created = change('c', trade());
    driver.send(created);
    driver.send(created);
    driver.send(change('r', trade(), 'incremental'));
    expect(await trades(driver)).toHaveLength(1);
    const late = await driver.outputs<object, LateTrade>('enrichment.late');
    expect(late.map(({ value }) => [value?.reason, value?.effect, value?.origin.offset])).toEqual([
      ['DUPLICATE', 'NOT_APPLIED', 1n],
      ['SNAPSHOT', 'NOT_APPLIED', 2n],
    ]);
  });

  test.each([
    ['a truncated table', change('t', null)],
    ['a change without its row', change('c', null)],
    ['a notional beyond 38 digits', change('c', trade({ price: 10n ** 20n - 1n, size: 10n ** 20n - 1n }))],
    ['a time that is none', change('c', trade({ executed_at: 'noon' }))],
  ])('makes a dead letter of %s, and goes on', async (_, bad) => {
    await using driver = await open();
    driver.send(bad);
    driver.send(change('c', trade()));
    expect(await trades(driver)).toHaveLength(1);
    const dead = await driver.outputs<object, DeadLetter>('enrichment.dead');
    expect(dead.map(({ value }) => value?.reason)).toEqual(['BAD_RECORD']);
  });

  test('makes a dead letter of an instrument without steps, and keeps the row that it has', async () => {
    await using driver = await open(instrument(), instrument({ base: 'bad', tick_size: 0n }));
    driver.send(change('c', trade()));
    expect(await trades(driver)).toMatchObject([{ instrument: { base: 'BTC' }, on_tick: true }]);
    const dead = await driver.outputs<object, DeadLetter>('enrichment.dead');
    expect(dead.map(({ value }) => value?.origin.topic)).toEqual([INSTRUMENTS]);
  });
});
