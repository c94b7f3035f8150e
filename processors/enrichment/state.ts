import type { StoreDefinition } from '../../core/processor/define.ts';
import type { InstrumentRow } from '../../schemas/gen/instrument_change.ts';

const size = { type: 'bytes', logicalType: 'decimal', precision: 20, scale: 8 } as const;

/** The instruments table as read so far. Key: JSON of [venue, symbol]. Value: `InstrumentRow`. One entry per row of the table. */
export const instrumentStore: StoreDefinition = {
  name: 'instruments',
  schema: {
    type: 'record',
    name: 'Instrument',
    namespace: 'millrace.enrichment',
    fields: [
      { name: 'venue', type: 'string' },
      { name: 'symbol', type: 'string' },
      { name: 'base', type: 'string' },
      { name: 'quote', type: 'string' },
      { name: 'tick_size', type: size },
      { name: 'lot_size', type: size },
      { name: 'active', type: 'boolean' },
    ],
  },
};

/** Name of the store with the read position in each partition of the table. */
export const marksStore = 'instrument-marks';

export function instrumentKey({ venue, symbol }: Pick<InstrumentRow, 'venue' | 'symbol'>): string {
  return JSON.stringify([venue, symbol]);
}
