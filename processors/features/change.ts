import type { TradeChange, TradeRow } from '../../schemas/gen/trade_change.ts';
import { readTrade, type Trade } from '../trade.ts';
import { presentRow, unknownOperation } from '../trade-change.ts';

/** A change of a trade, read: what it takes back, what it brings. */
export interface Change {
  readonly before: Trade | null;
  readonly after: Trade | null;
}

/** @throws MillraceError BAD_RECORD for a change that is not of one trade. */
export function readChange({ op, before, after }: TradeChange): Change {
  switch (op) {
    // Rows of the first snapshot are where the stream begins.
    case 'c':
    case 'r':
      return { before: null, after: present(after, op) };
    case 'u':
      return { before: present(before, op), after: present(after, op) };
    case 'd':
      return { before: present(before, op), after: null };
    default:
      throw unknownOperation(op);
  }
}

function present(row: TradeRow | null, op: string): Trade {
  return readTrade(presentRow(row, op));
}
