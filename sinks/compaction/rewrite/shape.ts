import type { FileColumn, FileType } from '../../../core/archive/writing/source-columns.ts';
import { MillraceError } from '../../../core/base/errors.ts';
import type { ColumnType, TypedColumn } from '../../../core/values/rowhash/rowhash.ts';

/** Files with the same columns: their rows can be in one file as they are. */
export interface Shape {
  /** All of them, in the order of the file. */
  readonly columns: readonly FileColumn[];
  /** Those that the row hash covers, and where they are in a row. */
  readonly data: readonly (TypedColumn & { readonly at: number })[];
  /** Indexes of the files, in their order. */
  readonly files: readonly number[];
}

/** A column as DuckDB says the file has it. */
export interface FoundColumn {
  readonly file: number;
  readonly name: string;
  /** In DuckDB's words. */
  readonly type: string;
}

/**
 * Files by their columns, in the order of each shape's first file.
 *
 * @param found file by file, in the order of the columns
 * @param hashed the columns that the row hash covers, in its order; a file may be older than some of them
 * @throws MillraceError COMPACTION_FAILED: a column that the archive does not write.
 */
export function shapesOf(found: readonly FoundColumn[], hashed: readonly TypedColumn[]): readonly Shape[] {
  const files = new Map<number, FoundColumn[]>();
  for (const column of found) {
    const own = files.get(column.file);
    if (own === undefined) files.set(column.file, [column]);
    else own.push(column);
  }
  const shapes = new Map<string, { columns: readonly FileColumn[]; files: number[] }>();
  for (const [file, own] of files) {
    const id = JSON.stringify(own.map(({ name, type }) => [name, type]));
    const shape = shapes.get(id) ?? {
      columns: own.map(({ name, type }) => ({ name, type: typeOf(name, type) })),
      files: [],
    };
    shape.files.push(file);
    shapes.set(id, shape);
  }
  return [...shapes.values()].map((shape) => ({ ...shape, data: dataOf(shape.columns, hashed) }));
}

function dataOf(columns: readonly FileColumn[], hashed: readonly TypedColumn[]): Shape['data'] {
  return hashed.flatMap(({ name }) => {
    const at = columns.findIndex((column) => column.name === name);
    const type = columns[at]?.type;
    return type !== undefined && isHashed(type) ? [{ name, type, at }] : [];
  });
}

function typeOf(name: string, type: string): FileType {
  const decimal = /^DECIMAL\((\d+),(\d+)\)$/.exec(type);
  if (decimal !== null) return { kind: 'decimal', precision: Number(decimal[1]), scale: Number(decimal[2]) };
  const known = kinds[type];
  if (known !== undefined) return { kind: known };
  throw new MillraceError('COMPACTION_FAILED', `the column ${name} is ${type}, which the archive does not write`, {
    remedy: 'run the version of Millrace that wrote it, or a newer one; the files stay as they are until then',
  });
}

const kinds: Readonly<Record<string, Exclude<FileType['kind'], 'decimal'>>> = {
  VARCHAR: 'text',
  INTEGER: 'int',
  BIGINT: 'long',
  BOOLEAN: 'boolean',
  DOUBLE: 'double',
  'TIMESTAMP WITH TIME ZONE': 'timestamp',
};

function isHashed(type: FileType): type is ColumnType {
  return type.kind !== 'double';
}
