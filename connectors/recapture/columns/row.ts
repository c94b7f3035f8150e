/**
 * Conversion of a row between Postgres' text (UTC, ISO dates) and Debezium's Avro, column by column, with the settings of the definitions
 * (kinds.ts).
 */
import { type AvroShape, avroShape, type ColumnType, type Pair, typeName } from './kind.ts';
import { kinds } from './kinds.ts';

export type Text = string | null;

export interface RowColumn extends Pair {
  readonly name: string;
  /** Postgres type in which both sides are compared. */
  readonly type: string;
  /** SQL that casts the table's column to that type. */
  sql(column: string): string;
}

/** A column that cannot be written as Debezium writes it. */
export interface RefusedColumn {
  readonly name: string;
  readonly reason: string;
  readonly remedy: string;
}

interface AvroField {
  readonly name: string;
  readonly type: unknown;
}

/**
 * The columns that both the row's Avro record and the table have, in the order of the record. A column that only the table has was never
 * captured. A column that only the record has was dropped. It must have a default, which the encoder writes.
 *
 * @param envelope registered value schema of a capture topic.
 * @param types column types of the table by name.
 */
export function rowColumns(
  envelope: object,
  types: ReadonlyMap<string, ColumnType>,
): { readonly columns: readonly RowColumn[]; readonly refused: readonly RefusedColumn[] } {
  const columns: RowColumn[] = [];
  const refused: RefusedColumn[] = [];
  for (const field of rowFields(envelope)) {
    const { name } = field;
    const type = types.get(name);
    const column = type && columnOf(name, avroShape(field.type), type);
    if (column !== undefined) columns.push(column);
    else if (type !== undefined) refused.push({ name, ...mismatch(avroShape(field.type), type.type) });
    else if (!('default' in field)) {
      refused.push({
        name,
        reason: 'was captured, has no default and is not in the table any more',
        remedy: 'Add the column again, with any value, until capture goes on.',
      });
    }
  }
  return { columns, refused };
}

function rowFields(envelope: object): readonly AvroField[] {
  const { fields } = envelope as { fields: readonly AvroField[] };
  const before = fields.find(({ name }) => name === 'before')?.type;
  const row = Array.isArray(before) ? before.find((each) => each !== 'null') : before;
  return (row as { fields: readonly AvroField[] }).fields;
}

function columnOf(name: string, avro: AvroShape, { type, modifier }: ColumnType): RowColumn | undefined {
  const kind = kinds.get(type);
  const pair = kind?.pair(avro, modifier);
  if (kind === undefined || pair === undefined) return undefined;
  const { held = type, sql = (column: string) => column } = kind;
  return { name, type: held, sql, ...pair };
}

function mismatch({ base, items }: AvroShape, type: string): Omit<RefusedColumn, 'name'> {
  const written = items === undefined ? base : `${base} of ${avroShape(items).base}`;
  if (!kinds.has(type)) {
    return {
      reason: `of type ${typeName(type)} is captured as Avro ${written}, and recapture does not know how Debezium converts it`,
      remedy:
        'Drop the column; add one of a type of the table in docs/reference/capture/column-types.md under another name.',
    };
  }
  return {
    reason: `is of type ${typeName(type)} now, and was captured as Avro ${written}`,
    remedy:
      'The next captured row settles it. After a lost slot: change the column back until capture goes on, or drop it.',
  };
}
