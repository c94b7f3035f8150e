import { describe, expect, test } from '@jest/globals';
import type { Span } from '../../core/processor/windows/aggregation.ts';
import { parseDecimal } from '../../core/values/decimal.ts';
import type { Candle } from '../../schemas/gen/candle.ts';
import fc from '../../test/support/property.ts';
import type { Trade } from '../trade.ts';
import { type Accumulator, candles, toCandle } from './candle.ts';

function trade(id: string, time: number, price: string, size = '1', sequence: bigint | null = null): Trade {
  const units = { price: parseDecimal(price, 8), size: parseDecimal(size, 8) };
  return { venue: 'v', symbol: 's', id, sequence, ...units, notional: units.price * units.size, side: 'buy', time };
}

function fold(trades: readonly Trade[]): Accumulator {
  const [first, ...rest] = trades as [Trade, ...Trade[]];
  const into = candles.create(first);
  for (const next of rest) candles.add(into, next);
  return into;
}

const SPAN: Span = { from_offset: 5n, to_offset: 12n, from_lsn: 60n, to_lsn: 80n };

function show(value: Accumulator | null, span: Span | null = SPAN): Candle {
  const window = { key: '', level: '1m', start: 0, end: 60_000_000 } as const;
  return toCandle('v', 's', { ...window, value, span, status: 'CLOSED', reason: 'WATERMARK', revision: 1 }, '7');
}

const made = (trades: readonly Trade[]) => show(fold(trades));

describe('the order of trades inside a window', () => {
  test('is event time first', () => {
    const { open, close } = made([trade('a', 2, '20'), trade('b', 1, '10', '1', 9n), trade('c', 3, '30')]);
    expect([open, close]).toEqual([1_000_000_000n, 3_000_000_000n]);
  });

  test('is venue sequence next, a trade without one before all that have one', () => {
    const { first_trade_id, last_trade_id } = made([
      trade('a', 1, '1', '1', 10n),
      trade('b', 1, '1', '1', 9n),
      trade('z', 1, '1'),
    ]);
    expect([first_trade_id, last_trade_id]).toEqual(['z', 'a']);
  });

  test('is trade id last, by its UTF-8 bytes', () => {
    // U+FFFD is before U+1F600 in UTF-8, and after it in UTF-16 code units.
    const { first_trade_id, last_trade_id } = made([trade('\u{1f600}', 1, '1'), trade('\ufffd', 1, '1')]);
    expect([first_trade_id, last_trade_id]).toEqual(['\ufffd', '\u{1f600}']);
  });

  test('is never arrival: every permutation gives the same candle', () => {
    const times = fc.integer({ min: 0, max: 3 });
    const prices = fc.integer({ min: 1, max: 4 }).map(String);
    const sequences = fc.option(fc.bigInt(0n, 2n));
    const trades = fc
      .array(fc.tuple(times, prices, sequences), { minLength: 1, maxLength: 12 })
      .map((rows) => rows.map(([time, price, sequence], at) => trade(`t${at}`, time, price, '0.5', sequence)));
    const permuted = trades.chain((all) =>
      fc.tuple(fc.constant(all), fc.shuffledSubarray(all, { minLength: all.length, maxLength: all.length })),
    );
    fc.assert(
      fc.property(permuted, ([all, shuffled]) => {
        expect({ ...made(shuffled), provenance: null }).toEqual({ ...made(all), provenance: null });
      }),
    );
  });
});

describe('a candle', () => {
  test('has the event times of its high and low: of the first trade at that price', () => {
    const { high, high_time, low, low_time } = made([
      trade('a', 5, '3'),
      trade('b', 2, '3'),
      trade('c', 4, '1'),
      trade('d', 3, '1'),
      trade('e', 6, '2'),
    ]);
    expect([high, high_time, low, low_time]).toEqual([300_000_000n, 2n, 100_000_000n, 3n]);
  });

  test('has volume and notional exact beyond 2^53', () => {
    const { volume, notional } = made([
      trade('a', 1, '99999999999.99999999', '12345.00000001'),
      trade('b', 2, '0.00000001', '0.00000001'),
    ]);
    expect(volume).toBe(parseDecimal('12345.00000002', 8));
    expect(notional).toBe(parseDecimal('1234500000000999.99987655', 16));
  });

  test.each([
    // Notional over volume is a half of the last digit: away from zero, as Postgres rounds.
    ['0.00000001', '1', '0.00000002', '1', 2n],
    ['-0.00000001', '1', '-0.00000002', '1', -2n],
    ['0.00000001', '2', '0.00000002', '1', 1n],
    ['1', '3', '2', '3', 150_000_000n],
  ])('has a vwap rounded half away from zero: %s × %s, %s × %s', (p1, s1, p2, s2, vwap) => {
    expect(made([trade('a', 1, p1, s1), trade('b', 2, p2, s2)]).vwap).toBe(vwap);
  });

  test('without volume has prices and no vwap', () => {
    expect(made([trade('a', 1, '5', '0')])).toMatchObject({ open: 500_000_000n, volume: 0n, vwap: null });
  });

  test('knows the offsets and the LSNs that it was made of', () => {
    expect(made([trade('a', 1, '1')]).provenance).toEqual({ processor_version: '7', ...SPAN });
    expect(show(null, null).provenance).toBeNull();
  });

  test('without trades has no prices, and sums of zero', () => {
    expect(show(null)).toMatchObject({
      open: null,
      close: null,
      vwap: null,
      volume: 0n,
      notional: 0n,
      trade_count: 0n,
    });
  });

  test('that carries on has the last close for all prices, and no trades', () => {
    const last = fold([trade('a', 1, '1'), trade('b', 2, '3')]);
    const carried = show(candles.carry?.(last) ?? null, null);
    const price = parseDecimal('3', 8);
    expect(carried).toMatchObject({ open: price, high: price, low: price, close: price, vwap: null });
    expect(carried).toMatchObject({ volume: 0n, trade_count: 0n, last_trade_id: null, close_time: null });
  });

  test('refuses a trade by which the longest candle could exceed DECIMAL(38,16), and no other', () => {
    const check = (into: Accumulator | null, next: Trade | null, share: number) => () =>
      candles.check?.(into, next, share);
    const huge = trade('a', 1, '999999999999', '9999999999');
    expect(check(null, huge, 1)).not.toThrow();
    expect(check(fold([huge]), trade('b', 1, '1', '1'), 1)).not.toThrow();
    const refusal = expect.objectContaining({ code: 'BAD_RECORD' });
    expect(check(fold([huge]), trade('b', 1, '999999999999', '2'), 1)).toThrow(refusal);
    expect(check(null, huge, 2)).toThrow(refusal);
    expect(check(null, trade('a', 1, '999999999999', '999999999999'), 1)).toThrow(refusal);
    expect(check(null, trade('a', 1, '-999999999999', '999999999999'), 1)).toThrow(refusal);
    expect(check(fold([huge]), null, 2)).toThrow(refusal);
  });
});

/** Trades whose prices and times collide often. */
const arbitraryTrades = fc
  .array(
    fc.tuple(fc.integer({ min: 0, max: 4 }), fc.integer({ min: -2, max: 3 }).map(String), fc.option(fc.bigInt(0n, 2n))),
    { minLength: 2, maxLength: 14 },
  )
  .map((rows) => rows.map(([time, price, sequence], at) => trade(`t${at}`, time, price, '0.25', sequence)));

describe('an accumulator', () => {
  test('merged of any two parts is that of the whole', () => {
    fc.assert(
      fc.property(arbitraryTrades, fc.nat(13), (trades, cut) => {
        const at = 1 + (cut % (trades.length - 1));
        const into = fold(trades.slice(0, at));
        candles.merge(into, fold(trades.slice(at)));
        expect(into).toEqual(fold(trades));
      }),
    );
  });

  test('from which a trade is taken is that of the rest, or is left as it is and says so', () => {
    let exact = 0;
    fc.assert(
      fc.property(arbitraryTrades, fc.nat(13), (trades, which) => {
        const gone = trades[which % trades.length] as Trade;
        const rest = trades.filter((each) => each !== gone);
        const from = fold(trades);
        const done = candles.subtract?.(from, gone);
        if (done === true) exact += 1;
        expect(from).toEqual(fold(done === true ? rest : trades));
      }),
    );
    expect(exact).toBeGreaterThan(0);
  });
});
