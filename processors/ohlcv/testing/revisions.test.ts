import { expect, test } from '@jest/globals';
import { Driver } from '../../../core/testing/driver.ts';
import { formatTimestamp, parseInterval, parseTimestamp } from '../../../core/values/time.ts';
import type { Candle } from '../../../schemas/gen/candle.ts';
import type { LateTrade } from '../../../schemas/gen/late_trade.ts';
import type { TradeChange, TradeRow } from '../../../schemas/gen/trade_change.ts';
import fc from '../../../test/support/property.ts';
import { ohlcv } from '../ohlcv.ts';
import type { OhlcvSettings } from '../settings.ts';
import { candles, deadLetters, lateTrades } from './fixture.ts';
import { histories, NOON, type Stretch, settings } from './history.ts';

/** Window length and step of an interval, microseconds. */
interface Shape {
  readonly size: bigint;
  readonly every: bigint;
}

function shape(interval: string): Shape {
  const [size = '', every = size] = interval.split('/');
  return { size: parseInterval(size), every: parseInterval(every) };
}

/** Starts of the windows that contain an instant after 1970. */
function starts(at: bigint, { size, every }: Shape): bigint[] {
  const all: bigint[] = [];
  for (let start = at - (at % every); start > at - size; start -= every) all.push(start);
  return all;
}

/** Trades of each window, computed from the changes and the late topic, as a reader of both topics would. By `symbol|window start`. */
function applied(
  changes: readonly TradeChange[],
  late: readonly LateTrade[],
  dead: ReadonlySet<bigint>,
  interval: string,
): Map<string, Map<string, TradeRow>> {
  const windows = new Map<string, Map<string, TradeRow>>();
  const skipped = new Set<string>();
  const whole = new Set<bigint>();
  for (const each of late) {
    if (each.effect === 'UNCHANGED') whole.add(each.origin.offset);
    if (each.effect !== 'NOT_APPLIED' || (each.interval !== null && each.interval !== interval)) continue;
    if (each.interval === null) whole.add(each.origin.offset);
    else skipped.add(`${each.origin.offset}|${each.window_start}`);
  }
  /** Last accepted version of each trade. */
  const accepted = new Map<string, TradeRow>();
  for (const [index, { op, before, after }] of changes.entries()) {
    const offset = BigInt(index);
    const row = after ?? before;
    if (row === null || op === 't' || dead.has(offset) || whole.has(offset)) continue;
    const each = (of: TradeRow | undefined | null, act: (trades: Map<string, TradeRow>) => void) => {
      if (of === undefined || of === null) return;
      for (const start of starts(parseTimestamp(of.executed_at), shape(interval))) {
        if (skipped.has(`${offset}|${start}`)) continue;
        const key = `${of.symbol}|${start}`;
        const trades = windows.get(key) ?? new Map<string, TradeRow>();
        windows.set(key, trades);
        act(trades);
      }
    };
    each(accepted.get(row.trade_id), (trades) => trades.delete(row.trade_id));
    each(after, (trades) => trades.set(row.trade_id, row));
    if (after === null) accepted.delete(row.trade_id);
    else accepted.set(row.trade_id, after);
  }
  return windows;
}

/** Candle of some trades by definition: sort, reduce. Undefined without trades. */
function recompute(rows: readonly TradeRow[]): Record<string, unknown> | undefined {
  const sorted = rows.toSorted((a, b) => {
    const [left, right] = [parseTimestamp(a.executed_at), parseTimestamp(b.executed_at)];
    if (left !== right) return left < right ? -1 : 1;
    const sequence = (a.venue_sequence ?? -1n) - (b.venue_sequence ?? -1n);
    return sequence === 0n ? Buffer.compare(Buffer.from(a.trade_id), Buffer.from(b.trade_id)) : Number(sequence);
  });
  const first = sorted[0];
  const last = sorted.at(-1);
  if (first === undefined || last === undefined) return undefined;
  const prices = sorted.map(({ price }) => price).sort((a, b) => Number(a - b));
  const [low, high] = [prices[0], prices.at(-1)];
  const at = (row: TradeRow | undefined) => parseTimestamp(row?.executed_at ?? '');
  const volume = sorted.reduce((sum, { size }) => sum + size, 0n);
  const notional = sorted.reduce((sum, { price, size }) => sum + price * size, 0n);
  return {
    open: first.price,
    high,
    low,
    close: last.price,
    vwap: volume === 0n ? null : (2n * notional + volume) / (2n * volume),
    volume,
    notional,
    trade_count: BigInt(sorted.length),
    first_trade_id: first.trade_id,
    last_trade_id: last.trade_id,
    open_time: at(first),
    high_time: at(sorted.find(({ price }) => price === high)),
    low_time: at(sorted.find(({ price }) => price === low)),
    close_time: at(last),
  };
}

async function play(history: readonly Stretch[], how: OhlcvSettings) {
  await using driver = await Driver.open(ohlcv(how));
  for (const { changes, beat } of history) {
    for (const each of changes) driver.send(each);
    await driver.beat(beat);
  }
  await driver.beat(NOON + 3n * 86_400_000_000n);
  return {
    candles: await candles(driver),
    late: await lateTrades(driver),
    dead: await deadLetters(driver),
    changes: history.flatMap(({ changes }) => changes),
  };
}

const keyOf = (each: Candle) => `${each.symbol}|${each.window_start}`;

test('after late, corrected and cancelled trades every candle is that of the trades that are left, in exact numbers', async () => {
  await fc.assert(
    fc.asyncProperty(histories(fc), settings(fc), async (history, how) => {
      const played = await play(history, how);
      const dead = new Set(played.dead.map(({ origin }) => origin.offset));
      for (const interval of how.intervals) {
        const newest = new Map<string, Candle>();
        for (const each of played.candles) if (each.interval === interval) newest.set(keyOf(each), each);
        const windows = applied(played.changes, played.late, dead, interval);
        for (const [key, trades] of windows) {
          const expected = recompute([...trades.values()]);
          const found = newest.get(key);
          const place = `${interval} ${key} ${formatTimestamp(BigInt(key.split('|')[1] ?? 0))}`;
          if (expected === undefined) expect([place, found?.trade_count ?? 0n]).toEqual([place, 0n]);
          else expect({ place, ...found }).toMatchObject({ place, ...expected });
        }
        for (const [key, found] of newest) if (found.trade_count > 0n) expect(windows.has(key)).toBe(true);
      }
    }),
    { numRuns: 60 },
  );
});
