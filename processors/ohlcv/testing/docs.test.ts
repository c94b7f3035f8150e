import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { observe, type Progress, startProgress, watermarkAt } from '../../../core/processor/watermark.ts';
import { Driver } from '../../../core/testing/driver.ts';
import { formatTrimmed } from '../../../core/values/decimal.ts';
import { formatTimestamp } from '../../../core/values/time.ts';
import { ohlcv } from '../ohlcv.ts';
import { candles, deadLetters, Feed, lateTrades, time } from './fixture.ts';

const page = readFileSync(new URL('../../../docs/concepts/processing/time.md', import.meta.url), 'utf8');

interface Row {
  readonly log: string;
  readonly what: string;
  readonly symbol: string;
  readonly event: string;
  readonly price: string;
  readonly size: string;
}

/** Rows of the example's table: all columns but the last two are input. */
function rows(): { row: Row; text: string }[] {
  const lines = page.split('\n').filter((line) => /^\| 12:/.test(line));
  return lines.map((text) => {
    const [log = '', what = '', event = '', trade = ''] = text
      .slice(2, -2)
      .split(' | ')
      .map((cell) => cell.trim());
    const [price = '', size = ''] = trade.split(' × ');
    return { row: { log, what, symbol: what.split(' ')[0] ?? '', event, price, size }, text };
  });
}

/** Text of an instant, such as `12:00:53.9`. */
const clock = (micros: number) =>
  formatTimestamp(BigInt(micros))
    .slice(11, -1)
    .replace(/\.?0+$/, '');

test('the example of docs/concepts/processing/time.md is what happens', async () => {
  await using driver = await Driver.open(
    ohlcv({
      intervals: ['1m'],
      watermarkDelayMs: 5_000,
      allowedLatenessMs: 3_600_000,
      maxFutureSkewMs: 60_000,
      partialMs: 0,
    }),
  );
  const feed = new Feed();
  let progress: Progress | undefined;
  const seen = { candles: 0, late: 0, dead: 0 };
  const made = rows();
  expect(made.length).toBeGreaterThanOrEqual(8);

  for (const { row, text } of made) {
    const log = time(row.log);
    const now = Number(log);
    if (row.what === 'heartbeat') {
      await driver.beat(log);
    } else {
      driver.send(
        feed.change({
          symbol: row.symbol,
          at: row.event,
          log: row.log,
          price: row.price,
          size: row.size,
          id: row.what,
        }),
      );
      await driver.run();
    }
    const closed = (await candles(driver)).slice(seen.candles);
    const late = (await lateTrades(driver)).slice(seen.late);
    const dead = (await deadLetters(driver)).slice(seen.dead);
    seen.candles += closed.length;
    seen.late += late.length;
    seen.dead += dead.length;

    if (row.symbol === 'BTC/USD' && dead.length === 0) {
      const event = Number(time(row.event));
      if (progress === undefined) progress = startProgress(event, now, 5_000_000);
      else observe(progress, event, now, now);
    }
    const watermark = progress === undefined ? '' : clock(watermarkAt(progress, now));
    const outcome = [
      ...closed.map(
        ({ window_start, status }) => `${status === 'CLOSED' ? 'closes' : 'revises'} ${clock(Number(window_start))}`,
      ),
      ...late.map(({ lateness_us }) => `late, ${Number(lateness_us) / 1e6} s behind the watermark`),
      ...dead.map(({ reason }) => `dead letter, ${reason}`),
    ];
    if (outcome.length === 0) outcome.push(row.what === 'heartbeat' ? 'nothing is due' : 'joins its window');
    const trade = row.what === 'heartbeat' ? '' : `${row.price} × ${row.size}`;
    const expected = [row.log, row.what, row.event, trade, watermark, outcome.join('; ')];
    expect(cells(text)).toEqual(expected);
  }

  const [candle] = await candles(driver);
  const price = (units: bigint | null | undefined) => formatTrimmed(units ?? -1n, 8);
  expect(page).toContain(
    `open ${price(candle?.open)}, high ${price(candle?.high)}, low ${price(candle?.low)}, close ${price(candle?.close)}, ` +
      `volume ${price(candle?.volume)}, vwap ${price(candle?.vwap)}, ${candle?.trade_count} trades`,
  );
  expect(candle?.status).toBe('CLOSED');
});

const cells = (text: string) =>
  text
    .slice(1, -1)
    .split('|')
    .map((cell) => cell.trim());
