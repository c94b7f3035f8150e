import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';

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

  async [Symbol.asyncDispose](): Promise<void> {
    this.db.closeSync();
    this.#instance.closeSync();
    await rm(this.dir, { recursive: true, force: true });
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
