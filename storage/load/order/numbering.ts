/** Trade ids for files without ids, and sequences that keep the file's order among trades of one time. */
import { hash } from 'node:crypto';
import type { ParsedRow, TradeRow } from '../rows/row.ts';
import { symbolId } from './survey.ts';

/** Rows of a symbol with one time. */
interface Instant {
  /** Number of rows by content. */
  readonly counts: Map<string, number>;
  lastId: string;
  lastSequence: bigint | null;
}

interface Known {
  greatest: number;
  readonly instants: Map<number, Instant>;
}

/**
 * Numbers rows. A computed id is a hash of venue, symbol, time, price and size, and of the count of that content so far. So it does not
 * depend on the file: an appended, cut or reordered file gives its trades the same ids. Side and conditions are not hashed: the same trade
 * loaded with another side is reported as different, and not loaded twice.
 *
 * Candles order trades of one time by sequence (none first), then by the bytes of the id. A file without sequences has this order in its
 * lines. A row gets a sequence, counted from 1, only where the ids would reverse the order of two rows of one time.
 *
 * Memory: each symbol's rows within `windowMs` before its greatest time. Computed ids are exact as long as no row is older than that.
 */
export class Numbering {
  readonly #symbols = new Map<string, Known>();
  readonly #windowMs: number;
  readonly #sequenced: boolean;

  /** @param sequenced the file has a column of sequences */
  constructor(windowMs: number, sequenced: boolean) {
    this.#windowMs = windowMs;
    this.#sequenced = sequenced;
  }

  /** Number of times in memory. */
  get instants(): number {
    let sum = 0;
    for (const { instants } of this.#symbols.values()) sum += instants.size;
    return sum;
  }

  number(row: ParsedRow): TradeRow {
    if (this.#sequenced && row.tradeId !== null) return row as TradeRow;
    const instant = this.#instant(row);
    const tradeId = row.tradeId ?? madeId(row, instant.counts);
    const venueSequence = this.#sequenced ? row.venueSequence : placed(instant, tradeId);
    return { ...row, tradeId, venueSequence };
  }

  #instant(row: ParsedRow): Instant {
    const { executedAt, millis: at } = row;
    const key = symbolId(row);
    let known = this.#symbols.get(key);
    if (known === undefined) {
      known = { greatest: at, instants: new Map() };
      this.#symbols.set(key, known);
    }
    const { instants } = known;
    const micros = at * 1000 + Number(executedAt.slice(-4, -1));
    const found = instants.get(micros);
    if (found !== undefined) return found;
    if (at > known.greatest) {
      known.greatest = at;
      for (const old of instants.keys()) {
        if (old >= (at - this.#windowMs) * 1000) break;
        instants.delete(old);
      }
    }
    const made: Instant = { counts: new Map(), lastId: '', lastSequence: null };
    instants.set(micros, made);
    return made;
  }
}

function madeId({ venue, symbol, executedAt, price, size }: ParsedRow, counts: Map<string, number>): string {
  // 96 bits: a collision is not expected.
  const content = hash('sha256', [venue, symbol, executedAt, price, size].join('\u001f'), 'hex').slice(0, 24);
  const count = (counts.get(content) ?? 0) + 1;
  counts.set(content, count);
  return `${content}-${count}`;
}

function placed(instant: Instant, tradeId: string): string | null {
  if (Buffer.compare(Buffer.from(tradeId), Buffer.from(instant.lastId)) < 0)
    instant.lastSequence = (instant.lastSequence ?? 0n) + 1n;
  instant.lastId = tradeId;
  return instant.lastSequence === null ? null : instant.lastSequence.toString();
}
