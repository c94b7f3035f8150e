import { type Client, DatabaseError } from 'pg';
import { MillraceError } from '../../core/base/errors.ts';
import { address, connectPostgres } from '../../core/base/postgres.ts';
import { type HotTable, hotSchema } from '../../core/hot-store/tables.ts';
import { ensureDays, prepareSchema, quote } from './partitions.ts';
import type { HotRow } from './row.ts';
import type { HotStore, RefusedRow, Upserted } from './store.ts';

export interface PostgresHotStoreOptions {
  readonly url: string;
  /** Longest wait for a connection, milliseconds. Default 5,000. */
  readonly connectTimeoutMs?: number;
  /** Longest wait for an answer, milliseconds. Default 30,000. */
  readonly answerTimeoutMs?: number;
}

/**
 * The hot store in Postgres. It has one connection and runs one statement at a time. A batch is one statement, and a process with many
 * partitions writes them one after the other. It connects at the first write and creates what is missing. After any error that is not about
 * rows it opens a new connection.
 */
export class PostgresHotStore implements HotStore, AsyncDisposable {
  readonly #options: PostgresHotStoreOptions;
  #client: Client | undefined;
  #last: Promise<unknown> = Promise.resolve();
  /** Partitions known to exist: table name and day. */
  readonly #days = new Set<string>();

  constructor(options: PostgresHotStoreOptions) {
    this.#options = options;
  }

  async upsert(table: HotTable, rows: readonly HotRow[]): Promise<Upserted> {
    const turn = this.#last.then(() => this.#upsert(table, rows));
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#last;
    this.#discard();
  }

  async #upsert(table: HotTable, rows: readonly HotRow[]): Promise<Upserted> {
    try {
      for (let attempt = 1; ; attempt++) {
        const client = await this.#connected();
        await this.#ensure(client, table, rows);
        try {
          return await this.#write(client, table, rows);
        } catch (error) {
          // A retention has dropped the partition of a day since the last check.
          if (!isMissingPartition(error) || attempt > 2) throw error;
          this.#days.clear();
        }
      }
    } catch (error) {
      this.#discard();
      if (error instanceof MillraceError && error.code === 'HOT_STORE_UNAVAILABLE') throw error;
      const reason = error instanceof Error ? error.message : String(error);
      throw new MillraceError(
        'HOT_STORE_UNAVAILABLE',
        `the hot store at ${address(this.#options.url)} fails: ${reason}`,
        {
          cause: error,
          remedy: 'Repair the reported cause; the waiting rows are then written without further action.',
        },
      );
    }
  }

  async #connected(): Promise<Client> {
    if (this.#client !== undefined) return this.#client;
    const { url, connectTimeoutMs = 5_000, answerTimeoutMs = 30_000 } = this.#options;
    const client = await connectPostgres({ url, name: 'millrace hot-store', connectTimeoutMs, answerTimeoutMs });
    this.#client = client;
    client.on('error', () => {
      if (this.#client === client) this.#discard();
    });
    // The server times out first. The offset is committed after the row, so the row must be durable: a server default of "off" is
    // overridden.
    await client.query(
      `SELECT set_config('statement_timeout', $1, false),
              set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false)`,
      [String(Math.ceil(answerTimeoutMs * 0.9))],
    );
    await prepareSchema(client);
    return client;
  }

  /** Creates the partitions that a batch needs. */
  async #ensure(client: Client, table: HotTable, rows: readonly HotRow[]): Promise<void> {
    const days = new Set(rows.map(({ day }) => day));
    const missing = [...days].filter((day) => !this.#days.has(`${table.name} ${day}`)).sort();
    if (missing.length === 0) return;
    await ensureDays(client, table, missing);
    for (const day of missing) this.#days.add(`${table.name} ${day}`);
  }

  /** Splits a failing batch in halves until the rows that Postgres refuses are alone. */
  async #write(client: Client, table: HotTable, rows: readonly HotRow[]): Promise<Upserted> {
    try {
      const { rowCount } = await client.query({
        text: upsertOf(table),
        values: table.columns.map((_column, i) => rows.map(({ values }) => values[i])),
      });
      return { changed: rowCount ?? 0, refused: [] };
    } catch (error) {
      if (!isAboutRows(error)) throw error;
      const [row] = rows;
      if (row !== undefined && rows.length === 1) return { changed: 0, refused: [refusal(table, row, error)] };
      const half = rows.length >> 1;
      const first = await this.#write(client, table, rows.slice(0, half));
      const second = await this.#write(client, table, rows.slice(half));
      return { changed: first.changed + second.changed, refused: [...first.refused, ...second.refused] };
    }
  }

  #discard(): void {
    const client = this.#client;
    this.#client = undefined;
    this.#days.clear();
    client?.end().catch(() => undefined);
  }
}

const statements = new Map<string, string>();

/** One array for each column. The guard is in the statement, so it holds with concurrent writers. */
function upsertOf(table: HotTable): string {
  const known = statements.get(table.name);
  if (known !== undefined) return known;
  const { columns, key } = table;
  const names = columns.map(({ name }) => quote(name));
  const arrays = columns.map(({ sqlType }, i) => `$${i + 1}::${sqlType}[]`);
  const set = columns
    .filter(({ name }) => !key.includes(name))
    .map(({ name }) => `${quote(name)} = excluded.${quote(name)}`);
  const statement = `INSERT INTO ${hotSchema}.${table.name} AS present (${names.join(', ')})
    SELECT * FROM unnest(${arrays.join(', ')})
    ON CONFLICT (${key.map(quote).join(', ')}) DO UPDATE SET ${set.join(', ')}
    WHERE excluded.revision > present.revision`;
  statements.set(table.name, statement);
  return statement;
}

function isMissingPartition(error: unknown): boolean {
  return error instanceof DatabaseError && error.code === '23514' && error.routine === 'ExecFindPartition';
}

/** Data exception, violated constraint, or exceeded limit (a key too long for an index): a repetition would fail again. */
function isAboutRows(error: unknown): error is DatabaseError {
  return error instanceof DatabaseError && /^(22|23|54)/.test(error.code ?? '') && !isMissingPartition(error);
}

function refusal(table: HotTable, row: HotRow, cause: DatabaseError): RefusedRow {
  const message = `${hotSchema}.${table.name} refuses it: ${cause.message}`;
  return { row, error: new MillraceError('BAD_RECORD', message, { cause }) };
}
