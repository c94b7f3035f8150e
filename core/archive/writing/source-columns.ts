/**
 * Columns that the source has and our schemas do not: a column that was added to the table, a field of a newer Millrace. They are
 * archived as they are written, so that nobody has to deploy anything before a new column is kept.
 */
import { formatDecimal } from '../../values/decimal.ts';
import type { ColumnType, ColumnValue } from '../../values/rowhash/rowhash.ts';

/** What a column of a file can be: a source may have what no schema of ours has. */
export type FileType = ColumnType | { readonly kind: 'boolean' | 'double' };
export type FileValue = ColumnValue | boolean;

export interface FileColumn {
  readonly name: string;
  readonly type: FileType;
}

export interface SourceColumn extends FileColumn {
  /** @param record the row, decoded by the schema of the same extension */
  read(record: object): FileValue;
}

export interface Extension {
  /** Our schema, with the further fields of this writer in its rows. */
  readonly schema: object;
  /** The further fields, in the writer's order. */
  readonly columns: readonly SourceColumn[];
}

interface Field {
  readonly name: string;
  readonly type: unknown;
  readonly aliases?: readonly string[];
}

interface RecordSchema {
  readonly type: 'record';
  readonly name: string;
  readonly namespace?: string;
  readonly aliases?: readonly string[];
  readonly fields: readonly Field[];
}

/**
 * Our schema with everything that a writer has in its rows beyond it; undefined when that is nothing.
 *
 * @param rowRecord name of the record in `reader` whose fields are the columns
 */
export function extensionOf(reader: object, writer: object, rowRecord: string): Extension | undefined {
  const columns: SourceColumn[] = [];
  const foreign = new Foreign(writer);

  function walk(type: unknown, written: unknown, path: readonly string[] | undefined): unknown {
    if (Array.isArray(type)) {
      const [only, ...others] = type.filter((each) => each !== 'null');
      if (others.length > 0) return type;
      return type.map((each) => (each === only ? walk(only, written, path) : each));
    }
    const theirs = foreign.resolve(nonNull(written));
    if (!isRecord(type) || !isRecord(theirs)) return type;
    const here = path ?? (type.name === rowRecord ? [] : undefined);
    const taken = new Set<Field>();
    const fields = type.fields.map((field) => {
      const names = [field.name, ...(field.aliases ?? [])];
      const match = theirs.fields.find(({ name }) => names.includes(name));
      if (match === undefined) return field;
      taken.add(match);
      return { ...field, type: walk(field.type, match.type, here && [...here, field.name]) };
    });
    if (here === undefined) return { ...type, fields };
    const added = theirs.fields
      .filter((field) => !taken.has(field))
      .map(({ name, type: added }) => {
        columns.push(...foreign.columns([...here, name], added));
        return { name, type: foreign.inlined(added) };
      });
    return { ...type, fields: [...fields, ...added] };
  }

  const schema = walk(reader, writer, undefined) as object;
  return columns.length === 0 ? undefined : { schema, columns };
}

const namespace = 'millrace.source';
/** Digits that every reader of Parquet holds. */
const widestDecimal = 38;

/** Types of another schema, by their names there, and defined again where ours uses them. */
class Foreign {
  readonly #named = new Map<string, unknown>();
  /** The names that they have in our schema: others than their own, which we may have, too. */
  readonly #renamed = new Map<unknown, string>();

  constructor(schema: object) {
    collect(schema, this.#named);
  }

  resolve(type: unknown): unknown {
    if (typeof type !== 'string') return type;
    return this.#named.get(type) ?? this.#named.get(unqualified(type)) ?? type;
  }

  /** A type without references into the other schema. */
  inlined(type: unknown): unknown {
    if (Array.isArray(type)) return type.map((each) => this.inlined(each));
    const resolved = this.resolve(type);
    if (typeof resolved !== 'object' || resolved === null) return resolved;
    const { name, namespace: _namespace, aliases: _aliases, ...rest } = resolved as Record<string, unknown>;
    if (rest['items'] !== undefined) return { ...rest, items: this.inlined(rest['items']) };
    if (rest['values'] !== undefined) return { ...rest, values: this.inlined(rest['values']) };
    if (name === undefined) return rest;
    const known = this.#renamed.get(resolved);
    if (known !== undefined) return known;
    const fresh = `Source${this.#renamed.size + 1}`;
    this.#renamed.set(resolved, `${namespace}.${fresh}`);
    const defined = { ...rest, name: fresh, namespace, aliases: [unqualified(String(name))] };
    if (!isRecord(resolved)) return defined;
    return {
      ...defined,
      fields: resolved.fields.map((field) => ({ name: field.name, type: this.inlined(field.type) })),
    };
  }

  /** Records are flattened, as ours are; everything that has no column type is text. */
  *columns(path: readonly string[], type: unknown, open: readonly unknown[] = []): Generator<SourceColumn> {
    const bare = this.resolve(nonNull(type));
    const get = getter(path);
    const column = (columnType: FileType, value: (found: unknown) => FileValue): SourceColumn => ({
      name: path.join('_'),
      type: columnType,
      read: (record) => {
        const found = get(record);
        return found === null || found === undefined ? null : value(found);
      },
    });
    if (isRecord(bare) && !open.includes(bare)) {
      // Debezium's numeric without a scale: each value has its own.
      if (unqualified(bare.name) === 'VariableScaleDecimal') yield column({ kind: 'text' }, variableDecimal);
      else for (const field of bare.fields) yield* this.columns([...path, field.name], field.type, [...open, bare]);
      return;
    }
    const scalar = scalarOf(bare);
    if (scalar?.kind === 'decimal' && scalar.precision > widestDecimal) {
      yield column({ kind: 'text' }, (found) => formatDecimal(found as bigint, scalar.scale));
    } else if (scalar === undefined) yield column({ kind: 'text' }, jsonText);
    else yield column(scalar, scalar.kind === 'text' ? plainText : (found) => found as FileValue);
  }
}

/** The column type of an Avro type; undefined for what is told as JSON. */
function scalarOf(type: unknown): FileType | undefined {
  const { type: inner, logicalType, precision, scale = 0 } = asObject(type);
  if (logicalType === 'decimal' && inner === 'bytes' && isCount(precision) && isCount(scale) && scale <= precision) {
    return { kind: 'decimal', precision, scale };
  }
  if (logicalType === 'timestamp-micros') return { kind: 'timestamp' };
  switch (inner) {
    case 'int':
    case 'long':
    case 'boolean':
    case 'double':
      return { kind: inner };
    case 'float':
      return { kind: 'double' };
    case 'string':
    case 'enum':
    case 'bytes':
    case 'fixed':
      return { kind: 'text' };
    default:
      return undefined;
  }
}

function asObject(type: unknown): { type?: unknown; logicalType?: unknown; precision?: unknown; scale?: unknown } {
  return typeof type === 'object' && type !== null && !Array.isArray(type) ? type : { type };
}

/** The type that holds all values of two writers' columns of one name; text when there is no other without a loss. */
export function widened(a: FileType, b: FileType): FileType {
  if (a.kind === 'decimal' && b.kind === 'decimal') {
    const scale = Math.max(a.scale, b.scale);
    const precision = Math.max(a.precision - a.scale, b.precision - b.scale) + scale;
    return precision > widestDecimal ? { kind: 'text' } : { kind: 'decimal', precision, scale };
  }
  if (a.kind === b.kind) return a;
  const kinds = [a.kind, b.kind].sort().join(' ');
  if (kinds === 'int long') return { kind: 'long' };
  if (kinds === 'double int') return { kind: 'double' };
  return { kind: 'text' };
}

/** What turns a value of one type into one of a type that `widened` made of it. */
export function widening(from: FileType, to: FileType): (value: FileValue & {}) => FileValue {
  if (from.kind === 'decimal' && to.kind === 'decimal') {
    const factor = 10n ** BigInt(to.scale - from.scale);
    return factor === 1n ? (value) => value : (value) => (value as bigint) * factor;
  }
  if (from.kind === to.kind) return (value) => value;
  if (to.kind === 'long') return (value) => BigInt(value as number);
  if (to.kind === 'text') {
    return from.kind === 'decimal' ? (value) => formatDecimal(value as bigint, from.scale) : (value) => String(value);
  }
  return (value) => value;
}

/** As Postgres prints `bytea`. */
function plainText(value: unknown): string {
  return Buffer.isBuffer(value) ? `\\x${value.toString('hex')}` : String(value);
}

/** 64-bit integers are text in it, which no reader of JSON rounds. */
function jsonText(value: unknown): string {
  return JSON.stringify(value, (_key, each: unknown) => {
    if (typeof each === 'bigint') return each.toString();
    if (Buffer.isBuffer(each)) return plainText(each);
    const { type, data } = (each ?? {}) as { type?: unknown; data?: unknown };
    return type === 'Buffer' && Array.isArray(data) ? plainText(Buffer.from(data as number[])) : each;
  });
}

function variableDecimal(value: unknown): string {
  const { scale, value: bytes } = value as { scale: number; value: Buffer };
  const units = bytes.length === 0 ? 0n : BigInt.asIntN(bytes.length * 8, BigInt(`0x${bytes.toString('hex')}`));
  return scale >= 0 ? formatDecimal(units, scale) : (units * 10n ** BigInt(-scale)).toString();
}

function getter(path: readonly string[]): (record: object) => unknown {
  return (record) => {
    let found: unknown = record;
    for (const name of path) found = (found as Record<string, unknown> | null | undefined)?.[name];
    return found;
  };
}

function collect(type: unknown, named: Map<string, unknown>): void {
  if (Array.isArray(type)) {
    for (const each of type) collect(each, named);
    return;
  }
  if (typeof type !== 'object' || type === null) return;
  const { name, namespace, fields, items, values, type: inner } = type as Record<string, unknown>;
  if (typeof name === 'string' && typeof inner === 'string') {
    named.set(unqualified(name), type);
    named.set(typeof namespace === 'string' ? `${namespace}.${name}` : name, type);
  }
  if (Array.isArray(fields)) for (const field of fields as Field[]) collect(field.type, named);
  for (const each of [items, values, typeof inner === 'object' ? inner : undefined]) collect(each, named);
}

/** The type behind a nullable union; a union of several types as it is. */
function nonNull(type: unknown): unknown {
  if (!Array.isArray(type)) return type;
  const [only, ...others] = type.filter((each) => each !== 'null') as unknown[];
  return others.length > 0 ? type : only;
}

function isRecord(type: unknown): type is RecordSchema {
  return typeof type === 'object' && type !== null && (type as { type?: unknown }).type === 'record';
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0;
}

function unqualified(name: string): string {
  return name.slice(name.lastIndexOf('.') + 1);
}
