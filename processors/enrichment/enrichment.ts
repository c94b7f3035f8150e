import { defineProcessor, type Processor } from '../../core/processor/define.ts';
import { CapturedTable } from '../../core/processor/joins/table.ts';
import { schemas } from '../../schemas/gen/index.ts';
import type { TradeChange } from '../../schemas/gen/trade_change.ts';
import { trades } from '../trade-change.ts';
import { EnrichmentFold } from './fold.ts';
import { instrumentStore, marksStore } from './state.ts';

/** Version in the provenance. Raise it when equal records would give another output. */
const VERSION = '1';

/**
 * Processor that joins trades with their instruments (stream–table join). Each applied change of a trade gives one record of
 * `market.trades`, with the instrument's row at that time, or null fields without one. A later change of an instrument does not change
 * published records.
 *
 * Changes that are not applied (duplicates, and rows of an incremental snapshot) go to `enrichment.late`.
 */
export function enrichment(): Processor<TradeChange> {
  return defineProcessor<TradeChange>({
    name: 'enrichment',
    version: VERSION,
    inputs: [trades],
    tables: [{ topic: 'cdc.public.instruments', keySchema: schemas.trade_key, schema: schemas.instrument_change }],
    outputs: [
      { topic: 'market.trades', keySchema: schemas.market_trade_key, valueSchema: schemas.market_trade },
      { topic: 'enrichment.late', keySchema: schemas.trade_key, valueSchema: schemas.late_trade },
    ],
    stores: [instrumentStore, CapturedTable.marks(marksStore)],
    create: (context) => new EnrichmentFold(context),
  });
}
