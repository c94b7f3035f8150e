import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type DuckDBAppender,
  type DuckDBConnection,
  DuckDBDataChunk,
  DuckDBInstance,
  type DuckDBValue,
} from '@duckdb/node-api';

/** An in-memory DuckDB for one check, with a folder for its spill. Both are removed at the end. */
export class Scratch implements AsyncDisposable {
  readonly db: DuckDBConnection;
  readonly dir: string;
  readonly #instance: DuckDBInstance;

  protected constructor({ dir, instance, db }: ScratchParts) {
    this.dir = dir;
    this.#instance = instance;
    this.db = db;
  }

  static async open(): Promise<Scratch> {
    return new Scratch(await scratchParts());
  }

  async query(sql: string): Promise<Record<string, unknown>[]> {
    return (await this.db.runAndReadAll(sql)).getRowObjects();
  }

  /** Uses its own connection, so queries of `db` do not block it. */
  async appendTo(table: string): Promise<RowAppender> {
    const db = await this.#instance.connect();
    return new RowAppender(db, await db.createAppender(table));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.db.closeSync();
    this.#instance.closeSync();
    await rm(this.dir, { recursive: true, force: true });
  }
}

/** Rows in one DuckDB chunk. */
const chunkRows = 2048;

/** Buffers rows of a table by column. A separate DuckDB call for each value would take as long as its hash. */
export class RowAppender {
  readonly #db: DuckDBConnection;
  readonly #appender: DuckDBAppender;
  readonly #columns: DuckDBValue[][];
  #count = 0;

  constructor(db: DuckDBConnection, appender: DuckDBAppender) {
    this.#db = db;
    this.#appender = appender;
    this.#columns = Array.from({ length: appender.columnCount }, () => []);
  }

  /** @param values one for each column of the table */
  add(...values: readonly DuckDBValue[]): void {
    for (let i = 0; i < this.#columns.length; i++) this.#columns[i]?.push(values[i] ?? null);
    if (++this.#count === chunkRows) this.#flush();
  }

  /** Writes the buffered rows. Only after it are all rows in the table. */
  close(): void {
    this.#flush();
    this.#appender.closeSync();
    this.#db.closeSync();
  }

  #flush(): void {
    if (this.#count === 0) return;
    const types = this.#columns.map((_, i) => this.#appender.columnType(i));
    const chunk = DuckDBDataChunk.create(types, this.#count);
    chunk.setColumns(this.#columns);
    this.#appender.appendDataChunk(chunk);
    for (const column of this.#columns) column.length = 0;
    this.#count = 0;
  }
}

export interface ScratchParts {
  readonly dir: string;
  readonly instance: DuckDBInstance;
  readonly db: DuckDBConnection;
}

export async function scratchParts(): Promise<ScratchParts> {
  const dir = await mkdtemp(join(tmpdir(), 'millrace-verify-'));
  const instance = await DuckDBInstance.create(':memory:');
  const db = await instance.connect();
  await db.run(`SET memory_limit = '1GB'; SET temp_directory = '${dir}'; SET TimeZone = 'UTC'`);
  return { dir, instance, db };
}
