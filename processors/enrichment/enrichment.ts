import { defineProcessor, type Processor } from '../../core/processor/define.ts';
import { CapturedTable } from '../../core/processor/joins/table.ts';
import { schemas } from '../../schemas/gen/index.ts';
import type { TradeChange } from '../../schemas/gen/trade_change.ts';
import { trades } from '../trade-change.ts';
import { EnrichmentFold } from './fold.ts';
import { instrumentStore, marksStore } from './state.ts';

/** Raised when the same records would give another output. */
const VERSION = '1';

/**
 * Trades with their instruments: a stream–table join. Every applied change of a trade is one record of `market.trades`, with the instrument's
 * row as the task has it then; without one, its fields are null. A later change of an instrument changes no record that is out already.
 *
 * Changes that are no news (delivered twice, or rows of an incremental snapshot) are in `enrichment.late`.
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
