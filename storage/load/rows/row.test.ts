import { describe, expect, test } from '@jest/globals';
import { formatDecimal } from '../../../core/values/decimal.ts';
import fc from '../../../test/support/property.ts';
import type { Field, FormatName } from './formats.ts';
import { layoutOf } from './layout.ts';
import { type ParsedRow, parseRow, RowError } from './row.ts';

type Given = Partial<Record<Field, string>>;

function row(header: string, cells: string, format: FormatName = 'auto', given: Given = {}): ParsedRow {
  const layout = layoutOf(header.split(','), { format, given });
  return parseRow(cells.split(','), 7, { layout, given });
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
  row('timestamp,price,amount', cells, 'bitstamp', { venue: 'bitstamp', symbol: 'BTC-USD' });

describe('a row', () => {
  test('of Bitstamp has no id and no sequence, and keeps its decimals', () => {
    expect(bitstamp('1385337600,800.010000000000,0.100000000000')).toEqual({
      line: 7,
      venue: 'bitstamp',
      symbol: 'BTC-USD',
      tradeId: null,
      venueSequence: null,
      price: '800.01000000',
      size: '0.10000000',
      side: 'unknown',
      executedAt: '2013-11-25T00:00:00.000000Z',
      millis: 1_385_337_600_000,
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
    ['2024-01-01D00:00:01.000000000', '2024-01-01T00:00:01.000000Z'],
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
    expect(row(header, '1,2,3,6,1385337600123,True', 'binance', given)).toMatchObject({
      side: 'sell',
      tradeId: '1',
    });
    expect(row(header, '1,2,3,6,1385337600123,false', 'binance', given).side).toBe('buy');
  });

  test('an unknown side, and a sequence beyond 64 bits, are refused', () => {
    expect(reason(() => row('venue,symbol,time,price,size,side', 'v,s,1385337600,1,1,both'))).toContain('side');
    expect(reason(() => row('venue,symbol,time,price,size,seq', 'v,s,1385337600,1,1,9223372036854775808'))).toContain(
      '64 bits',
    );
  });
});

describe('the side', () => {
  const given = { venue: 'v', symbol: 's' };
  const sideOf = (
    header: string,
    cells: string,
    side?: 'maker' | 'taker',
    format: FormatName = 'auto',
    venue = 'v',
  ) => {
    const layout = layoutOf(header.split(','), {
      format,
      given: { ...given, venue },
      ...(side === undefined ? {} : { side }),
    });
    return parseRow(cells.split(','), 2, { layout, given: { ...given, venue } }).side;
  };

  test.each([
    ['price,size,time,sell', '1,1,1385337600,true', 'sell'],
    ['price,size,time,sell', '1,1,1385337600,FALSE', 'buy'],
    ['price,size,time,taker_side_sell', '1,1,1385337600,true', 'sell'],
    ['price,size,time,isBuyerMaker', '1,1,1385337600,true', 'sell'],
    ['price,size,time,maker_side', '1,1,1385337600,buy', 'sell'],
    ['price,size,time,taker_side', '1,1,1385337600,buy', 'buy'],
    ['price,size,time,taker_side,side', '1,1,1385337600,buy,sell', 'buy'],
  ])("of %s, %s is the taker's: %s", (header, cells, side) => {
    expect(sideOf(header, cells)).toBe(side);
  });

  test("of Coinbase is the maker's, told by venue and columns or by the format", () => {
    const header = 'trade_id,side,size,price,time';
    const cells = '3,buy,0.01,370,2014-12-01T06:24:08.666679Z';
    expect(sideOf(header, cells, undefined, 'auto', 'coinbase')).toBe('sell');
    expect(sideOf(header, cells, undefined, 'coinbase', 'other')).toBe('sell');
    expect(sideOf(header, cells, 'taker', 'coinbase')).toBe('buy');
    expect(sideOf(header, cells)).toBe('buy');
  });

  test('is turned round by --side maker, which a column that tells whose side it is refuses', () => {
    expect(sideOf('price,size,time,side', '1,1,1385337600,sell', 'maker')).toBe('buy');
    expect(sideOf('price,size,time,side', '1,1,1385337600,', 'maker')).toBe('unknown');
    expect(() => sideOf('price,size,time,is_buyer_maker', '1,1,1385337600,true', 'maker')).toThrow('--side');
    expect(() => sideOf('price,size,time', '1,1,1385337600', 'maker')).toThrow('no column for side');
  });

  test('of Bitfinex is the sign of the amount, whose size is never negative', () => {
    const header = 'id,timestamp,amount,price';
    const of = (amount: string) =>
      row(header, `1,1600000000000,${amount},10000`, 'auto', { venue: 'bitfinex', symbol: 's' });
    expect(of('-0.5')).toMatchObject({ side: 'sell', size: '0.50000000' });
    expect(of('0.5')).toMatchObject({ side: 'buy', size: '0.50000000' });
    expect(of('0').side).toBe('unknown');
    expect(reason(() => row(header, '1,1600000000000,-0.5,1', 'auto', given))).toContain('--format bitfinex');
  });

  test('a flag that is neither true nor false is refused', () => {
    expect(reason(() => sideOf('price,size,time,sell', '1,1,1385337600,buy'))).toContain('neither true nor false');
  });
});

describe('a number with a comma', () => {
  test.each([
    ['1,213.50', 'thousands separators'],
    ['1213,50', 'a comma; decimals need a point'],
  ])('%s is refused for it', (price, fault) => {
    const layout = layoutOf(['time', 'price', 'size'], { given: { venue: 'v', symbol: 's' } });
    const work = () => parseRow(['1385337600', price, '1'], 2, { layout, given: { venue: 'v', symbol: 's' } });
    expect(reason(work)).toBe(`price "${price}" has ${fault}`);
    try {
      work();
    } catch (error) {
      expect((error as RowError).kind).toBe(`price has ${fault}`);
    }
  });
});

describe('columns', () => {
  const refusal = (header: string, given: Given = {}) => {
    try {
      layoutOf(header.split(','), { given });
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
    const layout = layoutOf(['1385337600', '800.1', '2'], { format: 'kraken', given });
    expect(layout.headed).toBe(false);
    expect(parseRow(['1385337600', '800.1', '2'], 1, { layout, given }).price).toBe('800.10000000');
  });
});
