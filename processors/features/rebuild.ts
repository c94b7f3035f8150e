import type { InputRecord } from '../../core/processor/define.ts';
import type { TradeChange } from '../../schemas/gen/trade_change.ts';
import type { Trade } from '../trade.ts';
import { readChange } from './change.ts';

/** Which trades a second reading is about. */
export interface Sought {
  readonly venue: string;
  readonly symbol: string;
  /** Half open, microseconds. */
  readonly from: number;
  readonly to: number;
  /** Whether a trade was taken by the fold, by its event time and the record's log time. */
  readonly taken: (trade: Trade, logTime: bigint) => boolean;
}

/**
 * Finds the trades of one bar by reading the input again: of each trade the newest version, by LSN, that is in the bar. So changes that were
 * delivered twice do no harm, wherever the reading ends.
 */
export class Rebuild {
  readonly #sought: Sought;
  readonly #trades = new Map<string, Trade>();
  readonly #newest = new Map<string, bigint>();

  constructor(sought: Sought) {
    this.#sought = sought;
  }

  visit(record: InputRecord<TradeChange>): void {
    const { venue, symbol, from, to, taken } = this.#sought;
    const { before, after } = readChange(record.value);
    const trade = after ?? before;
    if (trade === null || trade.venue !== venue || trade.symbol !== symbol) return;
    const newest = this.#newest.get(trade.id);
    if (record.lsn !== null) {
      if (newest !== undefined && record.lsn < newest) return;
      // A row that a snapshot has read has the LSN of its slot, and changes of transactions that were open there have lower ones.
      this.#newest.set(trade.id, record.value.op === 'r' ? 0n : record.lsn);
    }
    const inside = after !== null && after.time >= from && after.time < to && taken(after, record.logTime);
    if (inside) this.#trades.set(trade.id, after);
    else this.#trades.delete(trade.id);
  }

  /** Without the trade that is being corrected. */
  tradesWithout(id: string): readonly Trade[] {
    this.#trades.delete(id);
    return [...this.#trades.values()];
  }
}
