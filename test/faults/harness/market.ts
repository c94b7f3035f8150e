/** A market that goes on while faults are injected: what is written to Postgres, seeded. */
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { formatTimestamp } from '../../../core/values/time.ts';
import { seeded } from './load.ts';

export interface MarketOptions {
  readonly url: string;
  readonly seed: number;
  /** Changes per second of wall time, about. */
  readonly rate: number;
  readonly symbols?: number;
  readonly venue?: string;
}

interface Trade {
  readonly symbol: string;
  readonly id: string;
}

const SECOND = 1_000_000n;
const YEAR = 31_536_000n * SECOND;
/** Of event time, from one transaction of a session to its next. */
const stepUs = 700_000n;
const firstEventTime = 1_704_067_200n * SECOND;
const pauseMs = 150;
const sessions = 2;
/** Earlier trades that may be corrected or cancelled. */
const recent = 400;

/**
 * Two sessions whose transactions overlap, so that LSN order is not commit order. Of the changes about 2 in 100 correct an earlier trade, 2 cancel
 * one, 2 are late, 1 is dated a year ahead, and the others come in the order of their event times but for what is within the lateness.
 * A transaction that breaks, because a part is down, is not repeated: what counts is what was committed.
 */
export class Market implements AsyncDisposable {
  readonly #options: Required<MarketOptions>;
  readonly #stop = new AbortController();
  readonly #sessions: Promise<void>[];
  readonly #trades: Trade[] = [];
  #eventTime = firstEventTime;
  #number = 0;
  #paused = false;
  /** Changes in transactions whose commit was confirmed. */
  changes = 0;

  private constructor(options: MarketOptions) {
    this.#options = { symbols: 24, venue: 'faults', ...options };
    this.#sessions = Array.from({ length: sessions }, (_, i) => this.#session(seeded(options.seed + i)));
  }

  static open(options: MarketOptions): Market {
    return new Market(options);
  }

  /** While a fault needs silence. */
  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
  }

  async #session(random: () => number): Promise<void> {
    let db: Client | undefined;
    while (!this.#stop.signal.aborted) {
      try {
        if (this.#paused) {
          await delay(pauseMs);
          continue;
        }
        db ??= await connected(this.#options.url);
        await this.#transaction(db, random);
      } catch {
        await db?.end().catch(() => undefined);
        db = undefined;
        await delay(pauseMs);
      }
    }
    await db?.end().catch(() => undefined);
  }

  async #transaction(db: Client, random: () => number): Promise<void> {
    const count = Math.max(1, Math.round((this.#options.rate * pauseMs) / 1000 / sessions));
    const from = this.#eventTime;
    this.#eventTime += stepUs;
    let done = 0;
    await db.query('BEGIN');
    const rows: (string | number)[][] = [];
    for (let i = 0; i < count; i++) rows.push(this.#trade(random, from));
    const columns = Array.from({ length: 7 }, (_, column) => rows.map((row) => row[column]));
    const inserted = await db.query(
      `INSERT INTO trades (venue, symbol, trade_id, venue_sequence, price, size, executed_at)
       SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::numeric[], $6::numeric[], $7::timestamptz[])`,
      columns,
    );
    done += inserted.rowCount ?? 0;
    for (let i = 0; i < count; i++) {
      const chance = random();
      if (chance >= 0.04) continue;
      const trade = this.#trades[Math.floor(random() * this.#trades.length)];
      if (trade === undefined) continue;
      const at = [this.#options.venue, trade.symbol, trade.id];
      const touched =
        chance < 0.02
          ? await db.query(
              'UPDATE trades SET price = price + 0.01, size = size + 0.5 WHERE (venue, symbol, trade_id) = ($1, $2, $3)',
              at,
            )
          : await db.query('DELETE FROM trades WHERE (venue, symbol, trade_id) = ($1, $2, $3)', at);
      done += touched.rowCount ?? 0;
    }
    await delay(pauseMs * (0.5 + random()));
    await db.query('COMMIT');
    this.changes += done;
    for (const row of rows) this.#remember({ symbol: String(row[1]), id: String(row[2]) }, random);
  }

  #trade(random: () => number, from: bigint): (string | number)[] {
    const { symbols, venue, seed } = this.#options;
    const number = ++this.#number;
    const index = Math.floor(random() * symbols);
    const price = (10_000 + index * 1_000 + Math.floor((random() - 0.5) * 400)) / 100;
    const size = 1 + Math.floor(random() * 1_000_000);
    let at = from + BigInt(Math.floor(random() * 2_000_000));
    const chance = random();
    if (chance < 0.005) at -= 4n * 3_600n * SECOND;
    else if (chance < 0.02) at -= 600n * SECOND;
    else if (chance < 0.03) at = BigInt(Date.now()) * 1_000n + YEAR;
    const symbol = `SYM${String(index).padStart(3, '0')}-USD`;
    return [venue, symbol, `${seed}-${number}`, number, price.toFixed(2), `${size}e-6`, formatTimestamp(at)];
  }

  #remember(trade: Trade, random: () => number): void {
    if (this.#trades.length < recent) this.#trades.push(trade);
    else this.#trades[Math.floor(random() * recent)] = trade;
  }

  /** Ends after the transactions that are under way. @returns the changes that were confirmed. */
  async close(): Promise<number> {
    this.#stop.abort();
    await Promise.all(this.#sessions);
    return this.changes;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

async function connected(url: string): Promise<Client> {
  const db = new Client({ connectionString: url, application_name: 'market' });
  db.on('error', () => undefined);
  await db.connect();
  return db;
}
