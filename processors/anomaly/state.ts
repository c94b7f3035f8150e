import type { StoreDefinition } from '../../core/processor/define.ts';
import type { Candle } from '../../schemas/gen/candle.ts';
import type { Earlier } from './volume-spike.ts';

/** The newest candles of one venue, symbol and interval, oldest first. As many as the lookback. */
export interface Baseline {
  readonly candles: readonly Earlier[];
}

/** Key: JSON of [venue, symbol, interval]. Never deleted: one entry each. */
export const baselineStore: StoreDefinition = {
  name: 'baselines',
  schema: {
    type: 'record',
    name: 'Baseline',
    namespace: 'millrace.anomaly',
    fields: [
      {
        name: 'candles',
        type: {
          type: 'array',
          items: {
            type: 'record',
            name: 'Earlier',
            fields: [
              { name: 'window_start', type: 'long' },
              { name: 'volume', type: { type: 'bytes', logicalType: 'decimal', precision: 38, scale: 8 } },
            ],
          },
        },
      },
    ],
  },
};

export function baselineKey({ venue, symbol, interval }: Candle): string {
  return JSON.stringify([venue, symbol, interval]);
}
