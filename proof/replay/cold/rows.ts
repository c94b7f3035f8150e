import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type DuckDBConnection, DuckDBDecimalValue, DuckDBInstance } from '@duckdb/node-api';
import { damaged } from '../../../core/archive/damaged.ts';
import type { ObjectTable } from '../../../core/archive/listing/table.ts';
import { Copies } from '../../../core/archive/reading/copies.ts';
import { duckdbType } from '../../../core/archive/reading/duckdb.ts';
import { fileColumn } from '../../../core/archive/reading/views.ts';
import { type RestoredRow, restoredColumns, restorer } from '../../../core/archive/rows/restore.ts';
import type { Table } from '../../../core/archive/rows/tables.ts';
import type { ObjectStore } from '../../../core/archive/s3/store.ts';
import { MillraceError } from '../../../core/base/errors.ts';
import type { ColumnValue, TypedColumn } from '../../../core/values/rowhash/rowhash.ts';
import { literal, quoted } from '../../../core/values/sql.ts';
import type { ArchiveObject } from '../../../schemas/gen/archive_object.ts';
import type { TileRange } from './tiles.ts';

const memoryBytes = 512 * 1024 ** 2;
/** Size limit of local files, bytes. Beyond it, the least recently read are removed. */
const keptBytes = 1024n ** 3n;

/** Reads rows of listed objects in offset order, whatever the order in the files. */
export class ColdRows implements AsyncDisposable {
  readonly #dir: string;
  readonly #instance: DuckDBInstance;
  readonly #db: DuckDBConnection;
  readonly #copies: Copies;
  readonly #signal: AbortSignal;
  /** Local files by key, least recently read first. */
  readonly #local = new Map<string, { readonly path: string; readonly bytes: bigint }>();
  /** Keys of all fetched objects. */
  readonly #fetched = new Set<string>();

  private constructor(
    dir: string,
    instance: DuckDBInstance,
    db: DuckDBConnection,
    store: ObjectStore,
    signal: AbortSignal,
  ) {
    this.#dir = dir;
    this.#instance = instance;
    this.#db = db;
    this.#copies = new Copies({ store, dir });
    this.#signal = signal;
  }

  static async open(store: ObjectStore, signal: AbortSignal): Promise<ColdRows> {
    const dir = await mkdtemp(join(tmpdir(), 'millrace-cold-'));
    const instance = await DuckDBInstance.create(':memory:');
    const rows = new ColdRows(dir, instance, await instance.connect(), store, signal);
    try {
      await rows.#db.run(
        `SET memory_limit = '${memoryBytes}B'; SET temp_directory = ${literal(join(dir, 'spill'))}; SET TimeZone = 'UTC'; SET threads = 2`,
      );
      return rows;
    } catch (error) {
      await rows[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Number of distinct objects that were read. */
  get objects(): number {
    return this.#fetched.size;
  }

  /**
   * The records of `[from, to)` of a partition.
   *
   * @param objects those of the partition that may hold them
   * @throws MillraceError ARCHIVE_DAMAGED, REPLAY_IMPOSSIBLE, COPIES_FULL; errors of `ObjectStore`.
   */
  async read(table: Table, partition: number, { from, to }: TileRange, objects: ObjectTable): Promise<RestoredRow[]> {
    const wanted = objects.filter((object) => object.first_offset < to && object.last_offset >= from);
    if (wanted.length === 0) return [];
    const paths = await this.#fetch(wanted);
    const names = await this.#columnsOf(paths);
    const columns = restoredColumns(table);
    const before = new Set(
      paths.filter((_path, i) => table.before !== undefined && names[i]?.has(beforeOf(columns, table))),
    );
    for (const [i, path] of paths.entries())
      requireKept(table, wanted[i] as ArchiveObject, names[i] ?? new Set(), before.has(path));
    const present = new Set(names.flatMap((each) => [...each]));
    const selected = columns.map((column) => (present.has(column.name) ? selection(column) : 'NULL'));
    const reader = await this.#db.runAndReadAll(
      `SELECT ${selected.join(', ')}, ${quoted(fileColumn)} FROM read_parquet([${paths.map(literal).join(', ')}], union_by_name = true, filename = ${literal(fileColumn)})
        WHERE _partition = ${partition} AND _offset >= ${from} AND _offset < ${to} ORDER BY _offset`,
    );
    const restore = restorer(table);
    const found: RestoredRow[] = [];
    for (const values of reader.getRows()) {
      const path = values.at(-1) as string;
      const restored = restore(values.map(unitsOf), before.has(path));
      if (restored.offset === found.at(-1)?.offset) {
        throw damaged(`${table.topic}/${partition} offset ${restored.offset} is archived twice`);
      }
      found.push(restored);
    }
    return found;
  }

  /** Fetches objects. Returns the local paths, in the order of the objects. */
  async #fetch(objects: readonly ArchiveObject[]): Promise<string[]> {
    const copies = await this.#copies.fetch(objects, { signal: this.#signal });
    const paths = copies.map(({ object, path }) => {
      this.#fetched.add(object.key);
      this.#local.delete(object.key);
      this.#local.set(object.key, { path, bytes: object.bytes });
      return path;
    });
    const inUse = new Set(objects.map(({ key }) => key));
    let bytes = [...this.#local.values()].reduce((sum, each) => sum + each.bytes, 0n);
    for (const [key, file] of this.#local) {
      if (bytes <= keptBytes) break;
      if (inUse.has(key)) continue;
      await rm(file.path, { force: true });
      this.#local.delete(key);
      bytes -= file.bytes;
    }
    return paths;
  }

  /** Column names of each file. */
  async #columnsOf(paths: readonly string[]): Promise<Set<string>[]> {
    const names = new Map(paths.map((path) => [path, new Set<string>()]));
    const reader = await this.#db.runAndReadAll(
      `SELECT file_name, name FROM parquet_schema([${paths.map(literal).join(', ')}])`,
    );
    for (const [path, name] of reader.getRows()) names.get(path as string)?.add(name as string);
    return paths.map((path) => names.get(path) ?? new Set());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#db.closeSync();
    this.#instance.closeSync();
    await rm(this.#dir, { recursive: true, force: true });
  }
}

/** The column that identifies a file with rows before changes. */
function beforeOf(columns: readonly TypedColumn[], table: Table): string {
  return columns.at(-table.columns.length)?.name ?? '';
}

/** @throws MillraceError REPLAY_IMPOSSIBLE: the file lacks a field of the record. */
function requireKept(
  table: Table,
  { key, writer_version }: ArchiveObject,
  names: ReadonlySet<string>,
  hasBefore: boolean,
): void {
  if (!names.has('_timestamp')) {
    throw new MillraceError(
      'REPLAY_IMPOSSIBLE',
      `${key} was written by version ${writer_version}, whose rows lack fields of the record`,
      {
        remedy: 'choose --from after a snapshot that comes later, or replay without --from-cold while the log has it',
      },
    );
  }
  if (!hasBefore) return;
  // The source itself has a column of that name, so ours has another name.
  const taken = table.columns.find(({ name }) => names.has(`before_${name}_`));
  if (taken === undefined) return;
  throw new MillraceError('REPLAY_IMPOSSIBLE', `${key}: before_${taken.name} is a column of the source, too`, {
    remedy: `rename the column before_${taken.name} of the source; archived records are replayed while the log has them`,
  });
}

function selection({ name, type }: TypedColumn): string {
  if (type.kind === 'timestamp') return `epoch_us(${quoted(name)})`;
  return `${quoted(name)}::${duckdbType(type)}`;
}

/** Decimals as unscaled integers. */
function unitsOf(value: unknown): ColumnValue {
  return value instanceof DuckDBDecimalValue ? value.value : (value as ColumnValue);
}
