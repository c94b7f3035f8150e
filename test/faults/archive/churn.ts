/** Trades that are inserted, updated and deleted at random, in transactions of mixed sizes, and what they come to in the end. */
import { seeded } from '../harness/load.ts';

export interface ChurnOptions {
  readonly seed: number;
  /** Rows inserted, updated and deleted, all together. */
  readonly changes: number;
  readonly symbols: number;
  /** Event time of the first trade, microseconds. */
  readonly start: bigint;
  /** Event time from the first trade to the last one, microseconds, about. */
  readonly span: bigint;
}

export type ChangeKind = 'insert' | 'update' | 'delete';

export interface ChurnTrade {
  readonly symbol: string;
  /** Unique in one churn. A deleted trade may come back with its number. */
  readonly number: number;
  /** In hundredths. */
  readonly price: number;
  /** In millionths. */
  readonly size: number;
  /** Event time, microseconds: of one number always the same. */
  readonly at: bigint;
}

/** Rows of one statement: no trade is in it twice. */
export interface Statement {
  readonly kind: ChangeKind;
  readonly trades: readonly ChurnTrade[];
}

/** What is left of a symbol's trades. */
export interface Holding {
  readonly rows: number;
  /** Sum of prices, hundredths. */
  readonly price: bigint;
  /** Sum of sizes, millionths. */
  readonly size: bigint;
}

/** Share of the changes. What there is nothing left for becomes an insert. */
const updates = 0.25;
const deletes = 0.15;
/** Of the inserts those that bring a deleted trade back, and of the others those whose trade was one of the last. */
const again = 0.05;
const recent = 0.15;
const recentTrades = 500;
/** Of the inserted and updated trades those of a volume that rules notice. */
const spikes = 0.002;
const largestTransaction = 4_000;
const largestStatement = 800;

/**
 * Repeatable: the same options give the same transactions. It holds what they come to, as if each was committed in its order; a few bytes per
 * trade.
 */
export class Churn {
  readonly #options: ChurnOptions;
  readonly #random: () => number;
  readonly #step: bigint;
  /** By number; a size of 0 is a trade that was deleted. */
  readonly #prices: Int32Array;
  readonly #sizes: Int32Array;
  /** Numbers of the trades that are there, and where each of them is in the list. */
  readonly #live: number[] = [];
  readonly #places: Int32Array;
  readonly #gone: number[] = [];
  #inserted = 0;
  #left: number;

  constructor(options: ChurnOptions) {
    this.#options = options;
    this.#random = seeded(options.seed);
    this.#left = options.changes;
    const most = options.changes + 1;
    [this.#prices, this.#sizes, this.#places] = [new Int32Array(most), new Int32Array(most), new Int32Array(most)];
    const inserts = Math.max(1, Math.round(options.changes * (1 - updates - deletes)));
    this.#step = options.span / BigInt(inserts);
  }

  /** The statements of the next transaction; undefined when all changes were made. */
  next(): readonly Statement[] | undefined {
    if (this.#left === 0) return undefined;
    let rows = Math.min(this.#left, this.#length());
    this.#left -= rows;
    const statements: Statement[] = [];
    while (rows > 0) {
      const most = Math.min(rows, 1 + Math.floor(this.#random() * largestStatement));
      const statement = this.#statement(most);
      statements.push(statement);
      rows -= statement.trades.length;
    }
    return statements;
  }

  /** By symbol, of those that have a trade. */
  holdings(): ReadonlyMap<string, Holding> {
    const found = new Map<string, Holding>();
    for (const number of this.#live) {
      const { symbol, price, size } = this.#trade(number);
      const { rows, ...sums } = found.get(symbol) ?? { rows: 0, price: 0n, size: 0n };
      found.set(symbol, { rows: rows + 1, price: sums.price + BigInt(price), size: sums.size + BigInt(size) });
    }
    return found;
  }

  /** Many are small, and a few make most of the rows. */
  #length(): number {
    const kind = this.#random();
    const most = kind < 0.4 ? 10 : kind < 0.8 ? 500 : largestTransaction;
    return 1 + Math.floor(this.#random() * most);
  }

  #statement(most: number): Statement {
    const chance = this.#random();
    const kind = chance < deletes ? 'delete' : chance < deletes + updates ? 'update' : 'insert';
    if (kind === 'insert' || this.#live.length === 0) return this.#insert(most);
    const chosen = new Set<number>();
    for (let i = 0; i < most; i++) chosen.add(this.#choose());
    return kind === 'update' ? this.#update(chosen) : this.#delete(chosen);
  }

  #insert(count: number): Statement {
    const trades: ChurnTrade[] = [];
    for (let i = 0; i < count; i++) {
      const back = this.#random() < again ? this.#gone.pop() : undefined;
      const number = back ?? ++this.#inserted;
      this.#prices[number] = 10_000 + this.#symbol(number) * 1_000 + Math.floor(this.#random() * 400);
      this.#sizes[number] = this.#size();
      this.#places[number] = this.#live.push(number) - 1;
      trades.push(this.#trade(number));
    }
    return { kind: 'insert', trades };
  }

  #update(numbers: ReadonlySet<number>): Statement {
    for (const number of numbers) {
      this.#prices[number] = Math.max(1, (this.#prices[number] ?? 0) + Math.floor((this.#random() - 0.5) * 40));
      this.#sizes[number] = this.#size();
    }
    return { kind: 'update', trades: [...numbers].map((number) => this.#trade(number)) };
  }

  #delete(numbers: ReadonlySet<number>): Statement {
    const trades = [...numbers].map((number) => this.#trade(number));
    for (const number of numbers) {
      const place = this.#places[number] ?? 0;
      const last = this.#live.pop() ?? number;
      if (last !== number) {
        this.#live[place] = last;
        this.#places[last] = place;
      }
      this.#gone.push(number);
    }
    return { kind: 'delete', trades };
  }

  #choose(): number {
    const count = this.#live.length;
    const from = this.#random() < recent ? Math.max(0, count - recentTrades) : 0;
    return this.#live[from + Math.floor(this.#random() * (count - from))] ?? 0;
  }

  #size(): number {
    return 1 + Math.floor(this.#random() * 1_000_000) * (this.#random() < spikes ? 200 : 1);
  }

  #symbol(number: number): number {
    return (Math.imul(number, 2_654_435_761) >>> 0) % this.#options.symbols;
  }

  #trade(number: number): ChurnTrade {
    const { start } = this.#options;
    return {
      symbol: `SYM${String(this.#symbol(number)).padStart(3, '0')}-USD`,
      number,
      price: this.#prices[number] ?? 0,
      size: this.#sizes[number] ?? 0,
      at: start + BigInt(number) * this.#step,
    };
  }
}
