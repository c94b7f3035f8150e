import { parseDecimal } from '../../core/values/decimal.ts';
import type { ColumnType, ColumnValue, TypedColumn } from '../../core/values/rowhash/rowhash.ts';
import { parseTimestamp } from '../../core/values/time.ts';
import type { Text } from '../recapture/columns/row.ts';

/** Values of a Postgres row for the row hash. @param row each column as Postgres' text (UTC, ISO dates) */
export function valuesOf(columns: readonly TypedColumn[], row: Readonly<Record<string, Text>>): readonly ColumnValue[] {
  return columns.map(({ name, type }) => columnValue(type, row[name] ?? null));
}

function columnValue(type: ColumnType, text: Text): ColumnValue {
  if (text === null || type.kind === 'text') return text;
  if (type.kind === 'boolean') return text === 't' || text === 'true';
  if (type.kind === 'int') return Number(text);
  if (type.kind === 'long') return BigInt(text);
  return type.kind === 'decimal' ? parseDecimal(text, type.scale) : parseTimestamp(text);
}
