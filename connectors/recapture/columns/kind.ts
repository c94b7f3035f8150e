/** The shape of one conversion: a type of Postgres as Debezium writes it. */

export interface Pair {
  /** From the held type's text. @throws MillraceError BAD_RECORD for a value that Debezium cannot write */
  toAvro(text: string): unknown;
  /** Back to the held type's text. */
  toText(value: unknown): string;
}

/**
 * Rows are compared in SQL by the held type. It is the column's own type where Debezium keeps the value whole, and otherwise a type that
 * has exactly what Debezium keeps.
 */
export interface Kind {
  /** Type in which both sides are held. Default: the column's own. */
  readonly held?: string;
  /** The column as its held type, in SQL; null for null. Default: as it is. */
  readonly sql?: (column: string) => string;
  /** Undefined: Debezium does not write the type as this Avro type. */
  readonly pair: (avro: AvroShape, modifier: number) => Pair | undefined;
  /** The same for elements of an array, where Debezium converts them otherwise. */
  readonly element?: Omit<Kind, 'element'>;
}

export interface AvroShape {
  /** `record` for every named type. */
  readonly base: string;
  readonly logicalType?: string;
  readonly precision?: number;
  readonly scale?: number;
  /** Schema of an array's elements. */
  readonly items?: unknown;
}

/** A column's type as the catalog has it, domains resolved. */
export interface ColumnType {
  /** `format_type` with the modifier -1; `enum` for each enumeration; `citext`, `hstore`, `ltree` without a schema; `…[]` for arrays. */
  readonly type: string;
  /** `atttypmod`; -1 for none. Of a domain, its own. */
  readonly modifier: number;
}

/** For people: the catalog quotes names that would mean something else with a modifier. */
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
