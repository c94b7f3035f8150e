import type { Candle } from '../../schemas/gen/candle.ts';

/** A closed candle of three trades. */
export function candle(symbol: string): Candle {
  return {
    venue: 'v',
    symbol,
    interval: '1m',
    window_start: 0n,
    window_end: 60_000_000n,
    open: 1n,
    high: 1n,
    low: 1n,
    close: 1n,
    vwap: 1n,
    volume: 1n,
    notional: 1n,
    trade_count: 3n,
    first_trade_id: 'a',
    last_trade_id: 'c',
    open_time: 0n,
    high_time: 0n,
    low_time: 0n,
    close_time: 0n,
    status: 'CLOSED',
    revision: 1,
    reason: 'WATERMARK',
    provenance: null,
  };
}
