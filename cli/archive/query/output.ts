/** Prints a query's rows as they arrive: as a table, CSV or JSON. */
import { once } from 'node:events';
import type { Writable } from 'node:stream';
import type { QueryResult, QueryValue, ResultColumn } from '../../../core/archive/reading/query.ts';

export type Format = 'table' | 'csv' | 'json';

export interface PrintResult {
  readonly rows: number;
  /** Whether the limit left out rows. */
  readonly more: boolean;
}

/** Rows that decide the widths of a table's columns. Wider cells that follow are not aligned. */
const rowsForWidths = 1_000;

/**
 * Prints the rows. At most `rowsForWidths` rows and the stream's buffer are in memory.
 *
 * @param limit maximum number of rows to print; undefined: all
 */
export async function printResult(
  result: QueryResult,
  format: Format,
  limit: number | undefined,
  out: Writable,
): Promise<PrintResult> {
  const rows = format === 'json' ? result.json() : result.cells();
  const counted = new Counted(rows, limit);
  const writer =
    format === 'json'
      ? json(result.columns, counted)
      : format === 'csv'
        ? csv(result, counted)
        : table(result, counted);
  for await (const text of writer) {
    // Back pressure from a reader that is slower than the query.
    if (!out.write(text)) await once(out, 'drain');
  }
  return { rows: counted.rows, more: counted.more };
}

/** Chunks of rows, up to the limit. */
class Counted<T> implements AsyncIterable<readonly T[]> {
  rows = 0;
  more = false;
  readonly #portions: AsyncIterable<readonly T[]>;
  readonly #limit: number;

  constructor(portions: AsyncIterable<readonly T[]>, limit: number | undefined) {
    this.#portions = portions;
    this.#limit = limit ?? Number.POSITIVE_INFINITY;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<readonly T[]> {
    for await (const portion of this.#portions) {
      const room = this.#limit - this.rows;
      this.more = portion.length > room;
      const kept = this.more ? portion.slice(0, room) : portion;
      this.rows += kept.length;
      if (kept.length > 0) yield kept;
      if (this.more) return;
    }
  }
}

async function* json(
  columns: readonly ResultColumn[],
  portions: AsyncIterable<readonly (readonly unknown[])[]>,
): AsyncGenerator<string> {
  const names = distinct(columns.map(({ name }) => name));
  let first = true;
  for await (const rows of portions) {
    let text = '';
    for (const row of rows) {
      text += first ? '[\n  ' : ',\n  ';
      text += JSON.stringify(Object.fromEntries(names.map((name, i) => [name, row[i] ?? null])));
      first = false;
    }
    yield text;
  }
  yield first ? '[]\n' : '\n]\n';
}

/** Makes names unique, because JSON objects cannot have a name twice. */
function distinct(names: readonly string[]): string[] {
  const seen = new Set<string>();
  return names.map((name) => {
    let found = name;
    for (let n = 1; seen.has(found); n++) found = `${name}_${n}`;
    seen.add(found);
    return found;
  });
}

/** RFC 4180 with line feeds. Null is an empty cell, an empty text is `""`, as in Postgres' COPY. */
async function* csv(
  { columns }: QueryResult,
  portions: AsyncIterable<readonly (readonly unknown[])[]>,
): AsyncGenerator<string> {
  const line = (row: readonly unknown[]): string => `${row.map(csvField).join(',')}\n`;
  yield line(columns.map(({ name }) => name));
  for await (const rows of portions) yield rows.map(line).join('');
}

function csvField(value: unknown): string {
  if (value === null) return '';
  const text = String(value);
  return text === '' || /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

async function* table(
  { columns }: QueryResult,
  portions: AsyncIterable<readonly (readonly unknown[])[]>,
): AsyncGenerator<string> {
  let widths: number[] | undefined;
  let waiting: string[][] = [];
  const line = (row: readonly string[]): string =>
    `${row
      .map((cell, i) =>
        columns[i]?.numeric === true ? cell.padStart(widths?.[i] ?? 0) : cell.padEnd(widths?.[i] ?? 0),
      )
      .join('  ')
      .trimEnd()}\n`;
  const begin = (): string => {
    const header = columns.map(({ name }) => visible(name));
    widths = header.map((title, i) => Math.max(title.length, ...waiting.map((row) => row[i]?.length ?? 0)));
    const text = [header, ...waiting].map(line).join('');
    waiting = [];
    return text;
  };
  for await (const rows of portions) {
    const cells = rows.map((row) =>
      row.map((value) => (value === null ? 'NULL' : visible(value as QueryValue & string))),
    );
    if (widths !== undefined) {
      yield cells.map(line).join('');
      continue;
    }
    waiting.push(...cells);
    if (waiting.length >= rowsForWidths) yield begin();
  }
  if (widths === undefined) yield begin();
}

const shortNames: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };

/** Escapes control characters: a text from the data must not move a terminal's cursor. */
function visible(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, (each) => {
    return shortNames[each] ?? `\\u${each.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}
