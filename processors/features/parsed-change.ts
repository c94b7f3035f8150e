import type { TradeChange } from '../../schemas/gen/trade_change.ts';
import { readTrade, type Trade } from '../trade.ts';
import { rowsOf } from '../trade-change.ts';

/** A parsed change of a trade: the version that it removes and the version that it adds. */
export interface ParsedChange {
  readonly before: Trade | null;
  readonly after: Trade | null;
}

/** @throws MillraceError BAD_RECORD: the change is not of one trade. */
export function readChange(change: TradeChange): ParsedChange {
  const { before, after } = rowsOf(change);
  return { before: before === null ? null : readTrade(before), after: after === null ? null : readTrade(after) };
}
