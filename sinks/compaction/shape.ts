import { lineageColumns } from '../../core/archive/tables.ts';
import { MillraceError } from '../../core/errors.ts';
import type { ColumnType, TypedColumn } from '../../core/rowhash.ts';

/** Files with the same columns: their rows can be in one file as they are. */
export interface Shape {
  /** In the order of the file, lineage included. */
  readonly columns: readonly TypedColumn[];
  /** Those that the row hash covers. */
  readonly data: readonly TypedColumn[];
  /** Indexes of the files, in their order. */
  readonly files: readonly number[];
}

/** A column as DuckDB says the file has it. */
export interface FileColumn {
  readonly file: number;
  readonly name: string;
  /** In DuckDB's words. */
  readonly type: string;
}

const lineage = new Set(lineageColumns.map(({ name }) => name));

/**
 * Files by their columns, in the order of each shape's first file.
 *
 * @param found file by file, in the order of the columns
 * @throws MillraceError COMPACTION_FAILED: a column that the archive does not write.
 */
export function shapesOf(found: readonly FileColumn[]): readonly Shape[] {
  const files = new Map<number, FileColumn[]>();
  for (const column of found) {
    const own = files.get(column.file);
    if (own === undefined) files.set(column.file, [column]);
    else own.push(column);
  }
  const shapes = new Map<string, { columns: TypedColumn[]; files: number[] }>();
  for (const [file, own] of files) {
    const id = JSON.stringify(own.map(({ name, type }) => [name, type]));
    const shape = shapes.get(id) ?? { columns: own.map(typedColumn), files: [] };
    shape.files.push(file);
    shapes.set(id, shape);
  }
  return [...shapes.values()].map((shape) => ({
    ...shape,
    data: shape.columns.filter(({ name }) => !lineage.has(name)),
  }));
}

function typedColumn({ name, type }: FileColumn): TypedColumn {
  return { name, type: typeOf(name, type) };
}

function typeOf(name: string, type: string): ColumnType {
  const decimal = /^DECIMAL\((\d+),(\d+)\)$/.exec(type);
  if (decimal !== null) return { kind: 'decimal', precision: Number(decimal[1]), scale: Number(decimal[2]) };
  switch (type) {
    case 'VARCHAR':
      return { kind: 'text' };
    case 'INTEGER':
      return { kind: 'int' };
    case 'BIGINT':
      return { kind: 'long' };
    case 'TIMESTAMP WITH TIME ZONE':
      return { kind: 'timestamp' };
    default:
      throw new MillraceError('COMPACTION_FAILED', `the column ${name} is ${type}, which the archive does not write`, {
        remedy: 'run a newer version of Millrace, which knows the column; the files stay as they are until then',
      });
  }
}
