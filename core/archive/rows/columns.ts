import type { ColumnType, ColumnValue, TypedColumn } from '../../values/rowhash/rowhash.ts';

/** A column of the archive and where its value is in a decoded record. */
export interface Column extends TypedColumn {
  read(record: object): ColumnValue;
}

export interface ColumnOptions {
  /** Converts columns that the schema gives as text: a column's name to its type and parser. */
  readonly parse?: Readonly<
    Record<string, { readonly type: ColumnType; readonly value: (text: string) => ColumnValue }>
  >;
}

interface AvroField {
  readonly name: string;
  readonly type: unknown;
}

type Path = readonly string[];

/**
 * The columns of an Avro record, in schema order. Records inside it are flattened (`provenance_from_lsn`), enums and arrays (as JSON) are
 * text.
 *
 * @throws TypeError for a type that has no column yet: a schema of ours changed without the archive.
 */
export function columnsOf(schema: object, options: ColumnOptions = {}): readonly Column[] {
  return Object.freeze([...flatten(schema as { fields: readonly AvroField[] }, [], new Map(), options)]);
}

export type Named = Map<string, object>;

function* flatten(
  record: { readonly fields: readonly AvroField[] },
  prefix: Path,
  named: Named,
  options: ColumnOptions,
): Generator<Column> {
  for (const field of record.fields) {
    const path = [...prefix, field.name];
    const type = resolve(field.type, named);
    if (isRecord(type)) {
      yield* flatten(type, path, named, options);
      continue;
    }
    yield column(path, type, options);
  }
}

function column(path: Path, type: unknown, options: ColumnOptions): Column {
  const name = path.join('_');
  const get = getter(path);
  const parsed = options.parse?.[name];
  if (parsed !== undefined) {
    const { value } = parsed;
    return { name, type: parsed.type, read: (record) => ifPresent(get(record), (found) => value(found as string)) };
  }
  if (isArray(type)) {
    return { name, type: { kind: 'text' }, read: (record) => ifPresent(get(record), (found) => jsonOf(found)) };
  }
  return { name, type: scalar(name, type), read: (record) => (get(record) ?? null) as ColumnValue };
}

function getter(path: Path): (record: object) => unknown {
  const [first = '', second, ...more] = path;
  if (second === undefined) return (record) => (record as Record<string, unknown>)[first];
  const rest = getter([second, ...more]);
  return (record) => {
    const inner = (record as Record<string, object | null>)[first];
    return inner === null || inner === undefined ? null : rest(inner);
  };
}

function scalar(name: string, type: unknown): ColumnType {
  const logical =
    typeof type === 'object' && type !== null ? (type as { logicalType?: string }).logicalType : undefined;
  if (logical === 'decimal') {
    const { precision, scale } = type as { precision: number; scale?: number };
    return { kind: 'decimal', precision, scale: scale ?? 0 };
  }
  if (logical === 'timestamp-micros') return { kind: 'timestamp' };
  const plain = typeof type === 'object' && type !== null ? (type as { type?: unknown }).type : type;
  if (plain === 'string' || plain === 'enum') return { kind: 'text' };
  if (plain === 'long') return { kind: 'long' };
  if (plain === 'boolean') return { kind: 'boolean' };
  if (plain === 'int') return { kind: 'int' };
  throw new TypeError(`${name}: the archive has no column type for ${JSON.stringify(type)}`);
}

/** The type behind a nullable union or the name of a record that was defined before. */
export function resolve(type: unknown, named: Named): unknown {
  if (Array.isArray(type)) {
    const [only, ...others] = type.filter((each) => each !== 'null') as unknown[];
    if (others.length > 0) throw new TypeError('the archive has no column type for a union');
    return resolve(only, named);
  }
  if (typeof type === 'string') return named.get(type) ?? type;
  const { name } = type as { name?: string };
  if (name !== undefined) named.set(name, type as object);
  return type;
}

export function isRecord(type: unknown): type is { fields: readonly AvroField[] } {
  return typeof type === 'object' && type !== null && (type as { type?: unknown }).type === 'record';
}

function isArray(type: unknown): boolean {
  return typeof type === 'object' && type !== null && (type as { type?: unknown }).type === 'array';
}

function ifPresent(value: unknown, then: (value: unknown) => ColumnValue): ColumnValue {
  return value === null || value === undefined ? null : then(value);
}

/** Integers are numbers of JSON, as they are; inside records 64-bit ones are text, which no reader of JSON rounds. */
function jsonOf(items: unknown): string {
  const list = items as readonly unknown[];
  if (list.every((item) => typeof item === 'bigint' || typeof item === 'number')) return `[${list.join(',')}]`;
  return JSON.stringify(list, (_key, each: unknown) => (typeof each === 'bigint' ? each.toString() : each));
}
