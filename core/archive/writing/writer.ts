/**
 * Rows to Parquet bytes. The bytes are a function of the rows, the schema id and the writer version alone: columns and their encodings,
 * row-group size, page size and compression level are fixed here, rows come in offset order, and there is no date or host in the footer.
 * Whoever changes any of this makes a new writer version and keeps the old one, because a planned cut names the version it is to be
 * written by.
 *
 * Compression is Node's zstd. Another zstd may give other bytes for the same rows, so `writerBuild` names it and an object of another
 * build is compared by its row hash.
 */
import type { RowGroup, SchemaElement } from 'hyparquet';
import { ByteWriter } from 'hyparquet-writer';
import { writeIndexes } from 'hyparquet-writer/src/indexes.js';
import { writeMetadata } from 'hyparquet-writer/src/metadata.js';
import { type Written, writeChunk } from './chunk.ts';
import { columnData, DecimalData, decimalBytes, LongData } from './column-data.ts';
import type { FileColumn, FileValue } from './source-columns.ts';
import { TextData } from './text-data.ts';
import type { Vector } from './vector.ts';

/** What a writer version puts into a file. */
export interface Form {
  readonly version: number;
  /** Columns that the source has and our schemas do not; the footer says which schemas the rows were written by. */
  readonly sourceColumns: boolean;
  /** The row before each change. */
  readonly before: boolean;
}

/** Every form that a planned cut may name. */
export const forms: readonly Form[] = Object.freeze([
  { version: 1, sourceColumns: false, before: false },
  { version: 2, sourceColumns: true, before: false },
  { version: 3, sourceColumns: true, before: true },
]);

export const flattened = forms[1] as Form;
export const changeLog = forms[2] as Form;

/** @throws RangeError */
export function formOf(version: number): Form {
  const form = forms.find((each) => each.version === version);
  if (form === undefined) throw new RangeError(`there is no writer version ${version}`);
  return form;
}

/** What decides the bytes beside the rows and the schema. */
export function buildOf({ version }: Form): string {
  return `${version}/zstd-${process.versions['zstd'] ?? 'unknown'}`;
}

/** One row group's columns are in memory while it is filled. */
const rowGroupRows = 50_000;

/** What a Parquet file begins and ends with, little endian. */
const magic = 0x31524150;

/** A column and its place in the row. */
interface ColumnSlot<T> {
  readonly at: number;
  readonly data: T;
}

/** One object in the making. Not its job: deciding which rows are in it. */
export class ParquetFile {
  readonly #columns: readonly FileColumn[];
  readonly #form: Form;
  readonly #bytes = new ByteWriter(1 << 16);
  readonly #sorting: RowGroup['sorting_columns'] & object;
  readonly #data: readonly Vector[];
  /** The same by their kind: where a call has one target, what is done per value has no cost of a call. */
  readonly #texts: ColumnSlot<TextData>[] = [];
  readonly #longs: ColumnSlot<LongData>[] = [];
  readonly #decimals: ColumnSlot<DecimalData>[] = [];
  readonly #others: ColumnSlot<Vector>[] = [];
  readonly #groups: RowGroup[] = [];
  readonly #written: Written[] = [];
  #rows = 0;
  #buffered = 0;

  /** @param sortedBy columns whose order the rows come in, nulls first; the footer says so. Default: none. */
  constructor(columns: readonly FileColumn[], form: Form = flattened, sortedBy: readonly string[] = []) {
    this.#columns = columns;
    this.#form = form;
    this.#sorting = sortedBy.map((name) => ({
      column_idx: columns.findIndex((column) => column.name === name),
      descending: false,
      nulls_first: true,
    }));
    this.#data = columns.map(columnData);
    for (const [at, data] of this.#data.entries()) {
      if (data instanceof TextData) this.#texts.push({ at, data });
      else if (data instanceof LongData) this.#longs.push({ at, data });
      else if (data instanceof DecimalData) this.#decimals.push({ at, data });
      else this.#others.push({ at, data });
    }
    this.#bytes.appendUint32(magic);
  }

  /** @param row values in the order of the columns */
  add(row: readonly FileValue[]): void {
    for (const { at, data } of this.#texts) data.add(row[at] ?? null);
    for (const { at, data } of this.#longs) data.add(row[at] ?? null);
    for (const { at, data } of this.#decimals) data.add(row[at] ?? null);
    for (const { at, data } of this.#others) data.add(row[at] ?? null);
    if (++this.#buffered === rowGroupRows) this.#flush();
  }

  /** @param metadata kept in the footer */
  finish(metadata: Readonly<Record<string, string>>): Buffer {
    if (this.#buffered > 0) this.#flush();
    writeIndexes(this.#bytes, this.#written);
    writeMetadata(this.#bytes, {
      version: 2,
      created_by: `millrace parquet writer ${this.#form.version}`,
      schema: schemaOf(this.#columns),
      num_rows: BigInt(this.#rows),
      row_groups: this.#groups,
      key_value_metadata: Object.entries(metadata).map(([key, value]) => ({ key, value })),
      metadata_length: 0, // of a file that is read
    });
    this.#bytes.appendUint32(magic);
    return Buffer.from(this.#bytes.getBytes());
  }

  #flush(): void {
    const start = this.#bytes.offset;
    const written = this.#columns.map(({ name }, i) => writeChunk(this.#bytes, name, this.#data[i] as Vector));
    const columns = written.map(({ chunk }) => chunk);
    this.#groups.push({
      columns,
      total_byte_size: columns.reduce((sum, { meta_data }) => sum + (meta_data?.total_uncompressed_size ?? 0n), 0n),
      num_rows: BigInt(this.#buffered),
      total_compressed_size: BigInt(this.#bytes.offset - start),
      ...(this.#sorting.length > 0 ? { sorting_columns: this.#sorting } : {}),
    });
    this.#written.push(...written);
    for (const data of this.#data) data.clear();
    this.#rows += this.#buffered;
    this.#buffered = 0;
  }
}

function schemaOf(columns: readonly FileColumn[]): SchemaElement[] {
  return [{ name: 'root', num_children: columns.length }, ...columns.map(elementOf)];
}

/** All columns are nullable, so that a column which comes or goes does not change the others' types. */
function elementOf({ name, type }: FileColumn): SchemaElement {
  const optional = { name, repetition_type: 'OPTIONAL' } as const;
  switch (type.kind) {
    case 'text':
      return { ...optional, type: 'BYTE_ARRAY', converted_type: 'UTF8', logical_type: { type: 'STRING' } };
    case 'int':
      return { ...optional, type: 'INT32' };
    case 'long':
      return { ...optional, type: 'INT64' };
    case 'boolean':
      return { ...optional, type: 'BOOLEAN' };
    case 'double':
      return { ...optional, type: 'DOUBLE' };
    case 'timestamp':
      return {
        ...optional,
        type: 'INT64',
        converted_type: 'TIMESTAMP_MICROS',
        logical_type: { type: 'TIMESTAMP', isAdjustedToUTC: true, unit: 'MICROS' },
      };
    case 'decimal': {
      const { precision, scale } = type;
      return {
        ...optional,
        type: 'FIXED_LEN_BYTE_ARRAY',
        type_length: decimalBytes,
        precision,
        scale,
        converted_type: 'DECIMAL',
        logical_type: { type: 'DECIMAL', precision, scale },
      };
    }
  }
}
