import { expect, test } from '@jest/globals';
import { Driver, type Emitted } from '../../core/testing/driver.ts';
import { divide, divideRounded, formatDecimal, PRICE_SCALE, pow10 } from '../../core/values/decimal.ts';
import { formatTimestamp } from '../../core/values/time.ts';
import type { Features } from '../../schemas/gen/features.ts';
import type { LateTrade } from '../../schemas/gen/late_trade.ts';
import type { TradeChange } from '../../schemas/gen/trade_change.ts';
import fc from '../../test/support/property.ts';
import { compareTrades, readTrade, type Trade } from '../trade.ts';
import { features } from './features.ts';
import { Feed, type RowFields, SETTINGS, time } from './fixture.ts';
import { bucketOf, edgesOf } from './profile.ts';

const MINUTE = 60_000_000;
const noon = Number(time('12:00:00'));
const at = (seconds: number) => formatTimestamp(BigInt(noon + seconds * 1_000_000)).slice(11, 26);

interface Made {
  readonly seconds: number;
  readonly price: number;
  readonly size: number;
  readonly side: string;
}

const made: fc.Arbitrary<Made> = fc.record({
  seconds: fc.nat(600),
  price: fc.integer({ min: 1, max: 999 }),
  size: fc.nat(5),
  side: fc.constantFrom('buy', 'sell', 'unknown'),
});

function fields({ seconds, price, size, side }: Made, id: number, symbol = 'BTC/USD'): RowFields {
  return { at: at(seconds), id: `t${id}`, price: `${price / 10}`, size: `${size}`, side, symbol };
}

type Row = Emitted<object, Features>;

const bytesOf = ({ bytes: { key, value } }: Row) => `${key?.toString('hex')}=${value?.toString('hex')}`;

async function rowsOf(changes: readonly TradeChange[], crashAt: readonly number[] = [], chunk = 1000): Promise<Row[]> {
  await using driver = await Driver.open(features(SETTINGS), { chunk });
  for (const [index, each] of changes.entries()) {
    driver.send(each);
    if (!crashAt.includes(index)) continue;
    await driver.run();
    driver.crash();
  }
  await driver.beat(time('13:00:00'));
  return driver.outputs<object, Features>('market.features');
}

test('rows up to an instant have the same bytes for any later changes', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ trade: made, other: made }), { minLength: 1, maxLength: 25 }),
      fc.integer({ min: 1, max: 10 }),
      async (trades, minute) => {
        const cut = minute * 60;
        const ordered = trades.toSorted((a, b) => a.trade.seconds - b.trade.seconds);
        const [known, changed] = [new Feed(), new Feed()];
        const history = ordered.map(({ trade }, id) => known.create(fields(trade, id)));
        // All trades after the instant are replaced by others at other times, at the same log positions.
        const rewritten = ordered.map(({ trade, other }, id) =>
          changed.create(fields(trade.seconds < cut ? trade : { ...other, seconds: Math.max(cut, trade.seconds) }, id)),
        );
        const until = BigInt(noon + cut * 1_000_000);
        const upTo = (rows: readonly Row[]) => rows.filter(({ value }) => (value?.as_of ?? 0n) <= until).map(bytesOf);
        expect(upTo(await rowsOf(rewritten))).toEqual(upTo(await rowsOf(history)));
      },
    ),
    { numRuns: 20 },
  );
});

test('rows have the same bytes for any chunks and after a crash at any point', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(made, { minLength: 1, maxLength: 25 }),
      fc.array(fc.nat(24), { maxLength: 4 }),
      fc.integer({ min: 1, max: 9 }),
      async (trades, crashes, chunk) => {
        const feed = new Feed();
        const changes = trades.map((trade, id) => feed.create(fields(trade, id), at(600)));
        const [straight, crashed] = [await rowsOf(changes), await rowsOf(changes, crashes, chunk)];
        expect(crashed.map(bytesOf)).toEqual(straight.map(bytesOf));
      },
    ),
    { numRuns: 20 },
  );
});

test('rows do not depend on the order of trades within the watermark delay', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(made, fc.nat(4)), { minLength: 1, maxLength: 25 }), async (trades) => {
      const inOrder = trades.map(([trade, delay], id) => ({ trade, delay, id }));
      inOrder.sort((a, b) => a.trade.seconds - b.trade.seconds || a.id - b.id);
      const delayed = inOrder.toSorted((a, b) => a.trade.seconds + a.delay - (b.trade.seconds + b.delay));
      const feed = new Feed();
      const changes = (list: typeof inOrder) => list.map(({ trade, id }) => feed.create(fields(trade, id), at(700)));
      const figures = (rows: readonly Row[]) => rows.map(({ value }) => ({ ...value, provenance: null }));
      expect(figures(await rowsOf(changes(delayed)))).toEqual(figures(await rowsOf(changes(inOrder))));
    }),
    { numRuns: 20 },
  );
});

/** Expected row, computed from a list of all known trades: no bars, no state. */
function expected(trades: readonly Trade[], asOf: number): Pick<Features, 'price' | 'windows' | 'profile'> | undefined {
  const before = trades
    .filter((trade) => trade.time < asOf)
    .toSorted((a, b) => compareTrades(a.time, a.sequence, a.id, b.time, b.sequence, b.id));
  const since = (start: number) => before.filter((trade) => trade.time >= start);
  const priceAt = (instant: number) => before.findLast((trade) => trade.time < instant)?.price;
  const total = (list: readonly Trade[], side?: string) =>
    list.reduce((sum, trade) => (side === undefined || trade.side === side ? sum + trade.size : sum), 0n);
  if (since(asOf - 3 * MINUTE).length === 0) return undefined;
  const windows = [1, 3].map((minutes) => {
    const start = asOf - minutes * MINUTE;
    const inside = since(start);
    const [from, to] = [priceAt(start), priceAt(asOf) ?? 0n];
    let squares = 0n;
    for (let step = start; from !== undefined && step < asOf; step += MINUTE) {
      const [a, b] = [priceAt(step) ?? 1n, priceAt(step + MINUTE) ?? 1n];
      squares += divideRounded((b - a) * pow10(18), a) ** 2n;
    }
    const [buy, sell] = [total(inside, 'buy'), total(inside, 'sell')];
    const known = from !== undefined;
    return {
      length: `${minutes}m`,
      start_price: from ?? null,
      return: known ? divide(to - from, 0, from, 0, 16) : null,
      realised_variance: known ? divideRounded(squares, pow10(20)) : null,
      realised_volatility: known ? BigInt(Math.round(Math.sqrt(Number(formatDecimal(squares, 36))) * 1e8)) : null,
      volume: total(inside),
      buy_volume: buy,
      sell_volume: sell,
      trade_imbalance: buy + sell === 0n ? null : divide(buy - sell, 0, buy + sell, 0, PRICE_SCALE),
      trade_count: BigInt(inside.length),
    };
  });
  const inside = since(asOf - 3 * MINUTE);
  const edges = [...new Set(inside.filter(({ size }) => size > 0n).map(({ price }) => bucketOf(price, 2)))];
  const profile = edges
    .sort((a, b) => (a < b ? -1 : 1))
    .map((edge) => {
      const [price_from, price_to] = edgesOf(edge, 2);
      return { price_from, price_to, volume: total(inside.filter(({ price }) => bucketOf(price, 2) === edge)) };
    });
  return { price: priceAt(asOf) ?? null, windows, profile };
}

test('a row is what the trades that were known by then give, with late ones, corrections and cancellations', async () => {
  const step = fc.record({
    kind: fc.constantFrom('create', 'create', 'create', 'update', 'delete'),
    pause: fc.nat(40),
    back: fc.integer({ min: -8, max: 150 }),
    pick: fc.nat(),
    trade: made,
    again: fc.nat(2),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 25 }), async (steps) => {
      await using driver = await Driver.open(features(SETTINGS));
      const feed = new Feed();
      const applied = new Map<string, RowFields>();
      const sent: TradeChange[] = [];
      let [rows, late, seconds] = [0, 0, 200];
      const verify = async (counted: Iterable<RowFields>) => {
        const trades = [...counted].map((each) => readTrade(feed.create(each).after as never));
        const emitted = (await driver.outputs<object, Features>('market.features')).slice(rows);
        rows += emitted.length;
        for (const { value } of emitted) {
          const { price, windows, profile } = value as Features;
          expect({ price, windows, profile }).toEqual(expected(trades, Number(value?.as_of)));
        }
      };
      for (const [id, { kind, pause, back, pick, trade, again }] of steps.entries()) {
        seconds += pause;
        // Rows due by log time alone do not include this trade.
        await driver.beat(BigInt(noon + seconds * 1_000_000));
        await verify(applied.values());

        const known = [...applied.values()];
        const old = kind === 'create' ? undefined : known[pick % Math.max(1, known.length)];
        const next = { ...fields({ ...trade, seconds: seconds - back }, id), ...(old?.id && { id: old.id }) };
        const log = at(seconds);
        if (old === undefined) sent.push(feed.create(next, log));
        else sent.push(kind === 'update' ? feed.update(old, next, log) : feed.delete(old, log));
        driver.send(sent.at(-1) as TradeChange);
        if (again > 0) for (const each of sent.slice(-again)) driver.send(each);
        await driver.run();

        const outcomes = (await driver.outputs<object, LateTrade>('features.late')).slice(late);
        late += outcomes.length;
        const outcome = outcomes.find(({ value }) => value?.reason !== 'DUPLICATE')?.value?.effect;
        if (outcome !== 'NOT_APPLIED') {
          applied.delete(next.id ?? '');
          if (kind !== 'delete' || old === undefined) applied.set(next.id ?? '', next);
        }
        await verify(applied.values());
      }
    }),
    { numRuns: 40 },
  );
});
