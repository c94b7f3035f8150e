import type { FileColumn, FileType } from '../../../core/archive/writing/source-columns.ts';
import { MillraceError } from '../../../core/base/errors.ts';
import type { ColumnType, TypedColumn } from '../../../core/values/rowhash/rowhash.ts';

/** Files with the same columns, whose rows can share one file unchanged. */
export interface Shape {
  /** All columns, in the order of the file. */
  readonly columns: readonly FileColumn[];
  /** The columns that the row hash covers, with their indexes in a row. */
  readonly data: readonly (TypedColumn & { readonly at: number })[];
  /** Indexes of the files, in order. */
  readonly files: readonly number[];
}

/** A column as DuckDB describes it. */
export interface FoundColumn {
  readonly file: number;
  readonly name: string;
  /** DuckDB's name of the type. */
  readonly type: string;
}

/**
 * Groups files by their columns, in the order of each shape's first file.
 *
 * @param found the columns of each file, in order
 * @param hashed the columns that the row hash covers, in its order; an older file may lack some of them
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
