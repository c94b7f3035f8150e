import { wholeRow } from '../core/captured-row.ts';
import { MillraceError } from '../core/errors.ts';
import type { Input } from '../core/processor/define.ts';
import { schemas } from '../schemas/gen/index.ts';
import type { TradeChange, TradeRow } from '../schemas/gen/trade_change.ts';

/** The changes of the table of trades. */
export const trades: Input<TradeChange> = {
  topic: 'cdc.public.trades',
  schema: schemas.trade_change,
  kind: 'change',
  primaryKey: ['venue', 'symbol', 'trade_id'],
};

/** The row that a change of this operation has to have. @throws MillraceError BAD_RECORD */
export function presentRow(row: TradeRow | null, op: string): TradeRow {
  if (row !== null) return wholeRow(row, op);
  throw new MillraceError('BAD_RECORD', `a change without its row: op ${JSON.stringify(op)}`, {
    remedy: 'The table needs REPLICA IDENTITY FULL.',
  });
}

/** Of a change that is not of one trade. */
export function unknownOperation(op: string): MillraceError {
  if (op !== 't') return new MillraceError('BAD_RECORD', `a change of an unknown kind: op ${JSON.stringify(op)}`);
  return new MillraceError('BAD_RECORD', 'the trades table was truncated: that names no trade', {
    remedy: 'Delete rows instead of truncating, or rebuild what is made of trades from the table.',
  });
}
