import { formatDecimal } from '../../values/decimal.ts';
import { formatTimestamp } from '../../values/time.ts';

/** A schema node as Avro's JSON has it. */
type Schema = string | readonly Schema[] | { readonly type: Schema; readonly [name: string]: unknown };

/**
 * A decoded Avro value as JSON for people: longs as decimal strings, since a JSON number would round them; decimals with their point, at their
 * scale; timestamps in microseconds as ISO 8601; bytes as hexadecimal digits.
 */
export function renderValue(schema: object | string, value: unknown): unknown {
  return render(schema as Schema, value, new Map());
}

function render(schema: Schema, value: unknown, names: Map<string, Schema>): unknown {
  if (value === null || value === undefined) return null;
  if (typeof schema === 'string') {
    const named = names.get(schema);
    return named === undefined ? plain(value) : render(named, value, names);
  }
  if (isUnion(schema)) {
    const branch = schema.find((each) => matches(each, value, names));
    return branch === undefined ? plain(value) : render(branch, value, names);
  }
  const { type, name, logicalType, scale } = schema;
  if (typeof name === 'string') names.set(name, schema);
  if (logicalType === 'decimal' && typeof value === 'bigint')
    return formatDecimal(value, typeof scale === 'number' ? scale : 0);
  if (logicalType === 'timestamp-micros' && typeof value === 'bigint') return formatTimestamp(value);
  if (type === 'record') {
    const fields = schema['fields'] as readonly { readonly name: string; readonly type: Schema }[];
    const record = value as Readonly<Record<string, unknown>>;
    return Object.fromEntries(fields.map((field) => [field.name, render(field.type, record[field.name], names)]));
  }
  if (type === 'array') return (value as unknown[]).map((each) => render(schema['items'] as Schema, each, names));
  if (type === 'map') {
    const values = schema['values'] as Schema;
    return Object.fromEntries(Object.entries(value as object).map(([key, each]) => [key, render(values, each, names)]));
  }
  return typeof type === 'object' ? render(type, value, names) : plain(value);
}

function isUnion(schema: Schema): schema is readonly Schema[] {
  return Array.isArray(schema);
}

/** Whether a value that is not null may be of this branch of a union. */
function matches(schema: Schema, value: unknown, names: Map<string, Schema>): boolean {
  if (typeof schema === 'string') {
    const named = names.get(schema);
    return named === undefined ? kindsOf[schema]?.(value) === true : matches(named, value, names);
  }
  if (isUnion(schema)) return false;
  if (schema['logicalType'] === 'decimal') return typeof value === 'bigint';
  if (schema.type === 'record' || schema.type === 'map') return typeof value === 'object' && !Array.isArray(value);
  if (schema.type === 'array') return Array.isArray(value);
  if (schema.type === 'enum') return typeof value === 'string';
  return matches(schema.type, value, names);
}

const kindsOf: Readonly<Record<string, (value: unknown) => boolean>> = {
  long: (value) => typeof value === 'bigint',
  int: (value) => typeof value === 'number',
  float: (value) => typeof value === 'number',
  double: (value) => typeof value === 'number',
  boolean: (value) => typeof value === 'boolean',
  string: (value) => typeof value === 'string',
  bytes: (value) => Buffer.isBuffer(value),
};

function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString();
  return Buffer.isBuffer(value) ? value.toString('hex') : value;
}
