/**
 * An independent record of what was committed: a second logical slot on the capture's publication, read by SQL. It shares no code and no
 * connection with the capture, and nothing of the log.
 */
import type { Client } from 'pg';
import { MillraceError } from '../../core/base/errors.ts';
import { parseLsn } from '../../core/values/lsn.ts';
import { type Cell, copyRows } from '../../proof/reading/copy.ts';
import { PgOutput, type RowChange, type Tuple } from './pgoutput.ts';

export interface WitnessOptions {
  /** Of its replication slot, and of the schema that keeps what it saw. */
  readonly slot: string;
  readonly publication: string;
  /** Changes per read. A transaction is never cut: a larger one comes whole, through a cursor. Default 50,000. */
  readonly portion?: number;
}

/** What is in memory at once. */
const cursorRows = 5_000;
const table = 'public.trades';
const shape = `lsn bigint NOT NULL, op text NOT NULL, venue text NOT NULL, symbol text NOT NULL, trade_id text NOT NULL,
  venue_sequence bigint, price numeric, size numeric, executed_at timestamptz`;

/**
 * Changes of `trades` by identity: LSN, operation, primary key. Rows of one statement may share an LSN; their keys tell them apart. What was
 * seen is kept in a table outside the publication, so the witness outlives its reader and the server.
 */
export class Witness {
  readonly #db: Client;
  readonly #options: Required<WitnessOptions>;

  private constructor(db: Client, options: Required<WitnessOptions>) {
    this.#db = db;
    this.#options = options;
  }

  /** What is committed from now on is seen; a witness that was there before goes on. The connection stays the caller's. */
  static async open(db: Client, options: WitnessOptions): Promise<Witness> {
    const { slot } = options;
    if (!/^[a-z_][a-z0-9_]*$/.test(slot)) throw new MillraceError('CONFIG_INVALID', `${slot} cannot name a slot`);
    await db.query(`CREATE SCHEMA IF NOT EXISTS ${slot};
      CREATE TABLE IF NOT EXISTS ${slot}.changes (seq bigint GENERATED ALWAYS AS IDENTITY, ${shape}, UNIQUE (lsn, op, venue, symbol, trade_id));
      CREATE TEMP TABLE IF NOT EXISTS witnessed (at bigint GENERATED ALWAYS AS IDENTITY, ${shape})`);
    const { rowCount } = await db.query('SELECT FROM pg_replication_slots WHERE slot_name = $1', [slot]);
    if (rowCount === 0) await db.query(`SELECT pg_create_logical_replication_slot($1, 'pgoutput')`, [slot]);
    return new Witness(db, { portion: 50_000, ...options });
  }

  /** `<slot>.changes`: seq (commit order), lsn, op (c, u or d), the primary key, and of c and u the row after it. */
  get table(): string {
    return `${this.#options.slot}.changes`;
  }

  /** Reads all that is committed now. @returns the changes that were new. */
  async follow(): Promise<number> {
    const { rows } = await this.#db.query<{ lsn: string }>('SELECT pg_current_wal_lsn()::text AS lsn');
    let total = 0;
    for (;;) {
      const found = await this.#portion(rows[0]?.lsn ?? '0/0');
      if (found === undefined) return total;
      total += found;
    }
  }

  /**
   * Peeks, keeps, and only then lets the slot go on: a read that is interrupted is repeated, and its rows are kept once.
   * @returns undefined when there was nothing
   */
  async #portion(until: string): Promise<number | undefined> {
    const { slot, publication, portion } = this.#options;
    const db = this.#db;
    const output = new PgOutput();
    let last: string | undefined;
    let found = 0;
    await db.query('BEGIN');
    try {
      await db.query('TRUNCATE witnessed');
      // Function scans are spooled by the server; the cursor keeps this side small, also for a transaction of a million rows.
      await db.query(`DECLARE witness_cursor NO SCROLL CURSOR FOR SELECT lsn::text, data
        FROM pg_logical_slot_peek_binary_changes('${slot}', '${until}', ${portion}, 'proto_version', '1', 'publication_names', '${publication}')`);
      for (;;) {
        const { rows } = await db.query<{ lsn: string; data: Buffer }>(`FETCH ${cursorRows} FROM witness_cursor`);
        if (rows.length === 0) break;
        last = rows.at(-1)?.lsn;
        const cells = rows.flatMap(({ lsn, data }) =>
          identities(output.decode(data)).map((row) => [parseLsn(lsn), ...row]),
        );
        await copyRows(
          db,
          'witnessed (lsn, op, venue, symbol, trade_id, venue_sequence, price, size, executed_at)',
          (async function* () {
            yield cells;
          })(),
        );
      }
      await db.query('CLOSE witness_cursor');
      const kept =
        await db.query(`INSERT INTO ${this.table} (lsn, op, venue, symbol, trade_id, venue_sequence, price, size, executed_at)
        SELECT lsn, op, venue, symbol, trade_id, venue_sequence, price, size, executed_at FROM witnessed ORDER BY at
        ON CONFLICT DO NOTHING`);
      found = kept.rowCount ?? 0;
      await db.query('COMMIT');
    } catch (error) {
      await db.query('ROLLBACK').catch(() => undefined);
      throw error;
    }
    if (last === undefined) return undefined;
    await db.query('SELECT pg_replication_slot_advance($1, $2)', [slot, last]);
    return found;
  }

  /** Gives up the slot and what was seen. */
  async drop(): Promise<void> {
    const { slot } = this.#options;
    await this.#db.query('SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1', [
      slot,
    ]);
    await this.#db.query(`DROP SCHEMA IF EXISTS ${slot} CASCADE`);
  }
}

/** An update of the primary key is what Debezium makes of it: a delete and a create. */
function identities(change: RowChange | undefined): Cell[][] {
  if (change === undefined || change.table !== table) return [];
  const { op, before, after } = change;
  if (op === 'd' || after === undefined) return before === undefined ? [] : [row('d', before, false)];
  if (op === 'u' && before !== undefined && keyOf(before) !== keyOf(after)) {
    return [row('d', before, false), row('c', after, true)];
  }
  return [row(op, after, true)];
}

function row(op: string, tuple: Tuple, whole: boolean): Cell[] {
  const of = (name: string): Cell => tuple.get(name) ?? null;
  const key = [of('venue'), of('symbol'), of('trade_id')];
  const values = [of('venue_sequence'), of('price'), of('size'), of('executed_at')];
  return [op, ...key, ...(whole ? values : values.map(() => null))];
}

function keyOf(tuple: Tuple): string {
  return JSON.stringify([tuple.get('venue'), tuple.get('symbol'), tuple.get('trade_id')]);
}
