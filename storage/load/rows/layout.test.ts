import { describe, expect, test } from '@jest/globals';
import { type LayoutOptions, layoutOf } from './layout.ts';

const given = { venue: 'v', symbol: 's' };

function of(first: string, options: LayoutOptions = { given }) {
  return layoutOf(first.split(','), options);
}

function refusal(first: string, options: LayoutOptions = { given }): { message: string; remedy: string } {
  try {
    of(first, options);
  } catch (error) {
    return error as { message: string; remedy: string };
  }
  throw new Error('not refused');
}

describe('the format', () => {
  test.each([
    ['id,price,qty,quote_qty,time,is_buyer_maker', 'v', 'binance', true],
    ['1715206948,29223.0,0.01,292.23,1682899200101,false', 'v', 'binance', false],
    ['1715206948,29223.0,0.01,292.23,1682899200101,False,True', 'v', 'binance', false],
    ['agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker', 'v', 'binance-agg', true],
    ['26129,0.01633102,4.70443515,27781,27781,1498793709153,True,True', 'v', 'binance-agg', false],
    ['id,timestamp,amount,price', 'bitfinex', 'bitfinex', true],
    ['id,timestamp,amount,price', 'v', 'auto', true],
    ['id,timestamp,amount,price,side', 'bitfinex', 'auto', true],
    ['trade_id,side,size,price,time', 'Coinbase', 'coinbase', true],
    ['trade_id,side,size,price,time', 'v', 'auto', true],
    ['timestamp,price,amount', 'v', 'auto', true],
  ])('of %j at the venue %s is %s', (first, venue, format, headed) => {
    expect(of(first, { given: { venue, symbol: 's' } })).toMatchObject({ format, headed });
  });

  test.each([
    ['timestamp,symbol,side,size,price,tickDirection,trdMatchID', 'bybit', 'bybit'],
    ['timestamp,symbol,side,size,price,tickDirection,trdMatchID', 'bitmex', 'bitmex'],
    ['timestamp,symbol,side,size,price,tickDirection,trdMatchID', 'v', 'auto'],
  ])('of a file of many symbols, %j at the venue %s, is %s; trdMatchID is the id', (first, venue, format) => {
    const layout = of(first, { given: { venue } });
    expect(layout).toMatchObject({ format, at: { trade_id: 6 } });
  });

  test('of Kaiko is told by its header, with the side in the column sell', () => {
    expect(of('id,exchange,symbol,date,price,amount,sell', {})).toMatchObject({
      format: 'kaiko',
      side: 'flag',
      turned: false,
    });
  });

  test('that was given and is another one is refused with the right one', () => {
    expect(
      refusal('26129,0.01633102,4.7,27781,27781,1498793709153,True,True', { format: 'binance', given }),
    ).toMatchObject({ message: expect.stringContaining('those of binance-agg'), remedy: 'Give --format binance-agg.' });
    const agg = 'agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker';
    expect(refusal(agg, { format: 'binance', given }).remedy).toContain('--format binance-agg');
  });
});

describe('columns', () => {
  test('are all told, with what they are used for or why they are ignored', () => {
    const { columns } = of('Trade ID,side,taker_side,size,price,time,note');
    expect(columns).toEqual([
      { name: 'Trade ID', field: 'trade_id' },
      { name: 'side', note: 'taker_side is taken for side' },
      { name: 'taker_side', field: 'side', note: "the taker's" },
      { name: 'size', field: 'size' },
      { name: 'price', field: 'price' },
      { name: 'time', field: 'executed_at' },
      { name: 'note', note: 'no known meaning' },
    ]);
  });

  test('between other characters, or without a header, are refused with the remedy', () => {
    expect(refusal('timestamp;price;amount').remedy).toBe("Give --delimiter ';'.");
    expect(refusal('timestamp\tprice\tamount').remedy).toBe("Give --delimiter '\\t'.");
    expect(refusal('1385337600,800.1,2').remedy).toContain('no header');
  });
});
