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

/** A DuckDB in memory for one check, and a folder for what does not fit; both are gone at the end. */
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

  /** On a connection of its own: what `db` does meanwhile does not hold it up. */
  async appendTo(table: string): Promise<Rows> {
    const db = await this.#instance.connect();
    return new Rows(db, await db.createAppender(table));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.db.closeSync();
    this.#instance.closeSync();
    await rm(this.dir, { recursive: true, force: true });
  }
}

/** What DuckDB takes at once. */
const chunkRows = 2048;

/** Rows on their way into a table, column by column: a call into DuckDB for each value takes as long as it takes to hash it. */
export class Rows {
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

  /** Nothing is in the table for certain before. */
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
