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
import { ByteWriter, ParquetWriter } from 'hyparquet-writer';
import { type ColumnData, columnData, decimalBytes } from './column-data.ts';
import type { FileColumn, FileValue } from './source-columns.ts';
import { zstd } from './zstd.ts';

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
const pageBytes = 1 << 20;

const compressors = { ZSTD: zstd };

/** One object in the making. Not its job: deciding which rows are in it. */
export class ParquetFile {
  readonly #columns: readonly FileColumn[];
  readonly #bytes = new ByteWriter(1 << 16);
  readonly #file: ParquetWriter;
  readonly #schema: SchemaElement[];
  readonly #sorting: RowGroup['sorting_columns'] & object;
  #data: ColumnData[];
  #buffered = 0;

  /** @param sortedBy columns whose order the rows come in, nulls first; the footer says so. Default: none. */
  constructor(columns: readonly FileColumn[], form: Form = flattened, sortedBy: readonly string[] = []) {
    this.#columns = columns;
    this.#sorting = sortedBy.map((name) => ({
      column_idx: columns.findIndex((column) => column.name === name),
      descending: false,
      nulls_first: true,
    }));
    this.#schema = schemaOf(columns);
    this.#data = columns.map(columnData);
    this.#file = new ParquetWriter({
      writer: this.#bytes,
      schema: this.#schema,
      codec: 'ZSTD',
      compressors,
      createdBy: `millrace parquet writer ${form.version}`,
    });
  }

  /** @param row values in the order of the columns */
  add(row: readonly FileValue[]): void {
    for (let i = 0; i < this.#data.length; i++) this.#data[i]?.add(row[i] ?? null);
    if (++this.#buffered === rowGroupRows) this.#flush();
  }

  /** @param metadata kept in the footer */
  finish(metadata: Readonly<Record<string, string>>): Buffer {
    if (this.#buffered > 0) this.#flush();
    // Not before: with it the writer would want numbers instead of bytes. It is for readers that know no logical types.
    for (const element of this.#schema) {
      if (element.logical_type?.type === 'DECIMAL') element.converted_type = 'DECIMAL';
    }
    this.#file.kvMetadata = Object.entries(metadata).map(([key, value]) => ({ key, value }));
    this.#file.finish();
    return Buffer.from(this.#bytes.getBytes());
  }

  #flush(): void {
    this.#file.write({
      columnData: this.#columns.map(({ name }, i) => ({ name, data: [], ...this.#data[i]?.source })),
      rowGroupSize: rowGroupRows,
      pageSize: pageBytes,
    });
    const group = this.#file.row_groups.at(-1);
    for (const [i, data] of this.#data.entries()) {
      const chunk = group?.columns[i]?.meta_data;
      if (chunk !== undefined) chunk.statistics = data.statistics;
    }
    if (group !== undefined && this.#sorting.length > 0) group.sorting_columns = this.#sorting;
    this.#data = this.#columns.map(columnData);
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
        logical_type: { type: 'DECIMAL', precision, scale },
      };
    }
  }
}
