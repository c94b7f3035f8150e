import type { StoreDefinition } from '../../core/processor/define.ts';

/**
 * The processor's state in the changelog. Times and counts are Avro doubles: they are numbers in memory, exact to 2^53, and need no
 * conversion. Prices and sizes are never numbers.
 */
const price = { type: 'bytes', logicalType: 'decimal', precision: 20, scale: 8 } as const;
const sequence = ['null', 'long'] as const;

/** Avro schema of an `Accumulator`. */
export const accumulatorSchema = {
  type: 'record',
  name: 'Accumulator',
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
  ],
};

/**
 * Version in the candles for a trade whose last change was refused, or not applied because no candle had the trade. It differs from the row
 * in Postgres. Null: no version.
 */
export interface HeldEntry {
  readonly trade: HeldTrade | null;
}

export interface HeldTrade {
  readonly sequence: bigint | null;
  readonly price: bigint;
  readonly size: bigint;
  readonly side: string;
  readonly time: number;
}

/** Store of `HeldEntry`. Key: JSON of [venue, symbol, trade id]. @param ttlMs time until the trade's windows are frozen */
export function heldStore(ttlMs: number): StoreDefinition {
  return {
    name: 'held',
    ttlMs,
    schema: {
      type: 'record',
      name: 'Held',
      namespace: 'millrace.ohlcv',
      fields: [
        {
          name: 'trade',
          type: [
            'null',
            {
              type: 'record',
              name: 'HeldTrade',
              fields: [
                { name: 'sequence', type: sequence },
                { name: 'price', type: price },
                { name: 'size', type: price },
                { name: 'side', type: 'string' },
                { name: 'time', type: 'double' },
              ],
            },
          ],
        },
      ],
    },
  };
}
