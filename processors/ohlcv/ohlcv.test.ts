import { describe, expect, test } from '@jest/globals';
import { unavailableValue } from '../../core/capture/captured-row.ts';
import { Driver } from '../../core/testing/driver.ts';
import { ohlcv } from './ohlcv.ts';
import type { OhlcvSettings } from './settings.ts';
import { candles, deadLetters, Feed, lateTrades, lines, SETTINGS, time } from './testing/fixture.ts';

const open = (settings: Partial<OhlcvSettings> = {}) => Driver.open(ohlcv({ ...SETTINGS, ...settings }));

describe('a window', () => {
  test('closes once, when the watermark of its symbol reaches its end', async () => {
    await using driver = await open();
    const feed = new Feed();
    driver.send(feed.change({ at: '12:00:10', id: 'a', price: '100.5', size: '2' }));
    driver.send(feed.change({ at: '12:00:59.999999', id: 'b', price: '99', size: '1' }));
    driver.send(feed.change({ at: '12:01:04.999999', id: 'c', price: '101' }));
    await driver.run();
    expect(await candles(driver)).toEqual([]);
    driver.send(feed.change({ at: '12:01:05', id: 'd', price: '102' }));
    await driver.run();
    expect(await candles(driver)).toEqual([
      {
        venue: 'bitstamp',
        symbol: 'BTC/USD',
        interval: '1m',
        window_start: time('12:00:00'),
        window_end: time('12:01:00'),
        open: 10_050_000_000n,
        high: 10_050_000_000n,
        low: 9_900_000_000n,
        close: 9_900_000_000n,
        vwap: 10_000_000_000n,
        volume: 300_000_000n,
        notional: 3_000_000_000_000_000_000n,
        trade_count: 2n,
        first_trade_id: 'a',
        last_trade_id: 'b',
        open_time: time('12:00:10'),
        high_time: time('12:00:10'),
        low_time: time('12:00:59.999999'),
        close_time: time('12:00:59.999999'),
        status: 'CLOSED',
        revision: 1,
        reason: 'WATERMARK',
        provenance: { processor_version: '4', from_offset: 0n, to_offset: 1n, from_lsn: 1001n, to_lsn: 1002n },
      },
    ]);
  });

  test('that ends together with a longer one closes before it', async () => {
    await using driver = await open();
    const feed = new Feed();
    driver.send(feed.change({ at: '12:04:30' }));
    driver.send(feed.change({ at: '12:10:00' }));
    await driver.run();
    expect(await lines(driver)).toEqual([
      'BTC/USD 1m 12:04:00 CLOSED#1 o100 h100 l100 c100 v1 n1',
      'BTC/USD 5m 12:00:00 CLOSED#1 o100 h100 l100 c100 v1 n1',
    ]);
  });

  test('takes trades in any order up to the allowed lateness', async () => {
    await using driver = await open({ intervals: ['1m'] });
    const feed = new Feed();
    driver.send(feed.change({ at: '12:01:04', log: '12:01:04', price: '3' }));
    driver.send(feed.change({ at: '12:00:59', log: '12:01:04', price: '2' }));
    driver.send(feed.change({ at: '12:00:01', log: '12:01:04', price: '1' }));
    driver.send(feed.change({ at: '12:01:05', log: '12:01:05', price: '4' }));
    await driver.run();
    expect(await lines(driver)).toEqual(['BTC/USD 1m 12:00:00 CLOSED#1 o1 h2 l1 c2 v2 n2']);
    expect(await lateTrades(driver)).toEqual([]);
  });

  test('does not open again for a late trade, also after a restart', async () => {
    await using driver = await open({ intervals: ['1m'] });
    const feed = new Feed();
    driver.send(feed.change({ at: '12:00:10' }));
    driver.send(feed.change({ at: '12:02:00' }));
    await driver.run();
    driver.crash();
    driver.send(feed.change({ at: '12:00:20', log: '12:02:01' }));
    driver.send(feed.change({ at: '12:09:00' }));
    await driver.run();
    expect(await lines(driver)).toEqual([
      'BTC/USD 1m 12:00:00 CLOSED#1 o100 h100 l100 c100 v1 n1',
      'BTC/USD 1m 12:02:00 CLOSED#1 o100 h100 l100 c100 v1 n1',
    ]);
    expect(await lateTrades(driver)).toHaveLength(1);
  });
});

describe('a late trade', () => {
  test('is in the late topic with the window it missed and how far behind the watermark it was', async () => {
    await using driver = await open({ intervals: ['1m'] });
    const feed = new Feed();
    driver.send(feed.change({ at: '12:00:10' }));
    driver.send(feed.change({ at: '12:01:05' }));
    driver.send(feed.change({ at: '12:00:59', log: '12:01:06', id: 'late', sequence: 7n, price: '9.5', size: '3' }));
    await driver.run();
    expect(await lateTrades(driver)).toEqual([
      {
        venue: 'bitstamp',
        symbol: 'BTC/USD',
        trade_id: 'late',
        venue_sequence: 7n,
        price: 950_000_000n,
        size: 300_000_000n,
        side: 'buy',
        executed_at: time('12:00:59'),
        operation: 'CREATE',
        reason: 'LATE',
        effect: 'NOT_APPLIED',
        interval: '1m',
        window_start: time('12:00:00'),
        lateness_us: 2_000_000n,
        log_time: time('12:01:06'),
        lsn: 1003n,
        origin: { topic: 'cdc.public.trades', partition: 0, offset: 2n },
      },
    ]);
  });

  test('is late from the very instant at which its window closes', async () => {
    await using driver = await open({ intervals: ['1m'] });
    const feed = new Feed();
    driver.send(feed.change({ at: '12:00:10', log: '12:01:05' }));
    driver.send(feed.change({ at: '12:01:04.999999', log: '12:01:05' }));
    driver.send(feed.change({ at: '12:00:20', log: '12:01:05', id: 'in time' }));
    driver.send(feed.change({ at: '12:01:05', log: '12:01:05' }));
    driver.send(feed.change({ at: '12:00:20', log: '12:01:05', id: 'late' }));
    await driver.run();
    expect(await lines(driver)).toEqual(['BTC/USD 1m 12:00:00 CLOSED#1 o100 h100 l100 c100 v2 n2']);
    expect(await lateTrades(driver)).toMatchObject([{ trade_id: 'late', lateness_us: 40_000_000n }]);
  });

  test('for one interval still joins the longer one', async () => {
    await using driver = await open();
    const feed = new Feed();
    driver.send(feed.change({ at: '12:00:10' }));
    driver.send(feed.change({ at: '12:02:00' }));
    driver.send(feed.change({ at: '12:00:20', log: '12:02:00', price: '50' }));
    driver.send(feed.change({ at: '12:10:00' }));
    await driver.run();
    expect(await lines(driver)).toEqual([
      'BTC/USD 1m 12:00:00 CLOSED#1 o100 h100 l100 c100 v1 n1',
      'BTC/USD 1m 12:02:00 CLOSED#1 o100 h100 l100 c100 v1 n1',
      'BTC/USD 5m 12:00:00 CLOSED#1 o100 h100 l50 c100 v3 n3',
    ]);
    expect((await lateTrades(driver)).map(({ interval, reason }) => [interval, reason])).toEqual([['1m', 'LATE']]);
  });

  test('for several intervals is there once for each', async () => {
    await using driver = await open();
    const feed = new Feed();
    driver.send(feed.change({ at: '12:00:10' }));
    driver.send(feed.change({ at: '12:10:00' }));
    driver.send(feed.change({ at: '12:00:20', log: '12:10:00' }));
    await driver.run();
    expect((await lateTrades(driver)).map(({ interval }) => interval)).toEqual(['1m', '5m']);
  });
});

describe('a change that is no new trade', () => {
  test('a row of an incremental snapshot changes no candle and is in the late topic', async () => {
    await using driver = await open({ intervals: ['1m'] });
    const feed = new Feed();
    driver.send(feed.change({ at: '12:00:10', id: 'a' }));
    driver.send(feed.change({ at: '12:00:10', id: 'a', price: '5', op: 'r', snapshot: 'incremental' }));
    driver.send(feed.change({ at: '12:02:00' }));
    await driver.run();
    expect(await lines(driver)).toEqual(['BTC/USD 1m 12:00:00 CLOSED#1 o100 h100 l100 c100 v1 n1']);
    expect(await lateTrades(driver)).toMatchObject([
      { operation: 'READ', reason: 'SNAPSHOT', effect: 'NOT_APPLIED', interval: null, window_start: null },
    ]);
  });

  test('a deletion that was written again for the archive changes no candle either', async () => {
    await using driver = await open({ intervals: ['1m'] });
    const feed = new Feed();
    driver.send(feed.change({ at: '12:00:10', id: 'a' }));
    driver.send(feed.change({ at: '12:00:10', id: 'a', op: 'd', snapshot: 'incremental' }));
    driver.send(feed.change({ at: '12:02:00' }));
    await driver.run();
    expect(await lines(driver)).toEqual(['BTC/USD 1m 12:00:00 CLOSED#1 o100 h100 l100 c100 v1 n1']);
    expect(await lateTrades(driver)).toMatchObject([
      { operation: 'DELETE', reason: 'SNAPSHOT', effect: 'NOT_APPLIED', interval: null, window_start: null },
    ]);
  });

  test('a row of a backfill lets no time pass: what was committed before it was read is not late', async () => {
    await using driver = await open({ intervals: ['1m'] });
    const feed = new Feed();
    driver.send(feed.change({ at: '12:00:10', id: 'a' }));
    driver.send(feed.change({ at: '12:00:10', log: '15:00:00', id: 'a', op: 'r', snapshot: 'incremental' }));
    driver.send(feed.change({ at: '12:00:20', id: 'b' }));
    driver.send(feed.change({ at: '12:02:00' }));
    await driver.run();
    expect(await lines(driver)).toEqual(['BTC/USD 1m 12:00:00 CLOSED#1 o100 h100 l100 c100 v2 n2']);
    expect((await lateTrades(driver)).map(({ reason }) => reason)).toEqual(['SNAPSHOT']);
    expect(await driver.metrics.registry.metrics()).toContain('millrace_backfilled_total{name="ohlcv"} 1');
  });

  test('a row of a backfill is not the trade when its candle is made again from the log', async () => {
    await using driver = await open({ intervals: ['1m'], horizonMs: 3_600_000 });
    const feed = new Feed();
    driver.send(feed.change({ at: '12:00:10', id: 'a', price: '5' }));
    driver.send(feed.change({ at: '12:00:20', id: 'b', price: '7' }));
    driver.send(feed.change({ at: '12:00:20', id: 'c', price: '9', op: 'r', snapshot: 'incremental' }));
    driver.send(feed.change({ at: '12:02:00' }));
    driver.send(feed.change({ at: '12:00:20', log: '12:02:00', id: 'b', price: '7', op: 'd' }));
    await driver.run();
    expect((await lines(driver)).at(-1)).toBe('BTC/USD 1m 12:00:00 REVISED#2 o5 h5 l5 c5 v1 n1');
  });

  test('a change delivered again is in the late topic as a duplicate', async () => {
    await using driver = await open({ intervals: ['1m'] });
    const feed = new Feed();
    const change = feed.change({ at: '12:00:10' });
    const other = feed.change({ at: '12:00:20', id: 'b' });
    const cancel = feed.change({ at: '12:00:20', id: 'b', op: 'd' });
    for (const each of [change, change, other, cancel, cancel]) driver.send(each);
    driver.send(feed.change({ at: '12:02:00' }));
    await driver.run();
    expect(await lines(driver)).toEqual(['BTC/USD 1m 12:00:00 CLOSED#1 o100 h100 l100 c100 v1 n1']);
    expect(await lateTrades(driver)).toMatchObject([
      { operation: 'CREATE', reason: 'DUPLICATE', origin: { offset: 1n } },
      { operation: 'DELETE', reason: 'DELETE', effect: 'APPLIED', origin: { offset: 3n } },
      { operation: 'DELETE', reason: 'DUPLICATE', origin: { offset: 4n } },
    ]);
  });

  test('rows of one statement, which share one LSN, are no duplicates of each other', async () => {
    await using driver = await open({ intervals: ['1m'] });
    const feed = new Feed();
    driver.send(feed.change({ at: '12:00:10', id: 'a', lsn: 1n }));
    driver.send(feed.change({ at: '12:00:10', id: 'b', lsn: 1n }));
    driver.send(feed.change({ at: '12:00:10', id: 'a', lsn: 1n, symbol: 'ETH/USD' }));
    driver.send(feed.change({ at: '12:02:00' }));
    await driver.beat(time('12:01:05'));
    expect(await lines(driver)).toEqual([
      'BTC/USD 1m 12:00:00 CLOSED#1 o100 h100 l100 c100 v2 n2',
      'ETH/USD 1m 12:00:00 CLOSED#1 o100 h100 l100 c100 v1 n1',
    ]);
    expect(await lateTrades(driver)).toEqual([]);
  });

  test('rows of the first snapshot are trades', async () => {
    await using driver = await open({ intervals: ['1m'] });
    const feed = new Feed();
    for (const snapshot of ['first', 'true', 'last']) {
      driver.send(feed.change({ at: '12:00:10', log: '13:00:00', op: 'r', snapshot }));
    }
    driver.send(feed.change({ at: '13:00:00' }));
    await driver.run();
    expect(await lines(driver)).toEqual(['BTC/USD 1m 12:00:00 CLOSED#1 o100 h100 l100 c100 v3 n3']);
    expect(await lateTrades(driver)).toEqual([]);
  });

  test('a truncated table is a dead letter that says what to do', async () => {
    await using driver = await open();
    driver.send(new Feed().change({ at: '12:00:10', op: 't' }));
    await driver.run();
    const [letter] = await deadLetters(driver);
    expect(letter).toMatchObject({ reason: 'BAD_RECORD', processor: 'ohlcv' });
    expect(letter?.error).toContain('truncated');
  });
});

describe('a bad record', () => {
  test('is an update that does not tell the row before, or has the placeholder of a value that it does not tell', async () => {
    await using driver = await open({ intervals: ['1m'] });
    const feed = new Feed();
    driver.send(feed.change({ at: '12:00:10', id: 'a' }));
    driver.send({ ...feed.change({ at: '12:00:10', id: 'a', op: 'u', price: '200' }), before: null });
    const update = feed.change({ at: '12:00:10', id: 'a', op: 'u', price: '300' });
    const after = update.after === null ? null : { ...update.after, conditions: unavailableValue };
    driver.send({ ...update, after });
    driver.send(feed.change({ at: '12:02:00' }));
    await driver.run();
    const letters = await deadLetters(driver);
    expect(letters.map(({ reason }) => reason)).toEqual(['BAD_RECORD', 'BAD_RECORD']);
    expect(letters[1]?.error).toContain('conditions');
    expect(await lines(driver)).toEqual(['BTC/USD 1m 12:00:00 CLOSED#1 o100 h100 l100 c100 v1 n1']);
  });

  test('is a dead letter, and changes nothing', async () => {
    await using driver = await open({ intervals: ['1m'] });
    const feed = new Feed();
    driver.send(feed.change({ at: '12:00:10' }));
    driver.send(feed.change({ at: '12:05:00', log: '12:00:10', size: '-1' }));
    driver.send(feed.change({ at: '12:00:20', price: '999999999999', size: '999999999999' }));
    driver.send({ ...feed.change({ at: '12:00:20' }), after: null });
    driver.send(feed.change({ at: '12:00:20', op: 'x' }));
    driver.send(feed.change({ at: '12:02:00' }));
    await driver.run();
    const letters = await deadLetters(driver);
    expect(letters.map(({ reason, origin }) => [reason, origin.offset])).toEqual(
      [1n, 2n, 3n, 4n].map((offset) => ['BAD_RECORD', offset]),
    );
    expect(await lines(driver)).toEqual(['BTC/USD 1m 12:00:00 CLOSED#1 o100 h100 l100 c100 v1 n1']);
  });
});

describe('a partial candle', () => {
  test('is emitted at a cadence in log time, for windows that changed since, with rising revisions', async () => {
    await using driver = await open({ partialMs: 1_000 });
    const feed = new Feed();
    driver.send(feed.change({ at: '12:00:10.2', price: '1' }));
    driver.send(feed.change({ at: '12:00:10.9', price: '2' }));
    await driver.beat(time('12:00:10.999999'));
    expect(await lines(driver)).toEqual([]);
    await driver.beat(time('12:00:11'));
    await driver.beat(time('12:00:12'));
    driver.send(feed.change({ at: '12:00:12.5', price: '3' }));
    driver.send(feed.change({ at: '12:01:01', price: '4' }));
    await driver.beat(time('12:06:00'));
    expect(await lines(driver)).toEqual([
      'BTC/USD 1m 12:00:00 PARTIAL#1 o1 h2 l1 c2 v2 n2',
      'BTC/USD 5m 12:00:00 PARTIAL#1 o1 h2 l1 c2 v2 n2',
      'BTC/USD 1m 12:00:00 PARTIAL#2 o1 h3 l1 c3 v3 n3',
      'BTC/USD 5m 12:00:00 PARTIAL#2 o1 h3 l1 c3 v3 n3',
      'BTC/USD 1m 12:00:00 CLOSED#3 o1 h3 l1 c3 v3 n3',
      'BTC/USD 1m 12:01:00 CLOSED#1 o4 h4 l4 c4 v1 n1',
      'BTC/USD 5m 12:00:00 CLOSED#3 o1 h4 l1 c4 v4 n4',
    ]);
  });

  test('is still due after a restart', async () => {
    await using driver = await open({ partialMs: 1_000, intervals: ['1m'] });
    driver.send(new Feed().change({ at: '12:00:10.2' }));
    await driver.run();
    driver.crash();
    await driver.beat(time('12:00:11'));
    await driver.beat(time('12:00:12'));
    expect(await lines(driver)).toEqual(['BTC/USD 1m 12:00:00 PARTIAL#1 o100 h100 l100 c100 v1 n1']);
  });
});

describe('the settings', () => {
  test.each([
    ['interval', { intervals: [] }],
    ['7m', { intervals: ['7m'] }],
    ['same length', { intervals: ['60s', '1m'] }],
    ['latenessMs', { latenessMs: -1 }],
    ['maxFutureSkewMs', { maxFutureSkewMs: 0.5 }],
    ['partialMs', { partialMs: Number.NaN }],
  ])('name what is wrong: %s', (text, change) => {
    expect(() => ohlcv({ ...SETTINGS, ...change })).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.stringContaining(text) }),
    );
  });
});
