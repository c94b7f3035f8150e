import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type DuckDBAppender, type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import { divide, NOTIONAL_SCALE, PRICE_SCALE } from '../../../core/values/decimal.ts';
import { parseTimestamp } from '../../../core/values/time.ts';
import type { Candle } from '../../../schemas/gen/candle.ts';
import type { TradeRow } from '../../../schemas/gen/trade_change.ts';

/** A change of a trade with the fields that a candle needs: the row after it, for a delete the row before it. */
export interface Input {
  readonly offset: bigint;
  readonly op: string;
  readonly lsn: bigint | null;
  readonly txId: bigint | null;
  readonly row: TradeRow;
}

/** One trade in a candle. */
export interface TradeInside {
  readonly trade_id: string;
  /** Microseconds. */
  readonly executedAt: bigint;
  readonly price: bigint;
  readonly size: bigint;
  /** Offset of the change that wrote this version of the trade. */
  readonly offset: bigint;
  readonly lsn: bigint | null;
  readonly transaction: bigint | null;
}

/** The aggregates of a window's trades: the candle without its provenance. */
export type Figures = Pick<
  Candle,
  | 'open'
  | 'high'
  | 'low'
  | 'close'
  | 'volume'
  | 'notional'
  | 'vwap'
  | 'trade_count'
  | 'first_trade_id'
  | 'last_trade_id'
  | 'open_time'
  | 'high_time'
  | 'low_time'
  | 'close_time'
>;

const inOrder = 'event_us, seq NULLS FIRST, id';

/**
 * Recomputes a candle from its input by SQL in DuckDB. It shares no code with the processor. Memory is bounded, because DuckDB spills to
 * disk. Prices are integers with eight decimals; only vwap is rounded, once.
 */
export class Recompute implements AsyncDisposable {
  readonly #dir: string;
  readonly #instance: DuckDBInstance;
  readonly #db: DuckDBConnection;
  #inputs: DuckDBAppender | undefined;

  private constructor(dir: string, instance: DuckDBInstance, db: DuckDBConnection) {
    this.#dir = dir;
    this.#instance = instance;
    this.#db = db;
  }

  static async open(): Promise<Recompute> {
    const dir = await mkdtemp(join(tmpdir(), 'millrace-trace-'));
    let recompute: Recompute | undefined;
    try {
      const instance = await DuckDBInstance.create(':memory:');
      recompute = new Recompute(dir, instance, await instance.connect());
      await recompute.#db.run(`SET memory_limit = '512MB'; SET temp_directory = '${dir}'; SET TimeZone = 'UTC'`);
      await recompute.#db.run(`
        CREATE TABLE inputs (o BIGINT, op VARCHAR, id VARCHAR, seq BIGINT, price HUGEINT, size HUGEINT, event_us BIGINT, lsn BIGINT, tx BIGINT);
        CREATE TABLE aside (o BIGINT, whole BOOLEAN)`);
      return recompute;
    } catch (error) {
      if (recompute === undefined) await rm(dir, { recursive: true, force: true });
      else await recompute[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Adds changes of the symbol, in any order. */
  async add(inputs: readonly Input[]): Promise<void> {
    this.#inputs ??= await this.#db.createAppender('inputs');
    const to = this.#inputs;
    for (const { offset, op, lsn, txId, row } of inputs) {
      to.appendBigInt(offset);
      to.appendVarchar(op);
      to.appendVarchar(row.trade_id);
      integer(to, row.venue_sequence);
      to.appendHugeInt(row.price);
      to.appendHugeInt(row.size);
      to.appendBigInt(parseTimestamp(row.executed_at));
      integer(to, lsn);
      integer(to, txId);
      to.endRow();
    }
    to.flushSync();
  }

  /** Adds a symbol's changes in an archived object, offsets `[from, to)`. @param path of the file on disk */
  async addFile(
    path: string,
    { venue, symbol, from, to }: { venue: string; symbol: string; from: bigint; to: bigint },
  ): Promise<void> {
    const units = (column: string): string => `replace(${column}::DECIMAL(20,8)::VARCHAR, '.', '')::HUGEINT`;
    await this.#db.run(
      `INSERT INTO inputs SELECT _offset, _op, trade_id, venue_sequence, ${units('price')}, ${units('size')}, epoch_us(executed_at), _lsn, _tx_id
         FROM read_parquet('${path}') WHERE venue = $1 AND symbol = $2 AND _offset >= $3 AND _offset < $4`,
      [venue, symbol, from, to],
    );
  }

  /** Leaves out a change that the processor did not apply: to no window at all (`whole`), or not to this one. */
  async setAside(offset: bigint, whole: boolean): Promise<void> {
    await this.#db.run('INSERT INTO aside VALUES ($1, $2)', [offset, whole]);
  }

  /** Folds the added changes into the trades of the window `[start, end)`. Call it once, after all changes. */
  async fold({ start, end }: { readonly start: bigint; readonly end: bigint }): Promise<void> {
    this.#inputs?.closeSync();
    this.#inputs = undefined;
    await this.#db.run(`
      CREATE TABLE applied AS
        WITH accepted AS (
          SELECT *, op <> 'd' AND event_us >= ${start} AND event_us < ${end} AS inside
            FROM inputs i WHERE NOT EXISTS (SELECT 1 FROM aside a WHERE a.o = i.o AND a.whole)),
        followed AS (SELECT *, coalesce(lag(inside) OVER (PARTITION BY id ORDER BY o), false) AS was FROM accepted)
        SELECT * FROM followed f
         WHERE (inside OR was) AND NOT EXISTS (SELECT 1 FROM aside a WHERE a.o = f.o AND NOT a.whole);
      CREATE TABLE held AS
        SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY id ORDER BY o DESC) AS newest FROM applied)
         WHERE newest = 1 AND inside`);
  }

  /** Undefined if the window has no trade. */
  async figures(): Promise<Figures | undefined> {
    const [row] = await this.#rows(`
      WITH extremes AS (SELECT max(price) AS high, min(price) AS low FROM held)
      SELECT count(*) AS n, first(price ORDER BY ${inOrder}) AS open, any_value(high) AS high, any_value(low) AS low, last(price ORDER BY ${inOrder}) AS close,
             sum(size)::HUGEINT AS volume, sum(price * size)::HUGEINT AS notional, first(id ORDER BY ${inOrder}) AS first_id, last(id ORDER BY ${inOrder}) AS last_id,
             min(event_us) AS open_time, min(event_us) FILTER (price = high) AS high_time, min(event_us) FILTER (price = low) AS low_time, max(event_us) AS close_time
        FROM held, extremes`);
    if (row === undefined || row['n'] === 0n) return undefined;
    const units = (name: string): bigint => row[name] as bigint;
    const [volume, notional] = [units('volume'), units('notional')];
    return {
      open: units('open'),
      high: units('high'),
      low: units('low'),
      close: units('close'),
      volume,
      notional,
      vwap: volume === 0n ? null : divide(notional, NOTIONAL_SCALE, volume, PRICE_SCALE, PRICE_SCALE),
      trade_count: units('n'),
      first_trade_id: row['first_id'] as string,
      last_trade_id: row['last_id'] as string,
      open_time: units('open_time'),
      high_time: units('high_time'),
      low_time: units('low_time'),
      close_time: units('close_time'),
    };
  }

  /** The trades in the order of the window, at most `limit`. */
  async trades(limit: number): Promise<TradeInside[]> {
    const rows = await this.#rows(`SELECT * FROM held ORDER BY ${inOrder} LIMIT ${limit}`);
    return rows.map((row) => ({
      trade_id: row['id'] as string,
      executedAt: row['event_us'] as bigint,
      price: row['price'] as bigint,
      size: row['size'] as bigint,
      offset: row['o'] as bigint,
      lsn: row['lsn'] as bigint | null,
      transaction: row['tx'] as bigint | null,
    }));
  }

  /** Changes of the symbol that were read, and those that were applied to this window. */
  async counts(): Promise<{ readonly read: bigint; readonly applied: bigint }> {
    const [row] = await this.#rows(
      'SELECT (SELECT count(*) FROM inputs) AS read, (SELECT count(*) FROM applied) AS applied',
    );
    return { read: row?.['read'] as bigint, applied: row?.['applied'] as bigint };
  }

  /** Least and greatest LSN of the trades in the window; null if it has none. */
  async lsns(): Promise<{ readonly first: bigint; readonly last: bigint } | null> {
    const [row] = await this.#rows('SELECT min(lsn) AS first, max(lsn) AS last FROM held');
    const first = row?.['first'];
    return typeof first === 'bigint' ? { first, last: row?.['last'] as bigint } : null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#inputs?.closeSync();
    this.#db.closeSync();
    this.#instance.closeSync();
    await rm(this.#dir, { recursive: true, force: true });
  }

  async #rows(sql: string): Promise<Record<string, unknown>[]> {
    return (await this.#db.runAndReadAll(sql)).getRowObjects();
  }
}

function integer(to: DuckDBAppender, value: bigint | null): void {
  if (value === null) to.appendNull();
  else to.appendBigInt(value);
}
