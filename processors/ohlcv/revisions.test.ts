import { describe, expect, test } from '@jest/globals';
import { Driver } from '../../core/testing/driver.ts';
import { ohlcv } from './ohlcv.ts';
import type { OhlcvSettings } from './settings.ts';
import { candles, deadLetters, Feed, lateLines, lateTrades, lines, SETTINGS, time } from './testing/fixture.ts';

const open = (settings: Partial<OhlcvSettings> = {}) =>
  Driver.open(ohlcv({ ...SETTINGS, intervals: ['1m', '5m'], allowedLatenessMs: 600_000, ...settings }));

/** A closed 12:00 candle with three trades. */
async function closed(settings: Partial<OhlcvSettings> = {}) {
  const driver = await open(settings);
  const feed = new Feed();
  driver.send(feed.change({ at: '12:00:10', id: 'a', price: '100' }));
  driver.send(feed.change({ at: '12:00:20', id: 'b', price: '102' }));
  driver.send(feed.change({ at: '12:00:30', id: 'c', price: '101' }));
  driver.send(feed.change({ at: '12:02:00', id: 'd', price: '101' }));
  await driver.run();
  return { driver, feed };
}

describe('a late trade', () => {
  test('revises its closed candle within the allowed lateness, and simply joins the larger one that is open', async () => {
    const { driver, feed } = await closed();
    driver.send(feed.change({ at: '12:00:15', log: '12:02:01', id: 'late', price: '105', size: '2' }));
    await driver.beat(time('12:05:05'));
    expect(await lines(driver)).toEqual([
      'BTC/USD 1m 12:00:00 CLOSED#1 o100 h102 l100 c101 v3 n3',
      'BTC/USD 1m 12:00:00 REVISED#2 o100 h105 l100 c101 v5 n4',
      'BTC/USD 1m 12:02:00 CLOSED#1 o101 h101 l101 c101 v1 n1',
      'BTC/USD 5m 12:00:00 CLOSED#1 o100 h105 l100 c101 v6 n5',
    ]);
    expect((await candles(driver))[1]).toMatchObject({
      reason: 'LATE_TRADE',
      provenance: { from_offset: 0n, to_offset: 4n },
    });
    expect(await lateLines(driver)).toEqual(['LATE REVISED 1m 12:00:00']);
    expect(await lateTrades(driver)).toMatchObject([{ lateness_us: 101_000_000n }]);
  });

  test('revises every candle that has closed', async () => {
    const { driver, feed } = await closed();
    await driver.beat(time('12:05:05'));
    driver.send(feed.change({ at: '12:01:15', log: '12:05:06', id: 'late', price: '90' }));
    await driver.run();
    expect((await lines(driver)).slice(-2)).toEqual([
      'BTC/USD 1m 12:01:00 REVISED#1 o90 h90 l90 c90 v1 n1',
      'BTC/USD 5m 12:00:00 REVISED#2 o100 h102 l90 c101 v5 n5',
    ]);
    expect(await lateLines(driver)).toEqual(['LATE REVISED 1m 12:01:00', 'LATE REVISED 5m 12:00:00']);
  });

  test('past the allowed lateness of one interval is not applied to it, and still is to a longer one', async () => {
    const { driver, feed } = await closed({ allowedLatenessMs: 60_000 });
    driver.send(feed.change({ at: '12:03:06', id: 'e' }));
    driver.send(feed.change({ at: '12:00:15', log: '12:03:06', id: 'late', price: '105' }));
    await driver.beat(time('12:05:05'));
    expect(await lateLines(driver)).toEqual(['LATE NOT_APPLIED 1m 12:00:00']);
    const all = await lines(driver);
    expect(all.filter((each) => each.includes('1m 12:00:00'))).toHaveLength(1);
    expect(all.at(-1)).toBe('BTC/USD 5m 12:00:00 CLOSED#1 o100 h105 l100 c100 v6 n6');
  });
});

describe('a correction', () => {
  test('of a trade in the middle is subtracted, and revises the closed candle; an open one just has it', async () => {
    const { driver, feed } = await closed();
    driver.send(
      feed.change({ op: 'u', at: '12:00:20', log: '12:02:01', id: 'b', price: '100.5', was: { price: '102' } }),
    );
    await driver.beat(time('12:05:05'));
    expect((await lines(driver)).slice(1)).toEqual([
      'BTC/USD 1m 12:00:00 REVISED#2 o100 h101 l100 c101 v3 n3',
      'BTC/USD 1m 12:02:00 CLOSED#1 o101 h101 l101 c101 v1 n1',
      'BTC/USD 5m 12:00:00 CLOSED#1 o100 h101 l100 c101 v4 n4',
    ]);
    expect((await candles(driver))[1]).toMatchObject({ reason: 'CORRECTION', provenance: { to_offset: 4n } });
    expect(await lateLines(driver)).toEqual(['UPDATE REVISED 1m 12:00:00', 'UPDATE APPLIED 5m 12:00:00']);
  });

  test('of what was an extreme reads the window again: also after a crash, with duplicates and other symbols in between', async () => {
    const { driver, feed } = await closed();
    const again = feed.change({ at: '12:00:25', log: '12:02:01', id: 'x', price: '103', symbol: 'ETH/USD' });
    for (const each of [again, again]) driver.send(each);
    driver.send(feed.change({ at: '12:00:25', log: '12:02:01', id: 'late', price: '101.5' }));
    await driver.run();
    driver.crash();
    driver.send(feed.change({ op: 'u', at: '12:00:20', log: '12:02:02', id: 'b', price: '99', was: { price: '102' } }));
    await driver.run();
    expect((await lines(driver)).at(-1)).toBe('BTC/USD 1m 12:00:00 REVISED#3 o100 h101.5 l99 c101 v4 n4');
  });

  test('that moves a trade changes the window it leaves and the one it comes to', async () => {
    const { driver, feed } = await closed();
    driver.send(
      feed.change({ op: 'u', at: '12:01:59', log: '12:02:06', id: 'c', price: '101', was: { at: '12:00:30' } }),
    );
    await driver.run();
    expect((await lines(driver)).slice(1)).toEqual([
      'BTC/USD 1m 12:00:00 REVISED#2 o100 h102 l100 c102 v2 n2',
      'BTC/USD 1m 12:01:00 REVISED#1 o101 h101 l101 c101 v1 n1',
    ]);
    expect(await lateLines(driver)).toEqual([
      'UPDATE REVISED 1m 12:00:00',
      'UPDATE REVISED 1m 12:01:00',
      'UPDATE APPLIED 5m 12:00:00',
    ]);
  });

  test('past the allowed lateness changes nothing', async () => {
    const { driver, feed } = await closed({ allowedLatenessMs: 0 });
    driver.send(feed.change({ op: 'u', at: '12:00:20', log: '12:02:01', id: 'b', price: '7', was: { price: '102' } }));
    driver.send(feed.change({ op: 'd', at: '12:00:30', log: '12:02:01', id: 'c', price: '101' }));
    await driver.run();
    expect(await lines(driver)).toHaveLength(1);
    expect((await lateLines(driver)).filter((each) => each.includes('1m'))).toEqual([
      'UPDATE NOT_APPLIED 1m 12:00:00',
      'DELETE NOT_APPLIED 1m 12:00:00',
    ]);
  });

  test('that no candle can see is UNCHANGED', async () => {
    const { driver, feed } = await closed();
    driver.send(feed.change({ op: 'u', at: '12:00:20', log: '12:02:01', id: 'b', price: '102' }));
    await driver.run();
    expect(await lines(driver)).toHaveLength(1);
    expect(await lateLines(driver)).toEqual(['UPDATE UNCHANGED - -']);
  });

  test('of a trade that was refused applies it, and one that is refused leaves the trade as it was', async () => {
    const { driver, feed } = await closed();
    driver.send(feed.change({ at: '12:00:40', log: '12:02:01', id: 'bad', size: '-1' }));
    driver.send(feed.change({ op: 'u', at: '12:00:40', log: '12:02:02', id: 'bad', price: '98', was: { size: '-1' } }));
    driver.send(
      feed.change({ op: 'u', at: '12:30:00', log: '12:02:03', id: 'b', price: '102', was: { at: '12:00:20' } }),
    );
    driver.send(feed.change({ op: 'd', at: '12:30:00', log: '12:02:04', id: 'b', price: '102' }));
    await driver.run();
    expect((await deadLetters(driver)).map(({ reason }) => reason)).toEqual(['BAD_RECORD', 'FUTURE_EVENT_TIME']);
    expect((await lines(driver)).slice(1)).toEqual([
      'BTC/USD 1m 12:00:00 REVISED#2 o100 h102 l98 c98 v4 n4',
      'BTC/USD 1m 12:00:00 REVISED#3 o100 h101 l98 c98 v3 n3',
    ]);
  });

  test('of a trade that was never seen is not applied', async () => {
    await using driver = await open();
    const feed = new Feed();
    driver.send(feed.change({ op: 'u', at: '12:00:10', id: 'a', price: '7', was: { price: '8' } }));
    driver.send(feed.change({ op: 'd', at: '12:00:10', id: 'a', price: '7' }));
    await driver.beat(time('12:10:00'));
    expect(await lines(driver)).toEqual([]);
    expect((await lateTrades(driver)).map(({ effect }) => effect)).toEqual(Array(4).fill('NOT_APPLIED'));
  });
});

describe('a cancel', () => {
  test('of the last trade of a window leaves a candle without prices', async () => {
    const { driver, feed } = await closed();
    await driver.beat(time('12:03:05'));
    driver.send(feed.change({ op: 'd', at: '12:02:00', log: '12:03:06', id: 'd', price: '101' }));
    await driver.run();
    expect((await lines(driver)).at(-1)).toBe('BTC/USD 1m 12:02:00 REVISED#2 o- h- l- c- v0 n0');
    expect((await candles(driver)).at(-1)).toMatchObject({
      reason: 'CANCEL',
      vwap: null,
      first_trade_id: null,
      close_time: null,
      provenance: { from_offset: 3n, to_offset: 4n },
    });
  });

  test('of the only trade of an open window leaves no candle at all, unless one was shown', async () => {
    await using driver = await open({ partialMs: 1_000, intervals: ['1m'] });
    const feed = new Feed();
    driver.send(feed.change({ at: '12:00:10.2', id: 'a', symbol: 'A' }));
    await driver.beat(time('12:00:11'));
    driver.send(feed.change({ at: '12:00:11.2', id: 'b', symbol: 'B' }));
    driver.send(feed.change({ op: 'd', at: '12:00:10.2', log: '12:00:11.5', id: 'a', symbol: 'A' }));
    driver.send(feed.change({ op: 'd', at: '12:00:11.2', log: '12:00:11.5', id: 'b', symbol: 'B' }));
    await driver.beat(time('12:00:12'));
    await driver.beat(time('12:02:00'));
    expect(await lines(driver)).toEqual([
      'A 1m 12:00:00 PARTIAL#1 o100 h100 l100 c100 v1 n1',
      'A 1m 12:00:00 PARTIAL#2 o- h- l- c- v0 n0',
      'A 1m 12:00:00 CLOSED#3 o- h- l- c- v0 n0',
    ]);
  });
});

describe('gaps', () => {
  const gaps = (settings: Partial<OhlcvSettings> = {}) => open({ intervals: ['1m'], fillMs: 180_000, ...settings });

  test('are filled with the last close, from the first trade on and for as long as is set', async () => {
    await using driver = await gaps();
    const feed = new Feed();
    driver.send(feed.change({ at: '12:00:10', price: '5' }));
    driver.send(feed.change({ at: '12:00:20', price: '7' }));
    await driver.beat(time('13:00:00'));
    expect(await lines(driver)).toEqual([
      'BTC/USD 1m 12:00:00 CLOSED#1 o5 h7 l5 c7 v2 n2',
      'BTC/USD 1m 12:01:00 FILLED#1 o7 h7 l7 c7 v0 n0',
      'BTC/USD 1m 12:02:00 FILLED#1 o7 h7 l7 c7 v0 n0',
      'BTC/USD 1m 12:03:00 FILLED#1 o7 h7 l7 c7 v0 n0',
    ]);
    expect((await candles(driver))[1]).toMatchObject({ reason: 'GAP', vwap: null, open_time: null, provenance: null });
  });

  test('close by the watermark like other windows, also after a restart', async () => {
    await using driver = await gaps();
    driver.send(new Feed().change({ at: '12:00:10', price: '5' }));
    await driver.beat(time('12:01:05'));
    driver.crash();
    await driver.beat(time('12:02:04.999999'));
    expect(await lines(driver)).toHaveLength(1);
    await driver.beat(time('12:02:05'));
    expect(await lines(driver)).toHaveLength(2);
  });

  test('are revised by a late trade in them, and those that follow have its close', async () => {
    await using driver = await gaps({ intervals: ['1m', '5m'] });
    const feed = new Feed();
    driver.send(feed.change({ at: '12:00:10', price: '5' }));
    await driver.beat(time('12:03:05'));
    driver.send(feed.change({ at: '12:01:30', log: '12:03:06', price: '9', id: 'late' }));
    await driver.run();
    expect((await lines(driver)).slice(-2)).toEqual([
      'BTC/USD 1m 12:01:00 REVISED#2 o9 h9 l9 c9 v1 n1',
      'BTC/USD 1m 12:02:00 FILLED#2 o9 h9 l9 c9 v0 n0',
    ]);
    driver.send(feed.change({ op: 'd', at: '12:01:30', log: '12:03:07', price: '9', id: 'late' }));
    await driver.beat(time('12:10:05'));
    expect((await lines(driver)).slice(-4)).toEqual([
      'BTC/USD 1m 12:01:00 FILLED#3 o5 h5 l5 c5 v0 n0',
      'BTC/USD 1m 12:02:00 FILLED#3 o5 h5 l5 c5 v0 n0',
      'BTC/USD 1m 12:03:00 FILLED#1 o5 h5 l5 c5 v0 n0',
      'BTC/USD 5m 12:00:00 CLOSED#1 o5 h5 l5 c5 v1 n1',
    ]);
  });
});

describe('sessions', () => {
  const at = (clock: string) => `2025-07-03T${clock}Z`;

  test('are candles of the venue’s trading day; a trade outside them is in the late topic', async () => {
    await using driver = await open({ intervals: ['1m', 'session'], calendars: { nyse: 'XNYS' } });
    const feed = new Feed();
    const send = (clock: string, price: string) =>
      driver.send(feed.change({ venue: 'nyse', symbol: 'X', at: at(clock), price, size: '1' }));
    // A half day: 09:30 to 13:00 in New York.
    send('13:29:59.999999', '1');
    send('13:30:00', '2');
    send('16:59:59.999999', '3');
    send('17:00:00', '4');
    await driver.beat(time(at('17:00:06')));
    const session = (await candles(driver)).filter(({ interval }) => interval === 'session');
    expect(session).toMatchObject([
      {
        open: 200_000_000n,
        close: 300_000_000n,
        trade_count: 2n,
        window_start: time(at('13:30:00')),
        window_end: time(at('17:00:00')),
      },
    ]);
    expect(await lateLines(driver)).toEqual([
      'OUTSIDE_SESSION NOT_APPLIED session -',
      'OUTSIDE_SESSION NOT_APPLIED session -',
    ]);
  });

  test('of a venue without a calendar are days in UTC', async () => {
    await using driver = await open({ intervals: ['session'] });
    driver.send(new Feed().change({ at: '12:00:00' }));
    await driver.beat(time('2025-06-03T00:00:05Z'));
    expect(await lines(driver)).toEqual(['BTC/USD session 00:00:00 CLOSED#1 o100 h100 l100 c100 v1 n1']);
  });

  test('outside what the calendar covers are a dead letter', async () => {
    await using driver = await open({ intervals: ['1m', 'session'], calendars: { bitstamp: 'XNYS' } });
    driver.send(new Feed().change({ at: '1999-06-03T15:00:00Z', log: '12:00:00' }));
    await driver.beat(time('12:10:00'));
    expect((await deadLetters(driver)).map(({ reason }) => reason)).toEqual(['OUTSIDE_CALENDAR']);
    expect(await lines(driver)).toEqual([]);
  });
});

test('overlapping windows hold each trade as often as they overlap', async () => {
  await using driver = await open({ intervals: ['1m', '3m/1m'] });
  const feed = new Feed();
  driver.send(feed.change({ at: '12:02:10', price: '1' }));
  driver.send(feed.change({ at: '12:03:10', price: '2' }));
  await driver.beat(time('12:10:00'));
  expect((await lines(driver)).filter((each) => each.includes('3m/1m'))).toEqual([
    'BTC/USD 3m/1m 12:00:00 CLOSED#1 o1 h1 l1 c1 v1 n1',
    'BTC/USD 3m/1m 12:01:00 CLOSED#1 o1 h2 l1 c2 v2 n2',
    'BTC/USD 3m/1m 12:02:00 CLOSED#1 o1 h2 l1 c2 v2 n2',
    'BTC/USD 3m/1m 12:03:00 CLOSED#1 o2 h2 l2 c2 v1 n1',
  ]);
});
