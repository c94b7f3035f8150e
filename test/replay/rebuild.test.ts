/** Histories with rebuilds: a replay gives what was published, and frozen candles are what the accepted changes come to. */
import { expect, test } from '@jest/globals';
import { Driver } from '../../core/testing/driver.ts';
import { formatTimestamp, parseTimestamp } from '../../core/values/time.ts';
import { ohlcv } from '../../processors/ohlcv/ohlcv.ts';
import { type OhlcvSettings, toRules } from '../../processors/ohlcv/settings.ts';
import { candles, deadLetters, Feed, lateTrades } from '../../processors/ohlcv/testing/fixture.ts';
import { histories, NOON, type Stretch, settings } from '../../processors/ohlcv/testing/history.ts';
import { rebuild } from '../../processors/ohlcv/testing/rebuild.ts';
import { replay } from '../../proof/replay/replay.ts';
import type { TradeChange, TradeRow } from '../../schemas/gen/trade_change.ts';
import fc from '../support/property.ts';

const dayAfter = NOON + 3n * 86_400_000_000n;

/**
 * Whether a trade is changed so long after a change of it that was refused or not applied that the fold has forgotten that: then its windows may hold
 * something else (docs/reference/processing/candles.md, Limits).
 */
function isForgotten(all: readonly TradeChange[], aside: ReadonlySet<bigint>, how: OhlcvSettings): boolean {
  const { memory } = toRules(how);
  const since = new Map<string, bigint>();
  return all.some(({ before, after, source }, at) => {
    const id = (after ?? before)?.trade_id ?? '';
    const log = source.ts_us ?? 0n;
    const last = since.get(id);
    if (aside.has(BigInt(at))) since.set(id, log);
    return last !== undefined && Number(log - last) >= memory;
  });
}

/** `symbol interval start` → figures, by definition: what is left of the trades after every change that was not refused. */
function expected(
  all: readonly TradeChange[],
  refused: ReadonlySet<bigint>,
  how: OhlcvSettings,
): Map<string, readonly unknown[]> {
  const rows = new Map<string, TradeRow>();
  const seen = new Set<unknown>();
  for (const [at, { op, before, after, source }] of all.entries()) {
    const isRepeated = seen.has(source.sequence);
    seen.add(source.sequence);
    if (op === 't' || op === 'r' || isRepeated || refused.has(BigInt(at))) continue;
    const row = (after ?? before) as TradeRow;
    const id = `${row.symbol} ${row.trade_id}`;
    if (after === null) rows.delete(id);
    else rows.set(id, after);
  }
  const windows = new Map<string, TradeRow[]>();
  for (const row of rows.values()) {
    const at = Number(parseTimestamp(row.executed_at));
    for (const { windows: level } of toRules(how).plan(row.venue).levels) {
      for (let start = level.at(at); !Number.isNaN(start); start = level.before(start, at)) {
        const key = `${row.symbol} ${level.name} ${start}`;
        windows.set(key, [...(windows.get(key) ?? []), row]);
      }
    }
  }
  return new Map([...windows].map(([key, inside]) => [key, figures(inside)]));
}

function figures(rows: readonly TradeRow[]): readonly unknown[] {
  const time = (row: TradeRow) => parseTimestamp(row.executed_at);
  const compare = (a: TradeRow, b: TradeRow) =>
    Number(time(a) - time(b)) ||
    Number((a.venue_sequence ?? -1n) - (b.venue_sequence ?? -1n)) ||
    Buffer.compare(Buffer.from(a.trade_id), Buffer.from(b.trade_id));
  const sorted = rows.toSorted(compare) as [TradeRow, ...TradeRow[]];
  const prices = sorted.map(({ price }) => price).toSorted((a, b) => Number(a - b));
  const last = sorted.at(-1) as TradeRow;
  const sum = (of: (row: TradeRow) => bigint) => sorted.reduce((total, row) => total + of(row), 0n);
  const volume = sum(({ size }) => size);
  const notional = sum(({ price, size }) => price * size);
  return [
    ...[sorted[0].price, prices.at(-1), prices[0], last.price, volume, notional, BigInt(rows.length)],
    ...[sorted[0].trade_id, last.trade_id, time(sorted[0]), time(last)],
  ];
}

async function published(driver: Driver<TradeChange>): Promise<Map<string, readonly unknown[]>> {
  const found = new Map<string, readonly unknown[]>();
  for (const each of await candles(driver)) {
    const { open, high, low, close, volume, notional, trade_count, first_trade_id, last_trade_id, open_time } = each;
    const key = `${each.symbol} ${each.interval} ${each.window_start}`;
    if (trade_count === 0n) found.delete(key);
    else
      found.set(key, [
        ...[open, high, low, close, volume, notional, trade_count],
        ...[first_trade_id, last_trade_id, open_time, each.close_time],
      ]);
  }
  return found;
}

const interruption = fc.record({
  fault: fc.constantFrom('none' as const, 'abort' as const, 'unknown-committed' as const, 'unknown-aborted' as const),
  crash: fc.boolean(),
  rebuilds: fc.boolean(),
});

test('after a rebuild every frozen candle is a recompute over the accepted changes, revisions rise, and a replay gives the same bytes', async () => {
  let made = 0;
  await fc.assert(
    fc.asyncProperty(
      histories(fc),
      settings(fc).map((how) => ({
        ...how,
        fillMs: 0,
        allowedLatenessMs: Math.min(how.allowedLatenessMs ?? 0, 600_000),
      })),
      fc.record({ chunk: fc.integer({ min: 1, max: 20 }), commitRecords: fc.integer({ min: 1, max: 20 }) }),
      fc.array(interruption, { minLength: 6, maxLength: 6 }),
      async (all: readonly Stretch[], how, options, interruptions) => {
        const processor = ohlcv(how);
        await using driver = await Driver.open(processor, options);
        const sent: TradeChange[] = [];
        const feed = new Feed();
        for (const [at, { changes, beat }] of all.entries()) {
          for (const change of changes) {
            driver.send(change);
            sent.push(change);
          }
          const { fault, crash, rebuilds } = interruptions[at] ?? { fault: 'none', crash: false, rebuilds: false };
          if (fault !== 'none') driver.fault(0, fault);
          if (crash) {
            await driver.run({ records: 3 });
            driver.crash();
          }
          await driver.beat(beat);
          if (rebuilds) made += (await rebuild(driver, how)).rebuilt;
        }
        for (const symbol of ['A', 'B']) {
          const at = formatTimestamp(dayAfter);
          const change = feed.change({ venue: 'v', symbol, id: 'last', at, log: at, lsn: 1n << 40n });
          driver.send({
            ...change,
            source: { ...change.source, sequence: `["${1n << 40n}","${(1n << 40n) + BigInt(symbol === 'A')}"]` },
          });
          sent.push(change);
        }
        await driver.beat(dayAfter + 2n * 86_400_000_000n);
        made += (await rebuild(driver, how)).rebuilt;
        const refused = new Set((await deadLetters(driver)).map(({ origin }) => origin.offset));
        const late = await lateTrades(driver);
        const notApplied = late.flatMap(({ effect, origin }) => (effect === 'NOT_APPLIED' ? [origin.offset] : []));
        fc.pre(!isForgotten(sent, new Set([...refused, ...notApplied]), how));
        expect(await published(driver)).toEqual(expected(sent, refused, how));
        const revisions = new Map<string, number>();
        for (const { symbol, interval, window_start, revision } of await candles(driver)) {
          const key = `${symbol} ${interval} ${window_start}`;
          expect([key, revision]).toEqual([key, (revisions.get(key) ?? 0) + 1]);
          revisions.set(key, revision);
        }
        const { log, schemas } = driver;
        const { examples, differences } = await replay({ log, schemas, processor, verify: true });
        expect(examples).toEqual([]);
        expect(differences).toBe(0);
      },
    ),
    { numRuns: 60 },
  );
  expect(made).toBeGreaterThan(50);
});
