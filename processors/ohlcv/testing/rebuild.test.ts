/** Rebuild of candles by an operator's order, with the trades that came too late for them. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { Driver } from '../../../core/testing/driver.ts';
import type { TransactionFault } from '../../../core/testing/memory-log.ts';
import type { Candle } from '../../../schemas/gen/candle.ts';
import type { TradeChange } from '../../../schemas/gen/trade_change.ts';
import { ohlcv } from '../ohlcv.ts';
import { giveOrders, openOrders } from '../rebuild/carry-out.ts';
import { planRebuild, type RebuildPlan } from '../rebuild/plan.ts';
import type { Scope } from '../rebuild/touched.ts';
import { candles, Feed, line, SETTINGS, type TradeFields, time } from './fixture.ts';
import { rebuild } from './rebuild.ts';

const settings = { ...SETTINGS, allowedLatenessMs: 3_600_000 };
let driver: Driver<TradeChange>;
let feed: Feed;

beforeEach(async () => {
  driver = await Driver.open(ohlcv(settings));
  feed = new Feed();
});
afterEach(async () => {
  await driver[Symbol.asyncDispose]();
});

const trade = (fields: TradeFields) => driver.send(feed.change({ log: '20:00:00', ...fields }));
const planned = (scope: Scope = {}): Promise<RebuildPlan> =>
  planRebuild({ log: driver.log, schemas: driver.schemas, settings, scope });
const again = (scope: Scope = {}) => rebuild(driver, settings, scope);

/** Newest revision of each candle of a symbol, by interval and window, without its revision history. */
async function newest(symbol = 'BTC/USD'): Promise<Map<string, object>> {
  const found = new Map<string, object>();
  for (const { symbol: of, status: _, revision: __, reason: ___, provenance: ____, ...figures } of await candles(
    driver,
  )) {
    if (of === symbol) found.set(`${figures.interval} ${figures.window_start}`, figures);
  }
  return found;
}

async function rebuilt(): Promise<Candle[]> {
  return (await candles(driver)).filter(({ reason }) => reason === 'REBUILT');
}

/** A file of four hours, a trade every 30 s, loaded at once. */
const file = (symbol: string): TradeFields[] =>
  Array.from({ length: 480 }, (_, i) => {
    const second = 12 * 3600 + i * 30;
    const at = new Date(second * 1000).toISOString().slice(11, 19);
    return { at, id: `t${i}`, symbol, price: `${100 + ((i * 7) % 13)}`, log: '20:00:00' };
  });

describe('a history that was loaded newest first', () => {
  test('has the candles of the same history oldest first, after one rebuild', async () => {
    for (const fields of file('ASC')) trade(fields);
    for (const fields of file('DESC').reverse()) trade(fields);
    await driver.beat(time('23:00:00'));
    expect((await newest('DESC')).size).toBeLessThan((await newest('ASC')).size);
    const { plan, rebuilt: count } = await again({ symbols: ['DESC'] });
    expect(plan.symbols).toMatchObject([{ symbol: 'DESC', notFrozen: 0, incomplete: { candles: 0, trades: 0 } }]);
    const lacking = plan.symbols[0]?.candles.filter(({ interval }) => interval === '1m') ?? [];
    expect(lacking.reduce((sum, { notApplied }) => sum + notApplied, 0)).toBe(358);
    expect(lacking.reduce((sum, { trades }) => sum + trades, 0)).toBe(0);
    expect(lacking.reduce((sum, { tradesInLog }) => sum + tradesInLog, 0)).toBe(358);
    expect(count).toBe(plan.symbols[0]?.candles.length);
    const figures = async (symbol: string) =>
      new Map([...(await newest(symbol))].map(([key, each]) => [key, { ...each, symbol: '' }]));
    expect(await figures('DESC')).toEqual(await figures('ASC'));
  });

  test('is mended once: a second plan is empty, and a trade that comes late again is planned with its candles alone', async () => {
    for (const fields of file('DESC').reverse()) trade(fields);
    await driver.beat(time('23:00:00'));
    await again();
    expect(await planned()).toMatchObject({ symbols: [], orders: [], pending: 0, behind: 0n });
    trade({ at: '12:00:10', id: 'more', symbol: 'DESC', price: '7', log: '23:00:01' });
    await driver.run();
    const { plan } = await again({ venue: 'bitstamp', symbols: ['DESC'] });
    expect(plan.orders.flatMap(({ windows }) => windows)).toHaveLength(2);
    const [minute] = (await rebuilt()).slice(-2);
    expect(minute).toMatchObject({ interval: '1m', revision: 2, low: 700_000_000n, trade_count: 3n });
  });

  test('is mended in part, where a range of event time is given: windows that overlap it', async () => {
    for (const fields of file('DESC').reverse()) trade(fields);
    await driver.beat(time('23:00:00'));
    await again({ from: time('12:10:30'), to: time('12:12:00') });
    expect((await rebuilt()).map(line).map((text) => text.slice(5, 16))).toEqual([
      '1m 12:10:00',
      '1m 12:11:00',
      '5m 12:10:00',
    ]);
  });
});

test('a symbol without trades for months has frozen candles: what comes for them is not applied, and a rebuild takes it', async () => {
  trade({ at: '12:00:05', log: '12:00:05', id: 'a', price: '100' });
  await driver.beat(time('2025-07-20T00:00:00Z'));
  driver.crash();
  trade({ at: '12:00:15', log: '2025-07-20T00:00:01Z', id: 'b', price: '150' });
  await driver.run();
  expect((await candles(driver)).map(line)).toEqual([
    'BTC/USD 1m 12:00:00 CLOSED#1 o100 h100 l100 c100 v1 n1',
    'BTC/USD 5m 12:00:00 CLOSED#1 o100 h100 l100 c100 v1 n1',
  ]);
  await driver.beat(time('2025-08-20T00:00:00Z'));
  const { plan, rebuilt: count } = await again();
  expect([plan.symbols[0]?.notFrozen, count]).toEqual([0, 2]);
  expect((await rebuilt()).map(line)).toEqual([
    'BTC/USD 1m 12:00:00 REVISED#2 o100 h150 l100 c150 v2 n2',
    'BTC/USD 5m 12:00:00 REVISED#2 o100 h150 l100 c150 v2 n2',
  ]);
});

describe('a candle that is made again', () => {
  /** A frozen candle of three trades; all later trades are too late. */
  beforeEach(async () => {
    trade({ at: '12:00:05', log: '12:00:05', id: 'a', price: '100' });
    trade({ at: '12:00:15', log: '12:00:15', id: 'b', price: '150' });
    trade({ at: '12:00:25', log: '12:00:25', id: 'c', price: '120' });
    await driver.beat(time('15:00:00'));
  });

  test('has trades as they are now: corrected, cancelled, moved here and away, and none that was refused', async () => {
    trade({ at: '12:00:15', id: 'b', op: 'u', price: '90', was: { price: '150' } });
    trade({ at: '12:00:25', id: 'c', op: 'd', price: '120' });
    trade({ at: '12:00:40', id: 'd', price: '130' });
    trade({ at: '12:30:00', id: 'd', op: 'u', price: '130', was: { at: '12:00:40' } });
    trade({ at: '12:31:00', id: 'e', price: '140' });
    trade({ at: '12:00:50', id: 'e', op: 'u', price: '140', was: { at: '12:31:00' } });
    trade({ at: '12:00:55', id: 'bad', size: '-1' });
    trade({ at: '12:00:05', id: 'a', op: 'u', size: '-2', was: { size: '1' } });
    await driver.run();
    const { plan } = await again({ symbols: ['BTC/USD'] });
    const found = plan.symbols[0]?.candles.map(({ interval, tradesInLog }) => [interval, tradesInLog]);
    expect(found).toEqual([
      ['1m', 3],
      ['5m', 3],
      ['1m', 1],
      ['5m', 1],
      ['1m', 0],
    ]);
    expect((await rebuilt()).map(line)).toEqual([
      'BTC/USD 1m 12:00:00 REVISED#2 o100 h140 l90 c140 v3 n3',
      'BTC/USD 1m 12:30:00 REVISED#1 o130 h130 l130 c130 v1 n1',
      'BTC/USD 5m 12:00:00 REVISED#2 o100 h140 l90 c140 v3 n3',
      'BTC/USD 5m 12:30:00 REVISED#1 o130 h130 l130 c130 v1 n1',
    ]);
  });

  test('has nulls when its last trade is gone; one that was never published and has none is not published', async () => {
    for (const [id, at, price] of [
      ['a', '12:00:05', '100'],
      ['b', '12:00:15', '150'],
      ['c', '12:00:25', '120'],
    ] as const) {
      trade({ id, at, price, op: 'd' });
    }
    trade({ id: 'x', at: '12:20:00' });
    trade({ id: 'x', at: '12:20:00', op: 'd' });
    await driver.run();
    const { plan, rebuilt: count } = await again();
    expect([plan.symbols[0]?.candles.length, count]).toEqual([4, 2]);
    expect((await rebuilt()).map(line)).toEqual([
      'BTC/USD 1m 12:00:00 REVISED#2 o- h- l- c- v0 n0',
      'BTC/USD 5m 12:00:00 REVISED#2 o- h- l- c- v0 n0',
    ]);
  });

  test('says that it was made of the input up to the order, and with which reason', async () => {
    trade({ at: '12:00:30', id: 'd', price: '90' });
    trade({ at: '19:59:59', id: 'now' });
    await driver.run();
    await again();
    expect(await rebuilt()).toMatchObject([
      { status: 'REVISED', reason: 'REBUILT', provenance: { from_offset: 0n, to_offset: 3n } },
      { status: 'REVISED', reason: 'REBUILT', provenance: { from_offset: 0n, to_offset: 3n } },
    ]);
  });

  test('does not take a refused change that was put right otherwise, and takes one that was', async () => {
    trade({ at: '12:00:30', id: 'd', price: '90', log: '12:00:10', size: '-1' });
    trade({ at: '12:00:30', id: 'd', op: 'u', price: '80', was: { price: '90', size: '-1' } });
    trade({ at: '12:00:45', id: 'ahead', price: '1', log: '11:00:00' });
    await driver.run();
    await again();
    expect((await rebuilt()).map(line)[0]).toBe('BTC/USD 1m 12:00:00 REVISED#2 o100 h150 l80 c80 v4 n4');
    expect(await driver.dead()).toHaveLength(2);
  });
});

describe('a rebuild', () => {
  test('leaves candles alone that are not frozen: they take every change, and wait for the next plan', async () => {
    trade({ at: '12:00:05', log: '12:00:05', id: 'a' });
    trade({ at: '12:10:00', log: '12:10:00', id: 'z' });
    // The log has no earlier record of the trade, so its candle cannot contain it.
    trade({ at: '12:02:00', log: '12:10:01', id: 'unknown', op: 'u', was: { price: '1' } });
    await driver.run();
    const { symbols, orders } = await planned();
    expect(orders).toEqual([]);
    expect(symbols).toMatchObject([{ candles: [], notFrozen: 2 }]);
    await driver.beat(time('16:00:00'));
    await again();
    expect((await rebuilt()).map(line)[0]).toBe('BTC/USD 1m 12:02:00 REVISED#1 o100 h100 l100 c100 v1 n1');
  });

  test('of an order for a candle that is not frozen, or for an unknown symbol, does nothing', async () => {
    trade({ at: '12:00:05', log: '12:00:05', id: 'a' });
    await driver.beat(time('12:05:00'));
    const window = { interval: '1m', window_start: time('12:00:00'), revision: 1 };
    const order = { partition: 0, from_offset: 0n, to_offset: 1n, refused: [], windows: [window] };
    const plan = { symbols: [], pending: 0, behind: 0n };
    for (const symbol of ['BTC/USD', 'NOBODY']) {
      await using writer = await openOrders(driver);
      await giveOrders(driver, writer, { ...plan, orders: [{ venue: 'bitstamp', symbol, ...order }] }, 1n);
    }
    await driver.run();
    expect(await rebuilt()).toEqual([]);
  });

  test('refuses while orders of before are pending, and a command that was overtaken gives none', async () => {
    for (const fields of file('DESC').reverse()) trade(fields);
    await driver.run();
    const first = await openOrders(driver);
    const plan = await planned();
    await using second = await openOrders(driver);
    await expect(giveOrders(driver, first, plan, 1n)).rejects.toMatchObject({ code: 'FENCED' });
    await giveOrders(driver, second, plan, 1n);
    const next = await planned();
    expect(next.pending).toBe(plan.orders.length);
    await expect(giveOrders(driver, second, next, 1n)).rejects.toMatchObject({ code: 'STAGE_BEHIND' });
    await driver.run();
    expect(await planned()).toMatchObject({ pending: 0, orders: [] });
  });

  test('names candles whose input the log has deleted in part, and makes the others', async () => {
    trade({ at: '12:00:05', log: '12:00:05', id: 'a' });
    trade({ at: '12:00:06', log: '12:00:06', id: 'b' });
    await driver.beat(time('14:00:00'));
    trade({ at: '12:00:30', id: 'late' });
    trade({ at: '12:20:30', id: 'later' });
    await driver.run();
    driver.log.trim({ topic: 'cdc.public.trades', partition: 0 }, 2n);
    const { plan } = await again();
    expect(plan.symbols).toMatchObject([{ incomplete: { candles: 2, trades: 2 } }]);
    expect((await rebuilt()).map(line)).toEqual([
      'BTC/USD 1m 12:20:00 REVISED#1 o100 h100 l100 c100 v1 n1',
      'BTC/USD 5m 12:20:00 REVISED#1 o100 h100 l100 c100 v1 n1',
    ]);
  });

  test('passes over an order whose input has gone since it was planned, and goes on with the next one', async () => {
    for (const symbol of ['A', 'B']) {
      trade({ at: '12:00:05', log: '12:00:05', id: 'a', symbol });
    }
    await driver.beat(time('14:00:00'));
    trade({ at: '12:10:30', id: 'late', symbol: 'A' });
    trade({ at: '12:10:30', id: 'late', symbol: 'B' });
    await driver.run();
    const trimming = async (): Promise<void> => {
      driver.log.trim({ topic: 'cdc.public.trades', partition: 0 }, 3n);
      await driver.run();
    };
    expect(await rebuild(driver, settings, {}, trimming)).toMatchObject({ rebuilt: 2 });
    expect((await rebuilt()).map(({ symbol }) => symbol)).toEqual(['B', 'B']);
  });

  test('is refused where gaps are filled: what follows would keep the old close', async () => {
    const how = { log: driver.log, schemas: driver.schemas, settings: { ...settings, fillMs: 60_000 }, scope: {} };
    await expect(planRebuild(how)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });
});

/** Many small orders and commits, with faults. */
async function bytes(faults: readonly TransactionFault[], crashAfter: number | undefined): Promise<string[]> {
  await using own = await Driver.open(ohlcv({ ...settings, intervals: ['1s', '1m', '5m'] }), { commitRecords: 40 });
  feed = new Feed();
  for (const fields of file('DESC').reverse()) own.send(feed.change(fields));
  await own.run();
  own.fault(0, ...faults);
  const how = { ...settings, intervals: ['1s', '1m', '5m'] };
  await rebuild(own, how, {}, async () => {
    if (crashAfter !== undefined) {
      own.send(feed.change({ at: '19:59:00', log: '20:00:01', symbol: 'OTHER' }));
      await own.run({ records: crashAfter });
      own.crash();
    } else own.send(feed.change({ at: '19:59:00', log: '20:00:01', symbol: 'OTHER' }));
    await own.run();
  });
  const outputs = await own.outputs('market.candles');
  return outputs.map(
    ({ timestamp, bytes: { key, value } }) => `${timestamp} ${key?.toString('hex')} ${value?.toString('hex')}`,
  );
}

test('a rebuild that is interrupted at any step gives the same bytes, once', async () => {
  const expected = await bytes([], undefined);
  expect(expected.length).toBeGreaterThan(358);
  expect(await bytes([], 1)).toEqual(expected);
  for (let at = 0; at < 3; at++) {
    for (const fault of ['abort', 'unknown-committed', 'unknown-aborted'] as const) {
      // Barriers of takeovers are transactions too.
      const faults = [...Array.from({ length: at }, () => undefined as unknown as TransactionFault), fault];
      expect(await bytes(faults, undefined)).toEqual(expected);
    }
  }
});

test('a session that its calendar does not have any more is passed over, by the plan and by the task', async () => {
  const how = { ...settings, intervals: ['1m', 'session'], allowedLatenessMs: 0, calendars: { bitstamp: 'XNYS' } };
  await using own = await Driver.open(ohlcv(how));
  feed = new Feed();
  own.send(feed.change({ at: '14:00:00', log: '14:00:00', id: 'a' }));
  await own.beat(time('2025-06-03T14:00:00Z'));
  own.send(feed.change({ at: '14:00:30', log: '2025-06-03T15:00:00Z', id: 'late' }));
  await own.run();
  const sources = { log: own.log, schemas: own.schemas, scope: {} };
  const before = await planRebuild({ ...sources, settings: how });
  expect(before.orders[0]?.windows.map(({ interval }) => interval)).toEqual(['session', '1m']);
  await own.deploy(ohlcv({ ...how, calendars: {} }));
  const after = await planRebuild({ ...sources, settings: { ...how, calendars: {} } });
  expect(after.orders[0]?.windows.map(({ interval }) => interval)).toEqual(['1m']);
  await using writer = await openOrders(own);
  await giveOrders(own, writer, before, 1n);
  await own.run();
  const made = (await candles(own)).filter(({ reason }) => reason === 'REBUILT');
  expect(made.map(({ interval, trade_count }) => [interval, trade_count])).toEqual([['1m', 2n]]);
});
