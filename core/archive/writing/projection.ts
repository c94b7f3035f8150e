import { MillraceError } from '../../base/errors.ts';
import { pow10 } from '../../values/decimal.ts';
import { pathColumns } from '../reading/views.ts';
import type { Column } from '../rows/columns.ts';
import { lineageColumns, lineageOfVersion, type Table } from '../rows/tables.ts';
import type { TableDecoder } from './decoder.ts';
import {
  type FileColumn,
  type FileType,
  type FileValue,
  type SourceColumn,
  widened,
  widening,
} from './source-columns.ts';
import type { Form } from './writer.ts';

type Read = (record: object) => FileValue;

/** What the rows of one schema id are read by, in the order of the projection's own columns. */
export interface Reading {
  /** The table's own columns, from the row. They throw BAD_RECORD for a decimal that the column does not hold. */
  readonly own: readonly Read[];
  /** Columns that the table does not have, from the row. */
  readonly source: readonly Read[];
  /** The row before the change: the table's columns, then those of the source. Empty unless the form has them. */
  readonly before: readonly Read[];
}

/**
 * The columns of a cut's files, a function of the table, the form and the schema ids in the cut's range alone: the table's own, then the
 * source's further ones, then the row before the change, then the lineage.
 *
 * The newest schema id comes first and says in which order; columns that only older ones have follow, so that what was dropped in the middle
 * of a cut keeps its values. Columns of one name get the narrowest type that holds the values of all.
 */
export class Projection {
  readonly columns: readonly FileColumn[];
  /** Schema ids of the range whose records can be read, ascending. */
  readonly schemaIds: readonly number[];
  readonly #readings = new Map<number, Reading>();

  constructor(table: Table, decoder: TableDecoder, ids: Iterable<number>, form: Form) {
    const known = [...ids].flatMap((id) => {
      const columns = decoder.columnsOf(id);
      return columns === undefined ? [] : [{ id, columns: form.sourceColumns ? columns : [] }];
    });
    known.sort((a, b) => b.id - a.id);
    this.schemaIds = known.map(({ id }) => id).reverse();
    const merged = merge(known.map(({ columns }) => columns));
    const names = new Names([...table.columns, ...lineageColumns].map(({ name }) => name));
    const source = [...merged].map(([name, type]) => ({ name: names.take(name), type }));
    const images = form.before && table.before !== undefined ? [...table.columns, ...source] : [];
    const before = images.map(({ name, type }) => ({ name: names.take(`before_${name}`), type }));
    this.columns = [...table.columns, ...source, ...before, ...lineageOfVersion(form.version)];
    const own = table.columns.map(fitting);
    for (const { id, columns } of known) {
      const reads = [...merged].map(([name, type]) =>
        reading(
          columns.find((column) => column.name === name),
          type,
        ),
      );
      this.#readings.set(id, { own, source: reads, before: images.length === 0 ? [] : [...own, ...reads] });
    }
  }

  /** @throws MillraceError SCHEMA_UNKNOWN for an id that came to be known after the projection was made */
  reading(id: number): Reading {
    const found = this.#readings.get(id);
    if (found === undefined)
      throw new MillraceError('SCHEMA_UNKNOWN', `the registry did not know schema ${id} when the cut was begun`);
    return found;
  }
}

/** Every column that one of the writers has, the newest writer's first. */
function merge(writers: readonly (readonly SourceColumn[])[]): ReadonlyMap<string, FileType> {
  const merged = new Map<string, FileType>();
  for (const columns of writers) {
    for (const { name, type } of columns) {
      const other = merged.get(name);
      merged.set(name, other === undefined ? type : widened(other, type));
    }
  }
  return merged;
}

function fitting({ name, type, read }: Column): Read {
  if (type.kind !== 'decimal') return read;
  const { precision } = type;
  const bound = pow10(precision);
  return (record) => {
    const value = read(record) as bigint | null;
    if (value === null || (value < bound && value > -bound)) return value;
    throw new MillraceError('BAD_RECORD', `${name} has more than ${precision} digits`);
  };
}

function reading(column: SourceColumn | undefined, to: FileType): Read {
  if (column === undefined) return () => null;
  const widen = widening(column.type, to);
  return (record) => {
    const value = column.read(record);
    return value === null ? null : widen(value);
  };
}

/** Names that differ in more than case, as SQL wants them: whoever comes second gets an underscore. */
class Names {
  readonly #taken: Set<string>;

  constructor(taken: readonly string[]) {
    this.#taken = new Set([...taken, ...pathColumns].map((name) => name.toLowerCase()));
  }

  take(wanted: string): string {
    let name = wanted;
    while (this.#taken.has(name.toLowerCase())) name += '_';
    this.#taken.add(name.toLowerCase());
    return name;
  }
}
