/** One conversion between a Postgres type and Debezium's Avro. */

export interface Pair {
  /** Converts the text of the held type. @throws MillraceError BAD_RECORD: Debezium cannot write the value. */
  toAvro(text: string): unknown;
  /** Converts back to the text of the held type. */
  toText(value: unknown): string;
}

/**
 * Rows are compared in SQL by the held type. It is the column's own type if Debezium keeps the value whole. Otherwise it is a type with
 * exactly the information that Debezium keeps.
 */
export interface Kind {
  /** Type in which both sides are compared. Default: the column's own. */
  readonly held?: string;
  /** SQL that casts the column to its held type; null stays null. Default: the column itself. */
  readonly sql?: (column: string) => string;
  /** Conversion for an Avro type; undefined when Debezium does not write the column as this Avro type. */
  readonly pair: (avro: AvroShape, modifier: number) => Pair | undefined;
  /** Kind of array elements, if Debezium converts them differently. */
  readonly element?: Omit<Kind, 'element'>;
}

export interface AvroShape {
  /** Avro type name; `record` for every named type. */
  readonly base: string;
  readonly logicalType?: string;
  readonly precision?: number;
  readonly scale?: number;
  /** Schema of the array's elements. */
  readonly items?: unknown;
}

/** A column's type in the catalog, with domains resolved. */
export interface ColumnType {
  /** `format_type` with modifier -1; `enum` for any enumeration; `citext`, `hstore`, `ltree` without schema; `…[]` for arrays. */
  readonly type: string;
  /** `atttypmod`; -1 for none. A domain has its own modifier. */
  readonly modifier: number;
}

/** Display name of a type: the catalog quotes names that would have another meaning with a modifier. */
export function typeName(type: string): string {
  return type.replaceAll('"', '');
}

const primitives = new Set(['null', 'boolean', 'int', 'long', 'float', 'double', 'bytes', 'string']);

export function avroShape(type: unknown): AvroShape {
  const bare = Array.isArray(type) ? type.find((each) => each !== 'null') : type;
  if (typeof bare === 'object' && bare !== null) {
    const { type: base, ...rest } = bare as { type: string };
    return { base, ...rest };
  }
  return { base: primitives.has(bare as string) ? (bare as string) : 'record' };
}
