import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { parseDecimal } from '../../core/decimal.ts';
import { type Accumulator, add, candle, compareUtf8, fits, openWith } from './candle.ts';
import type { Trade } from './trade.ts';

const PLACE = { venue: 'v', symbol: 's', interval: '1m', start: 0, end: 60_000_000 };

function trade(id: string, time: number, price: string, size = '1', sequence: bigint | null = null): Trade {
  const units = { price: parseDecimal(price, 8), size: parseDecimal(size, 8) };
  return { venue: 'v', symbol: 's', id, sequence, ...units, notional: units.price * units.size, side: 'buy', time };
}

function fold(trades: readonly Trade[]): Accumulator {
  const [first, ...rest] = trades as [Trade, ...Trade[]];
  const into = openWith(first, { offset: 10n, lsn: 100n });
  for (const [at, next] of rest.entries()) add(into, next, { offset: BigInt(11 + at), lsn: BigInt(101 + at) });
  return into;
}

const made = (trades: readonly Trade[]) => candle(PLACE, fold(trades), 'CLOSED', 'WATERMARK', '1');

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

  test('compares ids as Buffer.compare does', () => {
    const id = fc.string({ unit: 'binary', maxLength: 6 });
    fc.assert(
      fc.property(id, id, (a, b) => {
        expect(Math.sign(compareUtf8(a, b))).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)));
      }),
    );
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

  test('knows the offsets and the LSNs that it was made of, whatever their order', () => {
    const into = openWith(trade('a', 1, '1'), { offset: 5n, lsn: 70n });
    add(into, trade('b', 1, '1'), { offset: 6n, lsn: 60n });
    add(into, trade('c', 1, '1'), { offset: 9n, lsn: null });
    add(into, trade('d', 1, '1'), { offset: 12n, lsn: 80n });
    expect(candle(PLACE, into, 'CLOSED', 'WATERMARK', '7').provenance).toEqual({
      processor_version: '7',
      from_offset: 5n,
      to_offset: 12n,
      from_lsn: 60n,
      to_lsn: 80n,
    });
  });

  test('refuses a trade by which its notional would exceed DECIMAL(38,16), and no other', () => {
    const huge = trade('a', 1, '999999999999', '9999999999');
    expect(fits(undefined, huge)).toBe(true);
    expect(fits(openWith(huge, { offset: 0n, lsn: null }), trade('b', 1, '1', '1'))).toBe(true);
    expect(fits(openWith(huge, { offset: 0n, lsn: null }), trade('b', 1, '999999999999', '2'))).toBe(false);
    expect(fits(undefined, trade('a', 1, '999999999999', '999999999999'))).toBe(false);
    expect(fits(undefined, trade('a', 1, '-999999999999', '999999999999'))).toBe(false);
  });
});
