/** From the trade to the anomaly: what a correction, a cancel and a late trade do to the candle reaches what was said of it. */
import { expect, test } from '@jest/globals';
import { Driver } from '../../core/testing/driver.ts';
import { Bench } from '../../processors/anomaly/testing/fixture.ts';
import { ohlcv } from '../../processors/ohlcv/ohlcv.ts';
import { candles, Feed, SETTINGS, type TradeFields, time } from '../../processors/ohlcv/testing/fixture.ts';
import type { TradeChange } from '../../schemas/gen/trade_change.ts';

/** A quiet hour, then a minute with ten times the volume in which the price jumps; what `later` brings comes after its candle was closed. */
async function saidAfter(...later: readonly TradeFields[]): Promise<string[]> {
  const settings = { ...SETTINGS, intervals: ['1m'], horizonMs: 3_600_000 };
  await using driver = await Driver.open<TradeChange>(ohlcv(settings));
  const feed = new Feed();
  for (let minute = 0; minute < 20; minute++) {
    driver.send(feed.change({ at: `12:${`${minute}`.padStart(2, '0')}:30`, id: `m${minute}` }));
  }
  driver.send(feed.change({ at: '12:20:10', id: 'open' }));
  driver.send(feed.change({ at: '12:20:20', id: 'big', price: '110', size: '10' }));
  driver.send(feed.change({ at: '12:25:00', id: 'after' }));
  for (const each of later) driver.send(feed.change(each));
  await driver.beat(time('12:40:00'));
  await using bench = await Bench.open();
  bench.candles(...(await candles(driver)));
  const said = await bench.said();
  return said.map((text) => text.replace(/@\d+/, ''));
}

const big = { at: '12:20:20', log: '12:26:00', id: 'big', price: '110', size: '10' };

test('an anomaly is raised by trades', async () => {
  expect(await saidAfter()).toEqual(['volume_spike RAISED 1']);
});

test('the cancel of the trade that made it retracts it', async () => {
  expect(await saidAfter({ ...big, op: 'd' })).toEqual(['volume_spike RAISED 1', 'volume_spike RETRACTED 2']);
});

test('a correction with other figures revises it, and one that goes back to normal retracts it', async () => {
  const smaller = { ...big, op: 'u', size: '8', was: { size: '10' } };
  const tiny = { ...big, op: 'u', size: '1', was: { size: '8' } };
  expect(await saidAfter(smaller, tiny)).toEqual([
    'volume_spike RAISED 1',
    'volume_spike REVISED 2',
    'volume_spike RETRACTED 3',
  ]);
});

test('late trades in the minutes before make its volume usual, and it is retracted', async () => {
  const late = { at: '12:10:40', log: '12:26:00', id: 'late', size: '200' };
  expect(await saidAfter(late)).toEqual(['volume_spike RAISED 1', 'volume_spike RETRACTED 2']);
});
