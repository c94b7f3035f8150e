import { expect, test } from '@jest/globals';
import { Driver, type DriverOptions } from '../../../core/testing/driver.ts';
import { formatTimestamp } from '../../../core/values/time.ts';
import type { Candle } from '../../../schemas/gen/candle.ts';
import type { TradeChange } from '../../../schemas/gen/trade_change.ts';
import fc from '../../../test/support/property.ts';
import { ohlcv } from '../ohlcv.ts';
import type { OhlcvSettings } from '../settings.ts';
import { candles, deadLetters, Feed, lateTrades, SETTINGS } from './fixture.ts';
import { histories, NOON, type Stretch, settings } from './history.ts';

interface Sample {
  readonly id: string;
  readonly symbol: string;
  /** Microseconds after noon. */
  readonly at: number;
  readonly sequence: bigint | null;
  /** Units of 0.01. */
  readonly price: number;
  /** Units of 0.001. */
  readonly size: number;
}

const YEAR = 365n * 86_400_000_000n;
/** Capture delay of each symbol: one symbol may be loaded a year after the other. */
const BEHIND: Readonly<Record<string, bigint>> = { A: 0n, B: YEAR, 'B\u0001': 3_600_000_000n };

const sample = fc.record({
  symbol: fc.constantFrom('A', 'B', 'B\u0001'),
  // Coarse values, so that trades share an instant; sometimes exactly at a window's edge.
  at: fc.oneof(
    fc.nat(480).map((second) => second * 1_000_000),
    fc.nat(8).map((minute) => Math.max(0, minute * 60_000_000 - 1)),
  ),
  sequence: fc.option(fc.bigInt(0n, 3n)),
  price: fc.integer({ min: 1, max: 30 }),
  size: fc.nat(20),
});
const samples = fc
  .array(sample, { minLength: 1, maxLength: 60 })
  .map((all) => all.map((each, at): Sample => ({ ...each, id: `${at % 7}-${at}` })));
/** Time from event to commit: at most the watermark delay. */
const delays = fc.array(fc.integer({ min: 0, max: SETTINGS.watermarkDelayMs * 1000 }), {
  minLength: 60,
  maxLength: 60,
});

function change(feed: Feed, each: Sample, logTime: bigint): TradeChange {
  const { id, symbol, sequence } = each;
  return feed.change({
    id,
    symbol,
    at: formatTimestamp(NOON - (BEHIND[symbol] ?? 0n) + BigInt(each.at)),
    log: formatTimestamp(logTime),
    price: (each.price / 100).toFixed(2),
    size: (each.size / 1000).toFixed(3),
    ...(sequence === null ? {} : { sequence }),
  });
}

/** Trades in commit order. */
function inOrder(all: readonly Sample[], delay: readonly number[]): TradeChange[] {
  const feed = new Feed();
  return all
    .map((each, at) => ({ each, log: NOON + BigInt(each.at + (delay[at] ?? 0)) }))
    .sort((a, b) => Number(a.log - b.log))
    .map(({ each, log }) => change(feed, each, log));
}

/** Expected candles of all sent trades, recomputed from the definition: group, sort, reduce. */
function recompute(all: readonly Sample[], minutes: number): unknown[] {
  const groups = Map.groupBy(all, ({ symbol, at }) => `${symbol}|${Math.floor(at / 60e6 / minutes)}`);
  return [...groups.values()].map((group) => {
    const sorted = group.toSorted(
      (a, b) =>
        a.at - b.at ||
        Number((a.sequence ?? -1n) - (b.sequence ?? -1n)) ||
        Buffer.compare(Buffer.from(a.id), Buffer.from(b.id)),
    );
    const first = sorted[0] as Sample;
    const last = sorted.at(-1) as Sample;
    const prices = sorted.map(({ price }) => price);
    const size = sorted.reduce((sum, each) => sum + each.size, 0);
    const notional = sorted.reduce((sum, each) => sum + each.price * each.size, 0);
    const start =
      NOON - (BEHIND[first.symbol] ?? 0n) + BigInt(Math.floor(first.at / 60e6 / minutes)) * BigInt(minutes * 60e6);
    const base = NOON - (BEHIND[first.symbol] ?? 0n);
    const timeOf = (price: number) => base + BigInt(sorted.find((each) => each.price === price)?.at ?? -1);
    const units = (cents: number) => BigInt(`${cents}000000`);
    return {
      venue: 'bitstamp',
      symbol: first.symbol,
      interval: `${minutes}m`,
      window_start: start,
      window_end: start + BigInt(minutes * 60e6),
      open: units(first.price),
      high: units(Math.max(...prices)),
      low: units(Math.min(...prices)),
      close: units(last.price),
      vwap: size === 0 ? null : half(BigInt(notional) * 1_000_000n, BigInt(size)),
      volume: BigInt(`${size}00000`),
      notional: BigInt(`${notional}00000000000`),
      trade_count: BigInt(group.length),
      first_trade_id: first.id,
      last_trade_id: last.id,
      open_time: base + BigInt(first.at),
      high_time: timeOf(Math.max(...prices)),
      low_time: timeOf(Math.min(...prices)),
      close_time: base + BigInt(last.at),
      status: 'CLOSED',
      revision: 1,
      reason: 'WATERMARK',
    };
  });
}

/** Division of positive numbers, rounded half up. */
const half = (numerator: bigint, denominator: bigint) => (2n * numerator + denominator) / (2n * denominator);

const withoutProvenance = ({ provenance: _, ...candle }: Candle) => candle;
const byKey = (all: readonly unknown[]) =>
  (all as Candle[]).toSorted((a, b) => {
    const key = (each: Candle) => `${each.symbol}|${each.interval}|${each.window_start}`;
    return key(a) < key(b) ? -1 : 1;
  });

test('any order of the same trades within the watermark delay gives the candles of their definition, and nothing is late', async () => {
  await fc.assert(
    fc.asyncProperty(samples, delays, async (all, delay) => {
      await using driver = await Driver.open(ohlcv(SETTINGS));
      for (const each of inOrder(all, delay)) driver.send(each);
      await driver.beat(NOON + 3_600_000_000n);
      expect(await lateTrades(driver)).toEqual([]);
      const expected = byKey([...recompute(all, 1), ...recompute(all, 5)]);
      expect(byKey(await candles(driver)).map(withoutProvenance)).toEqual(expected);
    }),
    { numRuns: 40 },
  );
});

type Interruption = {
  readonly records: number;
  readonly fault: 'none' | 'abort' | 'unknown-committed' | 'unknown-aborted';
};

async function bytes(
  all: readonly Stretch[],
  settings: OhlcvSettings,
  options: DriverOptions,
  interruptions: readonly Interruption[],
): Promise<Record<string, string[]>> {
  await using driver = await Driver.open(ohlcv(settings), options);
  const left = [...interruptions];
  for (const { changes, beat } of all) {
    for (const each of changes) driver.send(each);
    for (const { records, fault } of left.splice(0, 2)) {
      if (fault !== 'none') driver.fault(0, fault);
      await driver.run({ records });
      driver.crash();
    }
    await driver.beat(beat);
    if (left.length % 2 === 1) driver.crash();
  }
  await driver.beat(NOON + 7_200_000_000n);
  const topics = ['market.candles', 'ohlcv.late', 'ohlcv.dead', 'ohlcv.journal'];
  const outputs = topics.map(async (topic): Promise<[string, string[]]> => {
    const emitted = await driver.outputs(topic);
    return [
      topic,
      emitted.map(({ timestamp, bytes: { key, value } }) => {
        // A journal's timestamps serve retention: before the first record they come from the wall clock.
        const at = topic === 'ohlcv.journal' ? '' : timestamp;
        return `${at} ${key?.toString('hex')} ${value?.toString('hex')}`;
      }),
    ];
  });
  return Object.fromEntries(await Promise.all(outputs));
}

test('any chunking, any commit size, any crash point and any lost commit give the same bytes', async () => {
  const options = fc.record({ chunk: fc.integer({ min: 1, max: 20 }), commitRecords: fc.integer({ min: 1, max: 20 }) });
  const interruption = fc.record({
    records: fc.integer({ min: 1, max: 8 }),
    fault: fc.constantFrom('none' as const, 'abort' as const, 'unknown-committed' as const, 'unknown-aborted' as const),
  });
  await fc.assert(
    fc.asyncProperty(
      histories(fc),
      settings(fc),
      options,
      fc.array(interruption, { maxLength: 10 }),
      async (all, rules, how, interruptions) => {
        expect(await bytes(all, rules, how, interruptions)).toEqual(await bytes(all, rules, {}, []));
      },
    ),
    { numRuns: 50 },
  );
});

async function play(all: readonly Stretch[], how: OhlcvSettings, see: (driver: Driver<TradeChange>) => Promise<void>) {
  await using driver = await Driver.open(ohlcv(how));
  for (const { changes, beat } of all) {
    for (const each of changes) driver.send(each);
    await driver.beat(beat);
  }
  await driver.beat(NOON + 3n * 86_400_000_000n);
  await see(driver);
}

test('revisions of a candle rise by one from 1: partial ones, then one that closes it, then what revises it', async () => {
  await fc.assert(
    fc.asyncProperty(histories(fc), settings(fc), async (all, how) => {
      await play(all, how, async (driver) => {
        const lives = Map.groupBy(
          await candles(driver),
          (each) => `${each.symbol}|${each.interval}|${each.window_start}`,
        );
        for (const life of lives.values()) {
          expect(life.map(({ revision }) => revision)).toEqual(life.map((_, at) => at + 1));
          expect(life.map(({ status }) => status[0]).join('')).toMatch(/^P*(C|F|R)(R|F)*$/);
        }
      });
    }),
    { numRuns: 30 },
  );
});

test('every change that is no new trade in time is in the late topic or a dead letter, also a late one of each interval', async () => {
  await fc.assert(
    fc.asyncProperty(histories(fc), settings(fc), async (all, how) => {
      await play(all, how, async (driver) => {
        const told = new Set(
          [...(await lateTrades(driver)), ...(await deadLetters(driver))].map(({ origin }) => origin.offset),
        );
        const seen = new Set<string | null>();
        for (const [offset, { op, source }] of all.flatMap(({ changes }) => changes).entries()) {
          const again = seen.has(source.sequence);
          seen.add(source.sequence);
          if (op !== 'c' || again) expect([offset, told.has(BigInt(offset))]).toEqual([offset, true]);
        }
      });
    }),
    { numRuns: 30 },
  );
});
