/** Churns written to Postgres, each by a session of its own, and what Postgres then says they come to. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from 'pg';
import { connectPostgres } from '../../../core/base/postgres.ts';
import { formatDecimal, PRICE_SCALE } from '../../../core/values/decimal.ts';
import { formatTimestamp } from '../../../core/values/time.ts';
import { seeded } from '../harness/load.ts';
import { type ChangeKind, Churn, type ChurnOptions, type Holding, type Statement } from './churn.ts';

export interface SessionsOptions extends ChurnOptions {
  readonly url: string;
  /** Transactions of different sessions overlap. Each has its own trades. */
  readonly sessions: number;
  /** No transaction begins while it says so. */
  readonly hold?: () => boolean;
  /** Ends the load early, after the transactions that are under way. */
  readonly signal: AbortSignal;
}

export type Counts = Readonly<Record<ChangeKind | 'transactions', number>>;

const holdMs = 200;
/** Of the transactions those that stay open for a while. */
const slow = 0.1;

export class Sessions {
  readonly #options: SessionsOptions;
  readonly #churns: readonly { readonly venue: string; readonly churn: Churn }[];
  readonly #counts = { insert: 0, update: 0, delete: 0, transactions: 0 };

  constructor(options: SessionsOptions) {
    const { seed, changes, sessions } = options;
    this.#options = options;
    this.#churns = Array.from({ length: sessions }, (_, i) => ({
      venue: venueOf(i),
      churn: new Churn({ ...options, seed: seed + i, changes: shareOf(changes, sessions, i) }),
    }));
  }

  /** What was committed. */
  get counts(): Counts {
    return { ...this.#counts };
  }

  get changes(): number {
    const { insert, update, delete: deleted } = this.#counts;
    return insert + update + deleted;
  }

  /** Until all changes are committed, or the signal. A statement that meets other rows than it should is an error. */
  async run(): Promise<void> {
    await Promise.all(this.#churns.map(({ venue, churn }, i) => this.#session(venue, churn, i)));
  }

  /** By venue and symbol. */
  holdings(): ReadonlyMap<string, Holding> {
    return new Map(
      this.#churns.flatMap(({ venue, churn }) =>
        [...churn.holdings()].map(([symbol, holding]) => [`${venue} ${symbol}`, holding] as const),
      ),
    );
  }

  async #session(venue: string, churn: Churn, index: number): Promise<void> {
    const { url, seed, signal, hold = () => false } = this.#options;
    const random = seeded(seed + 1_000 + index);
    const db = await connectPostgres({ url, name: 'churn' });
    try {
      while (!signal.aborted) {
        if (hold()) {
          await delay(holdMs);
          continue;
        }
        const statements = churn.next();
        if (statements === undefined) return;
        await db.query('BEGIN');
        for (const statement of statements) await carryOut(db, venue, statement);
        if (random() < slow) await delay(random() * 300);
        await db.query('COMMIT');
        this.#counts.transactions++;
        for (const { kind, trades } of statements) this.#counts[kind] += trades.length;
      }
    } finally {
      await db.end();
    }
  }
}

function venueOf(session: number): string {
  return `churn-${session}`;
}

function shareOf(changes: number, sessions: number, index: number): number {
  return Math.floor(changes / sessions) + (index < changes % sessions ? 1 : 0);
}

async function carryOut(db: Client, venue: string, { kind, trades }: Statement): Promise<void> {
  const symbols = trades.map(({ symbol }) => symbol);
  const ids = trades.map(({ number }) => `t${number}`);
  const prices = trades.map(({ price }) => `${price}e-2`);
  const sizes = trades.map(({ size }) => `${size}e-6`);
  const key = '(t.venue, t.symbol, t.trade_id) = ($1, u.symbol, u.trade_id)';
  const run = (): Promise<{ rowCount: number | null }> => {
    if (kind === 'delete') {
      const keys = 'unnest($2::text[], $3::text[]) AS u (symbol, trade_id)';
      return db.query(`DELETE FROM trades t USING ${keys} WHERE ${key}`, [venue, symbols, ids]);
    }
    if (kind === 'update') {
      const rows = 'unnest($2::text[], $3::text[], $4::numeric[], $5::numeric[]) AS u (symbol, trade_id, price, size)';
      return db.query(`UPDATE trades t SET price = u.price, size = u.size FROM ${rows} WHERE ${key}`, [
        venue,
        symbols,
        ids,
        prices,
        sizes,
      ]);
    }
    return db.query(
      `INSERT INTO trades (venue, symbol, trade_id, price, size, venue_sequence, executed_at)
       SELECT $1, * FROM unnest($2::text[], $3::text[], $4::numeric[], $5::numeric[], $6::bigint[], $7::timestamptz[])`,
      [
        ...[venue, symbols, ids, prices, sizes],
        trades.map(({ number }) => number),
        trades.map(({ at }) => formatTimestamp(at)),
      ],
    );
  };
  const { rowCount } = await run();
  if (rowCount !== trades.length) throw new Error(`${kind} of ${trades.length} trades met ${rowCount}`);
}

/**
 * An SQL query, of Postgres and DuckDB, for what there is of the sessions' trades: venue, symbol, rows, sum of prices, sum of sizes, all text.
 *
 * @param trades a relation of trades as they are now
 */
export function holdingsQuery(trades: string): string {
  const text = (value: string): string => `CAST(${value} AS varchar)`;
  return `SELECT venue, symbol, ${text('count(*)')} AS n, ${text('sum(price)')} AS price, ${text('sum(size)')} AS size
    FROM ${trades} WHERE venue LIKE 'churn-%' GROUP BY venue, symbol`;
}

const exact = (units: bigint): string => formatDecimal(units, PRICE_SCALE);

/**
 * One sentence for each symbol that differs.
 *
 * @param found rows of `holdingsQuery`
 */
export function compareHoldings(
  expected: ReadonlyMap<string, Holding>,
  found: Iterable<readonly (string | null)[]>,
): readonly string[] {
  const left = new Map(expected);
  const wrong: string[] = [];
  for (const [venue, symbol, rows, price, size] of found) {
    const name = `${venue} ${symbol}`;
    const should = left.get(name) ?? { rows: 0, price: 0n, size: 0n };
    left.delete(name);
    const is = `${rows} rows, prices ${price}, sizes ${size}`;
    const was = `${should.rows} rows, prices ${exact(should.price * 1_000_000n)}, sizes ${exact(should.size * 100n)}`;
    if (is !== was) wrong.push(`${name} has ${is}, and should have ${was}`);
  }
  return [...wrong, ...[...left.keys()].map((name) => `${name} has no rows`)];
}
