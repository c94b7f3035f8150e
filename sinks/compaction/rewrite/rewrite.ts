/**
 * Merges files into new ones of a target size, sorted by key and time. DuckDB reads and sorts, on disk if memory is too small. Our own
 * writer writes, so the files have the sink's format. They are read back and compared before they can be listed.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type DuckDBConnection,
  DuckDBDecimalValue,
  DuckDBInstance,
  type DuckDBListValue,
  DuckDBTimestampTZValue,
} from '@duckdb/node-api';
import { damaged } from '../../../core/archive/damaged.ts';
import type { ListedObject } from '../../../core/archive/listing/objects.ts';
import { fileColumn } from '../../../core/archive/reading/views.ts';
import { tables } from '../../../core/archive/rows/tables.ts';
import type { FileValue } from '../../../core/archive/writing/source-columns.ts';
import { type Form, formOf, ParquetFile } from '../../../core/archive/writing/writer.ts';
import { MillraceError } from '../../../core/base/errors.ts';
import {
  addRowHashes,
  type ColumnValue,
  duckdbHash,
  duckdbSum,
  formatRowHash,
  RowHash,
} from '../../../core/values/rowhash/rowhash.ts';
import { sha256Of } from '../../../core/values/sha256.ts';
import { literal, quoted } from '../../../core/values/sql.ts';
import { cutsOf, type Group, sumOf } from '../plan/groups.ts';
import { type FoundColumn, type Shape, shapesOf } from './shape.ts';

export interface RewriteOptions {
  readonly group: Group;
  /** Local files with the bytes of the objects. */
  readonly inputs: readonly { readonly object: ListedObject; readonly path: string }[];
  /** Offset of the plan, written into the metadata. */
  readonly plan: bigint;
  /** Approximate bytes of the inputs that go into one file. */
  readonly targetBytes: bigint;
  /** Folder for the new files and for DuckDB's spill; the caller removes it. */
  readonly dir: string;
  readonly signal: AbortSignal;
  readonly onRows?: (rows: number) => void;
}

/** A new file on local disk. */
export interface RewrittenFile {
  readonly path: string;
  readonly firstOffset: bigint;
  readonly lastOffset: bigint;
  readonly rows: number;
  readonly rowHash: string;
  readonly bytes: number;
  readonly sha256: string;
}

/** Together with the current file, its row group and the client's heap it stays below 512 MiB. */
const duckdbMemory = '96MB';

/**
 * Writes the files. The bytes depend only on the inputs, the plan and the target. Rows are sorted by venue, symbol, interval of a derived
 * record, event time and offset; nulls come first.
 *
 * @throws MillraceError ARCHIVE_DAMAGED: the rows of an input differ from its record. COMPACTION_FAILED: the written rows differ from those
 *   that were read.
 */
export async function rewrite(options: RewriteOptions): Promise<readonly RewrittenFile[]> {
  const instance = await DuckDBInstance.create(':memory:');
  const db = await instance.connect();
  try {
    await db.run(
      `SET TimeZone = 'UTC'; SET threads = 1; SET memory_limit = '${duckdbMemory}'; SET temp_directory = '${options.dir}'`,
    );
    return await new Rewriter(db, options).run();
  } finally {
    db.closeSync();
    instance.closeSync();
  }
}

class Rewriter {
  readonly #db: DuckDBConnection;
  readonly #options: RewriteOptions;
  readonly #written: RewrittenFile[] = [];

  constructor(db: DuckDBConnection, options: RewriteOptions) {
    this.#db = db;
    this.#options = options;
  }

  async run(): Promise<readonly RewrittenFile[]> {
    const { inputs, signal } = this.#options;
    for (const shape of await this.#shapes()) {
      signal.throwIfAborted();
      const paths = shape.files.map((index) => inputs[index]?.path ?? '');
      const before = await this.#hashes(shape, paths);
      for (const index of shape.files) this.#requireAsRecorded(index, before);
      const written = await this.#write(shape, paths);
      const after = await this.#hashes(
        shape,
        written.map(({ path }) => path),
      );
      this.#requireEqual(before, after, written);
      this.#written.push(...written);
    }
    return this.#written;
  }

  async #shapes(): Promise<readonly Shape[]> {
    const paths = this.#options.inputs.map(({ path }) => path);
    const byPath = new Map(paths.map((path, index) => [path, index]));
    const columns: FoundColumn[] = [];
    const rows = await this.#query(
      `SELECT file_name, name, duckdb_type FROM parquet_schema(${list(paths)}) WHERE num_children IS NULL ORDER BY file_name, column_id`,
    );
    for (const { file_name, name, duckdb_type } of rows) {
      columns.push({ file: byPath.get(String(file_name)) ?? 0, name: String(name), type: String(duckdb_type) });
    }
    return shapesOf(
      columns.sort((a, b) => a.file - b.file),
      tables[this.#options.group.topic].columns,
    );
  }

  /** For each file: its row count, the row hash, and DuckDB's own hash over all columns, lineage included. */
  async #hashes({ columns, data }: Shape, paths: readonly string[]): Promise<ReadonlyMap<string, Hashes>> {
    const rows = await this.#query(
      `SELECT ${quoted(fileColumn)} AS path, count(*) AS n, ${duckdbHash.sum(data)} AS hash, ${duckdbSum(`hash(${columns.map(({ name }) => quoted(name)).join(', ')})`)} AS whole
         FROM read_parquet(${list(paths)}, filename = ${literal(fileColumn)}, hive_partitioning = false) GROUP BY ${quoted(fileColumn)}`,
    );
    return new Map(
      rows.map(({ path, n, hash, whole }) => [
        String(path),
        { rows: n as bigint, hash: BigInt(String(hash)), whole: BigInt(String(whole)) },
      ]),
    );
  }

  #requireAsRecorded(index: number, hashes: ReadonlyMap<string, Hashes>): void {
    const { object, path } = this.#options.inputs[index] as RewriteOptions['inputs'][number];
    const found = hashes.get(path) ?? { rows: 0n, hash: 0n };
    if (found.rows === object.rows && formatRowHash(found.hash) === object.row_hash) return;
    throw damaged(
      `${object.key} has ${found.rows} rows with row hash ${formatRowHash(found.hash)}, its record says ${object.rows} with ${object.row_hash}`,
    );
  }

  async #write(shape: Shape, paths: readonly string[]): Promise<RewrittenFile[]> {
    const { signal, onRows } = this.#options;
    const { columns } = shape;
    const { rows, bytes } = sumOf(shape.files.map((index) => this.#options.inputs[index]?.object as ListedObject));
    const rowsPerFile = Number(ceil(rows, ceil(bytes, this.#options.targetBytes)));
    const metadata = await this.#commonMetadata(paths);
    const sortedBy = this.#order(shape);
    const result = await this.#db.stream(
      `SELECT ${columns.map(({ name }) => quoted(name)).join(', ')} FROM read_parquet(${list(paths)}, hive_partitioning = false)
        ORDER BY ${sortedBy.map((name) => `${quoted(name)} NULLS FIRST`).join(', ')}`,
    );
    const written: RewrittenFile[] = [];
    let file: FileInProgress | undefined;
    for await (const portion of result.yieldRows()) {
      signal.throwIfAborted();
      for (const values of portion) {
        file ??= new FileInProgress(shape, formOf(this.#options.group.writerVersion), sortedBy);
        file.add(values);
        if (file.rows === rowsPerFile) {
          written.push(await this.#finish(shape, file, written.length, metadata, sortedBy));
          file = undefined;
        }
      }
      onRows?.(portion.length);
    }
    if (file !== undefined) written.push(await this.#finish(shape, file, written.length, metadata, sortedBy));
    return written;
  }

  /** Key, then time, so that rows that are read together lie together. The offset makes the order total. */
  #order({ columns }: Shape): readonly string[] {
    const { eventTime } = tables[this.#options.group.topic];
    const wanted = ['venue', 'symbol', 'interval', eventTime ?? '_source_time', '_offset'];
    return wanted.filter((name) => columns.some((column) => column.name === name));
  }

  async #finish(
    shape: Shape,
    file: FileInProgress,
    index: number,
    common: Readonly<Record<string, string>>,
    sortedBy: readonly string[],
  ): Promise<RewrittenFile> {
    const { group, plan, dir, inputs } = this.#options;
    const { firstOffset, lastOffset, rows, rowHash } = file;
    const bytes = file.finish({
      ...common,
      'millrace.topic': group.topic,
      'millrace.partition': String(group.partition),
      'millrace.first_offset': firstOffset.toString(),
      'millrace.last_offset': lastOffset.toString(),
      'millrace.schema_id': String(group.schemaId),
      'millrace.writer_version': String(group.writerVersion),
      'millrace.row_hash': rowHash,
      'millrace.plan': plan.toString(),
      'millrace.cuts': cutsOf(shape.files.map((each) => inputs[each]?.object as ListedObject)),
      'millrace.sorted_by': sortedBy.join(','),
    });
    const path = join(dir, `new-${this.#written.length + index}.parquet`);
    await writeFile(path, bytes);
    const sha256 = sha256Of(bytes);
    return { path, firstOffset, lastOffset, rows, rowHash, bytes: bytes.length, sha256 };
  }

  /** Metadata with one value in all footers, and the union of their schema ids. */
  async #commonMetadata(paths: readonly string[]): Promise<Readonly<Record<string, string>>> {
    const found = await this.#query(
      `SELECT decode(key) AS name, list(DISTINCT decode(value)) AS texts, count(*) AS n FROM parquet_kv_metadata(${list(paths)})
        GROUP BY 1 ORDER BY 1`,
    );
    const common: Record<string, string> = {};
    for (const { name, texts, n } of found) {
      const values = (texts as DuckDBListValue).items.map(String);
      const everywhere = n === BigInt(paths.length);
      if (name === 'millrace.schema_ids' && everywhere) common[name] = unionOf(values);
      else if (everywhere && values.length === 1) common[String(name)] = values[0] as string;
    }
    return common;
  }

  #requireEqual(
    before: ReadonlyMap<string, Hashes>,
    after: ReadonlyMap<string, Hashes>,
    written: RewrittenFile[],
  ): void {
    for (const { path, rows, rowHash } of written) {
      const found = after.get(path);
      if (found?.rows === BigInt(rows) && formatRowHash(found.hash) === rowHash) continue;
      throw failed(`a new file is to have ${rows} rows with row hash ${rowHash}, and DuckDB reads others from it`);
    }
    const [was, is] = [totalOf(before), totalOf(after)];
    if (was.rows !== is.rows || was.hash !== is.hash || was.whole !== is.whole) {
      throw failed(
        `${was.rows} rows with row hash ${formatRowHash(was.hash)} were read, ${is.rows} with ${formatRowHash(is.hash)} written${was.hash === is.hash ? '; only their lineage differs' : ''}`,
      );
    }
  }

  async #query(sql: string): Promise<Record<string, unknown>[]> {
    return (await this.#db.runAndReadAll(sql)).getRowObjects();
  }
}

interface Hashes {
  readonly rows: bigint;
  readonly hash: bigint;
  readonly whole: bigint;
}

class FileInProgress {
  readonly #file: ParquetFile;
  /** DuckDB returns a new string for each row. Consecutive equal strings share one, to save memory. */
  readonly #last: FileValue[] = [];
  readonly #hash = new RowHash();
  readonly #data: Shape['data'];
  readonly #offsetAt: number;
  firstOffset = 2n ** 63n - 1n;
  lastOffset = 0n;

  constructor({ columns, data }: Shape, form: Form, sortedBy: readonly string[]) {
    this.#file = new ParquetFile(columns, form, sortedBy);
    this.#data = data;
    this.#offsetAt = columns.findIndex(({ name }) => name === '_offset');
  }

  get rows(): number {
    return this.#hash.rows;
  }

  get rowHash(): string {
    return this.#hash.toString();
  }

  /** @param values as DuckDB gives them */
  add(values: readonly unknown[]): void {
    const row = values.map((value, i) => {
      const read = fileValue(value);
      if (read === this.#last[i]) return this.#last[i] ?? null;
      this.#last[i] = read;
      return read;
    });
    this.#file.add(row);
    this.#hash.add(
      this.#data,
      this.#data.map(({ at }) => (row[at] ?? null) as ColumnValue),
    );
    const offset = row[this.#offsetAt] as bigint;
    if (offset < this.firstOffset) this.firstOffset = offset;
    if (offset > this.lastOffset) this.lastOffset = offset;
  }

  finish(metadata: Readonly<Record<string, string>>): Buffer {
    return this.#file.finish(metadata);
  }
}

/** The bytes of a written file. @throws MillraceError COMPACTION_FAILED: they are no longer those that were checked */
export async function bytesOf({ path, sha256 }: RewrittenFile): Promise<Buffer> {
  const bytes = await readFile(path);
  if (sha256Of(bytes) === sha256) return bytes;
  throw failed(`${path} was changed while it waited for its upload`);
}

function fileValue(value: unknown): FileValue {
  if (value instanceof DuckDBDecimalValue) return value.value;
  if (value instanceof DuckDBTimestampTZValue) return value.micros;
  return value as FileValue;
}

function totalOf(hashes: ReadonlyMap<string, Hashes>): Hashes {
  let [rows, hash, whole] = [0n, 0n, 0n];
  for (const each of hashes.values()) {
    rows += each.rows;
    hash = addRowHashes(hash, each.hash);
    whole = addRowHashes(whole, each.whole);
  }
  return { rows, hash, whole };
}

/** The union of lists of numbers, in order. */
function unionOf(lists: readonly string[]): string {
  const ids = lists.flatMap((text) => text.split(',').map(Number));
  return [...new Set(ids)].sort((a, b) => a - b).join(',');
}

function list(paths: readonly string[]): string {
  return `[${paths.map(literal).join(', ')}]`;
}

function ceil(a: bigint, b: bigint): bigint {
  return (a + b - 1n) / b;
}

function failed(message: string): MillraceError {
  return new MillraceError('COMPACTION_FAILED', message, {
    remedy: 'the files stay as they are; see runbooks/errors/COMPACTION_FAILED.md',
  });
}
