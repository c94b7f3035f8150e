/**
 * A row as texts by column, in the canonical form of core/values/rowhash/rowhash.ts. Rows of every store convert to it and compare exactly.
 */
import { columnsWithLineage, tables } from '../../core/archive/rows/tables.ts';
import { formatLsn } from '../../core/values/lsn.ts';
import {
  type ColumnValue,
  canonicalText,
  duckdbHash,
  postgresHash,
  type TypedColumn,
} from '../../core/values/rowhash/rowhash.ts';
import { formatTimestamp } from '../../core/values/time.ts';
import type { ArchivedTopic } from '../../schemas/topics.ts';

export type Texts = Readonly<Record<string, string>>;

/** The canonical form of null. */
export const nothing = canonicalText([{ name: '', type: { kind: 'text' } }], [null]);

export const tradeColumns: readonly TypedColumn[] = tables['cdc.public.trades'].columns;

/** Data and lineage columns, as in the files of every writer. */
export function allColumns(topic: ArchivedTopic): readonly TypedColumn[] {
  return columnsWithLineage(tables[topic], 1);
}

export function textsOf(columns: readonly TypedColumn[], values: readonly ColumnValue[]): Texts {
  return Object.fromEntries(columns.map((column, i) => [column.name, canonicalText([column], [values[i] ?? null])]));
}

/** A SELECT list that gives each column's canonical text under `c0`, `c1`, …; `readTexts` reads it. */
export function selectTexts(dialect: 'postgres' | 'duckdb', columns: readonly TypedColumn[]): string {
  const { text } = dialect === 'postgres' ? postgresHash : duckdbHash;
  return columns.map((column, i) => `${text([column])} AS c${i}`).join(', ');
}

export function readTexts(columns: readonly TypedColumn[], record: Readonly<Record<string, unknown>>): Texts {
  return Object.fromEntries(columns.map(({ name }, i) => [name, String(record[`c${i}`])]));
}

/** `price is 1.5, in the log 1.6`, for each column that differs. */
export function differencesOf(columns: readonly TypedColumn[], is: Texts, should: Texts, where: string): string[] {
  return columns.flatMap((column) => {
    const [a, b] = [is[column.name] ?? nothing, should[column.name] ?? nothing];
    return a === b ? [] : [`${column.name} is ${readable(column, a)}, ${where} ${readable(column, b)}`];
  });
}

/** For terminal and JSON output: null as null, instants as ISO 8601, LSNs in Postgres' notation, all else unchanged. */
export function shown(columns: readonly TypedColumn[], texts: Texts): Readonly<Record<string, string | null>> {
  return Object.fromEntries(
    columns.map((column) => {
      const text = texts[column.name] ?? nothing;
      return [column.name, text === nothing ? null : readable(column, text)];
    }),
  );
}

function readable({ name, type }: TypedColumn, text: string): string {
  if (text === nothing) return 'null';
  if (name === '_lsn') return formatLsn(BigInt(text));
  return type.kind === 'timestamp' ? formatTimestamp(BigInt(text)) : text;
}

/** The number in a canonical text; undefined for null. */
export function numberIn(texts: Texts, name: string): bigint | undefined {
  const text = texts[name] ?? nothing;
  return text === nothing ? undefined : BigInt(text);
}
