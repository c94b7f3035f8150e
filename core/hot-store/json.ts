/**
 * Arrays as JSON, rendered by their Avro type. The text equals the output of `jsonb`, so that the two can be compared.
 * Numbers have all their digits. `jsonb` keeps them, because its numbers are `numeric`.
 */
import { MillraceError } from '../base/errors.ts';
import { decimalText, timestampText } from './text.ts';

export interface ArrayType {
  readonly type: 'array';
  readonly items: unknown;
}

interface Described {
  readonly type: unknown;
  readonly logicalType?: string;
  readonly precision?: number;
  readonly scale?: number;
  readonly items?: unknown;
  readonly fields?: readonly { readonly name: string; readonly type: unknown }[];
}

export function isArrayType(type: unknown): type is ArrayType {
  return typeof type === 'object' && type !== null && (type as { type?: unknown }).type === 'array';
}

/**
 * JSON text of one value. Decimals and integers become numbers. Timestamps become ISO 8601 text with microseconds.
 *
 * @param name of the column, for the message
 * @throws MillraceError BAD_RECORD: `jsonb` cannot store the value
 * @throws TypeError: the hot store has no JSON form for the Avro type
 */
export function renderJson(name: string, type: unknown, value: unknown): string {
  if (value === null || value === undefined) return 'null';
  if (Array.isArray(type))
    return renderJson(
      name,
      type.find((each) => each !== 'null'),
      value,
    );
  const described: Described = typeof type === 'object' && type !== null ? (type as Described) : { type };
  const { logicalType, precision = 0, scale = 0, items, fields = [] } = described;
  if (logicalType === 'decimal') return decimalText(name, value as bigint, { precision, scale });
  if (logicalType === 'timestamp-micros') return `"${timestampText(name, value as bigint)}"`;
  switch (described.type) {
    case 'array':
      return `[${(value as readonly unknown[]).map((item) => renderJson(name, items, item)).join(', ')}]`;
    case 'record':
      return `{${[...fields]
        .sort((a, b) => a.name.length - b.name.length || (a.name < b.name ? -1 : 1))
        .map((each) => `"${each.name}": ${renderJson(name, each.type, (value as Record<string, unknown>)[each.name])}`)
        .join(', ')}}`;
    case 'long':
    case 'int':
      return String(value);
    case 'string':
    case 'enum':
      return jsonText(name, value as string);
    default:
      throw new TypeError(`${name}: the hot store has no JSON for ${JSON.stringify(type)}`);
  }
}

function jsonText(name: string, text: string): string {
  if (text.includes('\0'))
    throw new MillraceError('BAD_RECORD', `${name} contains U+0000, which Postgres has no text for`);
  return JSON.stringify(text);
}
