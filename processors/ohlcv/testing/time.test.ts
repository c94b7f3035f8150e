import { describe, expect, test } from '@jest/globals';
import { Driver } from '../../../core/testing/driver.ts';
import { ohlcv } from '../ohlcv.ts';
import type { OhlcvSettings } from '../settings.ts';
import { deadLetters, Feed, lateTrades, lines, SETTINGS, time } from './fixture.ts';

const open = (settings: Partial<OhlcvSettings> = {}) =>
  Driver.open(ohlcv({ ...SETTINGS, intervals: ['1m'], ...settings }));

describe('time', () => {
  test('a load of trades of 2013 does not make itself late', async () => {
    await using driver = await open();
    const feed = new Feed();
    for (let minute = 10; minute < 60; minute++) {
      const at = `2013-11-25T00:${minute}:30Z`;
      const log = `2025-06-02T12:00:${minute}.0Z`;
      driver.send(feed.change({ at, log }));
      driver.send(feed.change({ at: `2013-11-25T00:${minute}:29Z`, log }));
    }
    await driver.run();
    expect(await lines(driver)).toHaveLength(49);
    expect(await lateTrades(driver)).toEqual([]);
  });

  test('of two symbols in one partition, one loaded a year behind the other, nothing is late', async () => {
    await using driver = await open();
    const feed = new Feed();
    for (let second = 10; second < 60; second++) {
      const log = `12:00:${second}`;
      driver.send(feed.change({ symbol: 'NOW', at: log, log }));
      driver.send(feed.change({ symbol: 'OLD', at: `2024-06-02T12:00:${second}Z`, log }));
      driver.send(feed.change({ symbol: 'OLDER', at: `2024-06-01T12:00:${second}Z`, log }));
    }
    await driver.beat(time('12:02:00'));
    expect(await lateTrades(driver)).toEqual([]);
    expect(await lines(driver)).toEqual(
      ['NOW', 'OLD', 'OLDER'].map((symbol) => `${symbol} 1m 12:00:00 CLOSED#1 o100 h100 l100 c100 v50 n50`),
    );
  });

  test('of a paused feed nothing closes', async () => {
    await using driver = await open({ partialMs: 1_000 });
    driver.send(new Feed().change({ at: '12:00:10' }));
    await driver.run();
    for (let i = 0; i < 100; i++) await driver.run();
    expect(await lines(driver)).toEqual([]);
  });

  test('a quiet symbol closes after its remaining time, the watermark delay and at most one heartbeat', async () => {
    await using driver = await open();
    driver.send(new Feed().change({ at: '12:00:10.5', log: '12:00:10.7' }));
    // 49.5 s are left in the window, 5 s are watermark delay: due at a log time of 12:01:05.2.
    for (let second = 11; second < 60; second++) await driver.beat(time(`12:00:${second}`));
    for (let second = 0; second <= 5; second++) await driver.beat(time(`12:01:0${second}`));
    expect(await lines(driver)).toEqual([]);
    await driver.beat(time('12:01:06'));
    expect(await lines(driver)).toEqual(['BTC/USD 1m 12:00:00 CLOSED#1 o100 h100 l100 c100 v1 n1']);
  });

  test('a quiet symbol closes exactly when it is due, by the records of another one', async () => {
    await using driver = await open();
    const feed = new Feed();
    driver.send(feed.change({ at: '12:00:10.5', log: '12:00:10.7' }));
    driver.send(feed.change({ symbol: 'ETH/USD', at: '12:01:05.199999' }));
    await driver.run();
    expect(await lines(driver)).toEqual([]);
    driver.send(feed.change({ symbol: 'ETH/USD', at: '12:01:05.2' }));
    await driver.run();
    expect(await lines(driver)).toEqual(['BTC/USD 1m 12:00:00 CLOSED#1 o100 h100 l100 c100 v1 n1']);
  });

  test('a record dated into the future is a dead letter and moves nothing', async () => {
    await using driver = await open();
    const feed = new Feed();
    driver.send(feed.change({ at: '12:00:10' }));
    driver.send(feed.change({ at: '12:00:21.000001', log: '12:00:11' }));
    driver.send(feed.change({ at: '2026-06-02T12:00:00Z', log: '12:00:11' }));
    driver.send(feed.change({ at: '12:00:12' }));
    await driver.run();
    expect((await deadLetters(driver)).map(({ reason }) => reason)).toEqual(['FUTURE_EVENT_TIME', 'FUTURE_EVENT_TIME']);
    expect(await lines(driver)).toEqual([]);
    expect(await lateTrades(driver)).toEqual([]);
    await driver.beat(time('12:01:05'));
    expect(await lines(driver)).toEqual(['BTC/USD 1m 12:00:00 CLOSED#1 o100 h100 l100 c100 v2 n2']);
  });

  test('an event time may be ahead of its own log time by the allowed skew, for any log time of others', async () => {
    await using driver = await open();
    const feed = new Feed();
    driver.send(feed.change({ at: '12:30:00', symbol: 'ETH/USD' }));
    driver.send(feed.change({ at: '12:00:20', log: '12:00:10' }));
    driver.send(feed.change({ at: '12:00:21', log: '12:00:10' }));
    await driver.run();
    expect(await deadLetters(driver)).toMatchObject([{ origin: { offset: 2n } }]);
  });

  test('no trade is late because of itself, however late it was committed or read', async () => {
    await using driver = await open();
    const feed = new Feed();
    driver.send(feed.change({ at: '12:30:00', symbol: 'ETH/USD' }));
    driver.send(feed.change({ at: '12:00:10', log: '12:00:10' }));
    await driver.run();
    expect(await lateTrades(driver)).toEqual([]);
    expect(await lines(driver)).toEqual(['BTC/USD 1m 12:00:00 CLOSED#1 o100 h100 l100 c100 v1 n1']);
  });

  test('the watermark does not go back when a trade arrives after a long delay, also after a restart', async () => {
    await using driver = await open();
    const feed = new Feed();
    driver.send(feed.change({ at: '12:00:10' }));
    await driver.beat(time('12:05:00'));
    // The greatest event time now, committed five minutes later: 12:00 stays closed.
    driver.send(feed.change({ at: '12:00:11', log: '12:05:01', id: 'delayed' }));
    await driver.run();
    driver.crash();
    driver.send(feed.change({ at: '12:00:12', log: '12:05:02', id: 'next' }));
    await driver.run();
    expect((await lateTrades(driver)).map(({ trade_id }) => trade_id)).toEqual(['delayed', 'next']);
    expect(await lines(driver)).toHaveLength(1);
  });

  test('before 1970 windows are aligned as after it', async () => {
    await using driver = await open();
    driver.send(new Feed().change({ at: '1969-12-31T23:59:59.999999Z', log: '12:00:00' }));
    await driver.beat(time('12:01:00'));
    expect(await lines(driver)).toEqual(['BTC/USD 1m 23:59:00 CLOSED#1 o100 h100 l100 c100 v1 n1']);
  });
});
