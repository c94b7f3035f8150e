import { parseDecimal } from '../../core/decimal.ts';
import { addRowHashes, type ColumnType, type ColumnValue, hashRow, type TypedColumn } from '../../core/rowhash.ts';
import { parseTimestamp } from '../../core/time.ts';
import type { Text } from '../recapture/columns.ts';

/** Rows and their row hash, added up. */
export class RowSum {
  rows = 0n;
  hash = 0n;

  /** @param row each column as Postgres' text (UTC, ISO dates) */
  add(columns: readonly TypedColumn[], row: Readonly<Record<string, Text>>): void {
    this.rows++;
    const values = columns.map(({ name, type }) => columnValue(type, row[name] ?? null));
    this.hash = addRowHashes(this.hash, hashRow(columns, values));
  }
}

function columnValue(type: ColumnType, text: Text): ColumnValue {
  if (text === null || type.kind === 'text') return text;
  if (type.kind === 'int') return Number(text);
  if (type.kind === 'long') return BigInt(text);
  return type.kind === 'decimal' ? parseDecimal(text, type.scale) : parseTimestamp(text);
}
