import { describe, expect, test } from '@jest/globals';
import { formatDecimal } from '../../core/decimal.ts';
import fc from '../../core/testing/property.ts';
import { type Field, type Format, formats, layoutOf } from './formats.ts';
import { parseRow, RowError, type TradeRow } from './row.ts';

function row(
  header: string,
  cells: string,
  format: Format = formats.auto,
  given: Partial<Record<Field, string>> = {},
): TradeRow {
  const layout = layoutOf(format, header.split(','), new Set(Object.keys(given) as Field[]));
  return parseRow(cells.split(','), 7, { layout, given, idPrefix: 'abc' });
}

function reason(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof RowError) return error.message;
    throw error;
  }
  throw new Error('not refused');
}

const bitstamp = (cells: string) =>
  row('timestamp,price,amount', cells, formats.bitstamp, { venue: 'bitstamp', symbol: 'BTC-USD' });

describe('a row', () => {
  test('of Bitstamp gets its id from file and line, its order from the line, and keeps its decimals', () => {
    expect(bitstamp('1385337600,800.010000000000,0.100000000000')).toEqual({
      line: 7,
      venue: 'bitstamp',
      symbol: 'BTC-USD',
      tradeId: 'abc-7',
      venueSequence: '7',
      price: '800.01000000',
      size: '0.10000000',
      side: 'unknown',
      executedAt: '2013-11-25T00:00:00.000000Z',
      conditions: null,
    });
  });

  test('with more than 8 decimals is refused, not rounded; zeros after the eighth are no decimals', () => {
    expect(reason(() => bitstamp('1385337600,800.123456781,1'))).toContain('more than 8 fraction digits');
    expect(bitstamp('1385337600,800.123456780000,1').price).toBe('800.12345678');
  });

  test('that does not fit numeric(20,8) is refused', () => {
    expect(bitstamp('1385337600,999999999999.99999999,1').price).toBe('999999999999.99999999');
    expect(reason(() => bitstamp('1385337600,1000000000000,1'))).toContain('more than 12 digits');
    expect(reason(() => bitstamp('1385337600,1e300,1'))).toContain('more than 12 digits');
  });

  test.each(['', 'NaN', 'Infinity', '0x10', '1,5', '1 000', '--1', '.', 'ten'])(
    'with the price %j is refused',
    (price) => {
      expect(reason(() => bitstamp(`1385337600,${price},1`))).toMatch(/price|columns/);
    },
  );

  test('with an exponent is read exactly', () => {
    expect(bitstamp('1385337600,1e-8,2.5E3')).toMatchObject({ price: '0.00000001', size: '2500.00000000' });
  });

  test('of size zero is loaded, as venues report such trades; a negative size is refused', () => {
    expect(bitstamp('1385337600,1,0').size).toBe('0.00000000');
    expect(reason(() => bitstamp('1385337600,1,-1'))).toContain('negative');
  });

  test('with a missing or an extra column is refused', () => {
    expect(reason(() => bitstamp('1385337600,1'))).toBe('2 columns instead of 3');
    expect(reason(() => bitstamp('1385337600,1,2,3'))).toBe('4 columns instead of 3');
  });

  test('keeps every decimal of 20 digits exactly', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(10n ** 20n) + 1n, max: 10n ** 20n - 1n }), (units) => {
        const text = formatDecimal(units, 8);
        expect(bitstamp(`1385337600,${text},1`).price).toBe(text);
      }),
    );
  });
});

describe('the time of a row', () => {
  const at = (text: string) => row('venue,symbol,time,price,size', `v,s,${text},1,1`).executedAt;

  test.each([
    ['1385337600', '2013-11-25T00:00:00.000000Z'],
    ['1385337600.123456', '2013-11-25T00:00:00.123456Z'],
    ['1385337600123', '2013-11-25T00:00:00.123000Z'],
    ['1385337600123456', '2013-11-25T00:00:00.123456Z'],
    ['1385337600123456000', '2013-11-25T00:00:00.123456Z'],
    ['2013-11-25T00:00:00.123456Z', '2013-11-25T00:00:00.123456Z'],
    ['2013-11-25 00:00:00.123456', '2013-11-25T00:00:00.123456Z'],
    ['2013-11-25 00:00:00 UTC', '2013-11-25T00:00:00.000000Z'],
    ['2013-11-25 01:00:00+01', '2013-11-25T00:00:00.000000Z'],
    ['-86400', '1969-12-31T00:00:00.000000Z'],
  ])('%s is %s', (text, iso) => {
    expect(at(text)).toBe(iso);
  });

  test.each([
    '',
    '2013-11-25',
    '2013-02-30T00:00:00Z',
    '1385337600123456789',
    '1385337600.1234567',
    '999999999999999999000',
    'now',
  ])('%j is refused', (text) => {
    expect(reason(() => at(text))).toContain('executed_at');
  });
});

describe('text of a row', () => {
  const symbol = (text: string) => row('venue,symbol,time,price,size', `v,${text},1385337600,1,1`).symbol;

  test('may be any Unicode, and is trimmed', () => {
    expect(symbol(' ΑΒΓ/€-😀 ')).toBe('ΑΒΓ/€-😀');
  });

  test.each(['', '   ', 'a\u0000b', 'a\u001fb', 'x'.repeat(201), '\ud800'])('%j is refused', (text) => {
    expect(reason(() => symbol(text))).toContain('symbol');
  });
});

describe('side and sequence', () => {
  test.each([
    ['BUY', 'buy'],
    ['s', 'sell'],
    ['', 'unknown'],
  ])('side %j is %s', (text, side) => {
    expect(row('venue,symbol,time,price,size,side', `v,s,1385337600,1,1,${text}`).side).toBe(side);
  });

  test('is_buyer_maker says that the other side took', () => {
    const header = 'id,price,qty,quote_qty,time,is_buyer_maker';
    const given = { venue: 'binance', symbol: 'BTCUSDT' };
    expect(row(header, '1,2,3,6,1385337600123,True', formats.binance, given)).toMatchObject({
      side: 'sell',
      tradeId: '1',
    });
    expect(row(header, '1,2,3,6,1385337600123,false', formats.binance, given).side).toBe('buy');
  });

  test('an unknown side, and a sequence beyond 64 bits, are refused', () => {
    expect(reason(() => row('venue,symbol,time,price,size,side', 'v,s,1385337600,1,1,both'))).toContain('side');
    expect(reason(() => row('venue,symbol,time,price,size,seq', 'v,s,1385337600,1,1,9223372036854775808'))).toContain(
      '64 bits',
    );
  });
});

describe('columns', () => {
  const refusal = (header: string, given: Partial<Record<Field, string>> = {}, format: Format = formats.auto) => {
    try {
      layoutOf(format, header.split(','), new Set(Object.keys(given) as Field[]));
    } catch (error) {
      return (error as Error).message;
    }
    throw new Error('not refused');
  };

  test('are found by their common names in any case and order', () => {
    expect(row('Amount,PRICE,Timestamp,Pair,Exchange', '1,2,1385337600,s,v')).toMatchObject({
      price: '2.00000000',
      symbol: 's',
    });
  });

  test('that are missing, there twice, or also given are refused with what the file has', () => {
    expect(refusal('time,price', { venue: 'v', symbol: 's' })).toContain('no column for size');
    expect(refusal('time,price,size', { venue: 'v' })).toContain('no --symbol');
    expect(refusal('time,price,price,size', { venue: 'v', symbol: 's' })).toContain('twice');
    expect(refusal('time,price,size,symbol', { venue: 'v', symbol: 's' })).toContain('--symbol is given too');
    expect(refusal('a,b,c')).toContain('a, b, c');
  });

  test('of a format without a header line are known by position', () => {
    const given = { venue: 'kraken', symbol: 's' };
    const layout = layoutOf(formats.kraken, ['1385337600', '800.1', '2'], new Set(Object.keys(given) as Field[]));
    expect(layout.headed).toBe(false);
    expect(parseRow(['1385337600', '800.1', '2'], 1, { layout, given, idPrefix: 'f' }).price).toBe('800.10000000');
  });
});
