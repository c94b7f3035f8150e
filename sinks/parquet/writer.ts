/**
 * Rows to Parquet bytes. The bytes are a function of the rows, the schema id and the writer version alone: columns and their encodings,
 * row-group size, page size and compression level are fixed here, rows come in offset order, and there is no date or host in the footer.
 * Whoever changes any of this makes a new writer version and keeps the old one, because a planned cut names the version it is to be
 * written by.
 *
 * Compression is Node's zstd. Another zstd may give other bytes for the same rows, so `writerBuild` names it and an object of another
 * build is compared by its row hash.
 */
import { zstdCompressSync } from 'node:zlib';
import type { SchemaElement } from 'hyparquet';
import { ByteWriter, ParquetWriter } from 'hyparquet-writer';
import type { ColumnValue, TypedColumn } from '../../core/rowhash.ts';

export const writerVersion = 1;
export const writerVersions: readonly number[] = [1];
export const writerBuild = `${writerVersion}/zstd-${process.versions['zstd'] ?? 'unknown'}`;

const createdBy = 'millrace parquet writer 1';
/** One row group's columns are in memory while it is filled. */
const rowGroupRows = 50_000;
const pageBytes = 1 << 20;

const compressors = { ZSTD: (bytes: Uint8Array): Uint8Array => zstdCompressSync(bytes) };

/** One object in the making. Not its job: deciding which rows are in it. */
export class ParquetFile {
  readonly #columns: readonly TypedColumn[];
  readonly #bytes = new ByteWriter(1 << 16);
  readonly #file: ParquetWriter;
  #data: ColumnValue[][];
  #buffered = 0;

  constructor(columns: readonly TypedColumn[]) {
    this.#columns = columns;
    this.#data = columns.map(() => []);
    this.#file = new ParquetWriter({
      writer: this.#bytes,
      schema: schemaOf(columns),
      codec: 'ZSTD',
      compressors,
      createdBy,
    });
  }

  /** @param row values in the order of the columns */
  add(row: readonly ColumnValue[]): void {
    for (let i = 0; i < this.#data.length; i++) this.#data[i]?.push(row[i] ?? null);
    if (++this.#buffered === rowGroupRows) this.#flush();
  }

  /** @param metadata kept in the footer */
  finish(metadata: Readonly<Record<string, string>>): Buffer {
    if (this.#buffered > 0) this.#flush();
    this.#file.kvMetadata = Object.entries(metadata).map(([key, value]) => ({ key, value }));
    this.#file.finish();
    return Buffer.from(this.#bytes.getBytes());
  }

  #flush(): void {
    const columnData = this.#columns.map(({ name }, i) => ({ name, data: this.#data[i] ?? [] }));
    this.#file.write({ columnData, rowGroupSize: rowGroupRows, pageSize: pageBytes });
    this.#data = this.#columns.map(() => []);
    this.#buffered = 0;
  }
}

function schemaOf(columns: readonly TypedColumn[]): SchemaElement[] {
  return [{ name: 'root', num_children: columns.length }, ...columns.map(elementOf)];
}

/** All columns are nullable, so that a column which comes or goes does not change the others' types. */
function elementOf({ name, type }: TypedColumn): SchemaElement {
  const optional = { name, repetition_type: 'OPTIONAL' } as const;
  switch (type.kind) {
    case 'text':
      return { ...optional, type: 'BYTE_ARRAY', converted_type: 'UTF8', logical_type: { type: 'STRING' } };
    case 'int':
      return { ...optional, type: 'INT32' };
    case 'long':
      return { ...optional, type: 'INT64' };
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
        type_length: 16,
        converted_type: 'DECIMAL',
        precision,
        scale,
        logical_type: { type: 'DECIMAL', precision, scale },
      };
    }
  }
}
