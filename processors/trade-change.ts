import { MillraceError } from '../core/base/errors.ts';
import { wholeRow } from '../core/capture/captured-row.ts';
import type { Input } from '../core/processor/define.ts';
import { schemas } from '../schemas/gen/index.ts';
import type { TradeChange, TradeRow } from '../schemas/gen/trade_change.ts';

/** Input: changes of the trades table. */
export const trades: Input<TradeChange> = {
  topic: 'cdc.public.trades',
  schema: schemas.trade_change,
  kind: 'change',
  primaryKey: ['venue', 'symbol', 'trade_id'],
};

/** Rows of a change of one trade: the old row and the new row. */
export type TradeRows =
  | { readonly before: null; readonly after: TradeRow }
  | { readonly before: TradeRow; readonly after: TradeRow | null };

/** @throws MillraceError BAD_RECORD: the change is not of one trade, or is incomplete. */
export function rowsOf({ op, before, after }: TradeChange): TradeRows {
  switch (op) {
    // The stream begins with the rows of the first snapshot.
    case 'c':
    case 'r':
      return { before: null, after: presentRow(after, op) };
    case 'u':
      return { before: presentRow(before, op), after: presentRow(after, op) };
    case 'd':
      return { before: presentRow(before, op), after: null };
    default:
      throw unknownOperation(op);
  }
}

/** The row that a change with this operation must have. @throws MillraceError BAD_RECORD */
export function presentRow(row: TradeRow | null, op: string): TradeRow {
  if (row !== null) return wholeRow(row, op);
  throw new MillraceError('BAD_RECORD', `a change without its row: op ${JSON.stringify(op)}`, {
    remedy: 'The table needs REPLICA IDENTITY FULL.',
  });
}

/** Error for a change that is not of one trade. */
export function unknownOperation(op: string): MillraceError {
  if (op !== 't') return new MillraceError('BAD_RECORD', `a change of an unknown kind: op ${JSON.stringify(op)}`);
  return new MillraceError('BAD_RECORD', 'the trades table was truncated: that names no trade', {
    remedy: 'Delete rows instead of truncating, or rebuild what is made of trades from the table.',
  });
}
