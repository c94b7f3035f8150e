import type { StoreDefinition } from '../../core/processor/define.ts';

/**
 * The processor's state, as the changelog keeps it. Times and counts are Avro doubles: they are numbers in memory, exact to 2^53, and
 * need no conversion. Prices, sizes, offsets and LSNs are not numbers anywhere.
 */
const price = { type: 'bytes', logicalType: 'decimal', precision: 20, scale: 8 } as const;
const sequence = ['null', 'long'] as const;

/** Open windows. Key: JSON of [venue, symbol, interval, start in microseconds]. Value: `Accumulator`. */
export const windowStore: StoreDefinition = {
  name: 'windows',
  schema: {
    type: 'record',
    name: 'OpenWindow',
    namespace: 'millrace.ohlcv',
    fields: [
      { name: 'open', type: price },
      { name: 'open_time', type: 'double' },
      { name: 'open_sequence', type: sequence },
      { name: 'open_id', type: 'string' },
      { name: 'high', type: price },
      { name: 'high_time', type: 'double' },
      { name: 'low', type: price },
      { name: 'low_time', type: 'double' },
      { name: 'close', type: price },
      { name: 'close_time', type: 'double' },
      { name: 'close_sequence', type: sequence },
      { name: 'close_id', type: 'string' },
      { name: 'volume', type: { type: 'bytes', logicalType: 'decimal', precision: 38, scale: 8 } },
      { name: 'notional', type: { type: 'bytes', logicalType: 'decimal', precision: 38, scale: 16 } },
      { name: 'trade_count', type: 'double' },
      { name: 'from_offset', type: 'long' },
      { name: 'to_offset', type: 'long' },
      { name: 'from_lsn', type: 'long' },
      { name: 'to_lsn', type: 'long' },
      { name: 'revision', type: 'int' },
      { name: 'partial_due', type: 'double' },
    ],
  },
};

/** How far each symbol's event time has come. Key: JSON of [venue, symbol]. Value: `Progress`. Never deleted: one small entry each. */
export const symbolStore: StoreDefinition = {
  name: 'symbols',
  schema: {
    type: 'record',
    name: 'Progress',
    namespace: 'millrace.ohlcv',
    fields: [
      { name: 'max_event', type: 'double' },
      { name: 'max_log', type: 'double' },
      { name: 'floor', type: 'double' },
      { name: 'lateness', type: 'double' },
    ],
  },
};

export function symbolKey(venue: string, symbol: string): string {
  return JSON.stringify([venue, symbol]);
}

export function windowKey(venue: string, symbol: string, interval: string, start: number): string {
  return JSON.stringify([venue, symbol, interval, start]);
}

export function readSymbolKey(key: string): [venue: string, symbol: string] {
  return JSON.parse(key) as [string, string];
}

export function readWindowKey(key: string): [venue: string, symbol: string, interval: string, start: number] {
  return JSON.parse(key) as [string, string, string, number];
}
