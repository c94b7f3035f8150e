import { expect, test } from '@jest/globals';
import { Driver } from '../../core/testing/driver.ts';
import { MemoryLog } from '../../core/testing/memory-log.ts';
import { ohlcv } from '../../processors/ohlcv/ohlcv.ts';
import { candles, Feed, lateTrades, SETTINGS, time } from '../../processors/ohlcv/testing/fixture.ts';
import { symbolId } from '../../storage/load/order/survey.ts';
import { frozenTimes } from './frozen.ts';

const symbol = { venue: 'bitstamp', symbol: 'BTC/USD' };
const signal = new AbortController().signal;
const millis = (text: string) => Number(time(text) / 1000n);

test('candles freeze with log time: trades loaded a day later are late, and the loader knows it before', async () => {
  await using driver = await Driver.open(ohlcv({ ...SETTINGS, allowedLatenessMs: 3_600_000 }));
  const feed = new Feed();
  driver.send(feed.change({ at: '2013-11-25T23:59:59Z', log: '2025-06-02T08:00:00Z' }));
  await driver.run();
  const at = async (now: string) =>
    (await frozenTimes(driver.log, [symbol], millis(now), signal)).get(symbolId(symbol));
  // The watermark delay is 5 s, the allowed lateness one hour.
  expect(await at('08:00:00')).toBe(millis('2013-11-25T22:59:54Z'));
  expect(await at('2025-06-03T08:00:00Z')).toBe(millis('2013-11-26T22:59:54Z'));

  driver.send(feed.change({ at: '2013-11-26T22:58:00Z', log: '2025-06-03T08:00:00Z' }));
  driver.send(feed.change({ at: '2013-11-26T23:00:00Z', log: '2025-06-03T08:00:00Z' }));
  await driver.run();
  expect((await lateTrades(driver)).map(({ effect }) => effect)).toContain('NOT_APPLIED');
  const made = new Set((await candles(driver)).map(({ window_start }) => window_start));
  expect(made.has(time('2013-11-26T22:58:00Z'))).toBe(false);
});

test('symbols without candles are left out, and so are all if ohlcv never ran', async () => {
  await using driver = await Driver.open(ohlcv(SETTINGS));
  driver.send(new Feed().change({ at: '12:00:00' }));
  await driver.run();
  expect((await frozenTimes(driver.log, [{ ...symbol, symbol: 'other' }], 0, signal)).size).toBe(0);
  expect((await frozenTimes(new MemoryLog(), [symbol], 0, signal)).size).toBe(0);
});
