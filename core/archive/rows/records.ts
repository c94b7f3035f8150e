import type { ColumnValue, TypedColumn } from '../../values/rowhash/rowhash.ts';
import { isRecord, type Named, resolve } from './columns.ts';

export interface RecordOptions {
  /** In front of every column's name. */
  readonly prefix?: string;
  /** By field: makes the schema's text of a column that holds something else. */
  readonly format?: Readonly<Record<string, (value: ColumnValue) => string>>;
}

/** A record made of a row's values; null when all its columns that cannot be null are. */
export type ReadRecord = (row: readonly ColumnValue[]) => object | null;

/**
 * The inverse of `columnsOf`: makes an Avro record of its columns.
 *
 * @param columns of the rows that will be read
 * @throws TypeError when the record may be null and nothing in its columns would tell, or when a column is missing.
 */
export function recordReader(schema: object, columns: readonly TypedColumn[], options: RecordOptions = {}): ReadRecord {
  const at = new Map(columns.map(({ name }, i) => [name, i]));
  return compile(schema as RecordSchema, options.prefix ?? '', { at, named: new Map(), format: options.format ?? {} });
}

interface RecordSchema {
  readonly fields: readonly { readonly name: string; readonly type: unknown }[];
}

interface Compiling {
  readonly at: ReadonlyMap<string, number>;
  readonly named: Named;
  readonly format: RecordOptions['format'] & object;
}

function compile(schema: RecordSchema, prefix: string, compiling: Compiling): ReadRecord {
  const fields: { readonly name: string; readonly read: (row: readonly ColumnValue[]) => unknown }[] = [];
  /** A column that is null only if the record is. */
  let witness: number | undefined;
  for (const { name, type } of schema.fields) {
    const resolved = resolve(type, compiling.named);
    if (isRecord(resolved)) {
      fields.push({ name, read: compile(resolved, `${prefix}${name}_`, compiling) });
      continue;
    }
    const index = compiling.at.get(prefix + name);
    if (index === undefined) throw new TypeError(`the archive has no column ${prefix}${name}`);
    if (!Array.isArray(type)) witness ??= index;
    fields.push({ name, read: reader(index, resolved, compiling.format[name]) });
  }
  if (witness === undefined) throw new TypeError(`nothing tells whether ${prefix} is null`);
  const told = witness;
  return (row) => {
    if (row[told] === null) return null;
    const record: Record<string, unknown> = {};
    for (const { name, read } of fields) record[name] = read(row);
    return record;
  };
}

function reader(index: number, type: unknown, format: ((value: ColumnValue) => string) | undefined) {
  if (format !== undefined) {
    return (row: readonly ColumnValue[]) => {
      const value = row[index] ?? null;
      return value === null ? null : format(value);
    };
  }
  const items =
    (type as { type?: unknown; items?: unknown }).type === 'array' ? (type as { items: unknown }).items : null;
  if (items === null) return (row: readonly ColumnValue[]) => row[index] ?? null;
  const parse = listParser(items);
  return (row: readonly ColumnValue[]) => {
    const text = row[index] ?? null;
    return text === null ? null : parse(text as string);
  };
}

/** Lists are JSON text: of integers as they are, and in records 64-bit ones as text. */
function listParser(items: unknown): (text: string) => unknown[] {
  if (isRecord(items)) {
    const longs = items.fields.filter(({ type }) => kindOf(type) === 'long').map(({ name }) => name);
    return (text) =>
      (JSON.parse(text) as Record<string, unknown>[]).map((item) => {
        for (const name of longs) if (typeof item[name] === 'string') item[name] = BigInt(item[name]);
        return item;
      });
  }
  if (kindOf(items) !== 'long') return (text) => JSON.parse(text) as unknown[];
  return (text) =>
    text
      .slice(1, -1)
      .split(',')
      .filter((each) => each !== '')
      .map(BigInt);
}

function kindOf(type: unknown): unknown {
  const one = Array.isArray(type) ? type.find((each) => each !== 'null') : type;
  return typeof one === 'object' && one !== null ? (one as { type?: unknown }).type : one;
}
