/** Prints a query's rows while they come: as a table, as CSV or as JSON. */
import { once } from 'node:events';
import type { Writable } from 'node:stream';
import type { Cell, QueryResult, ResultColumn } from '../../../core/archive/reading/query.ts';

export type Format = 'table' | 'csv' | 'json';

export interface Printed {
  readonly rows: number;
  /** Rows were left out because of the limit. */
  readonly more: boolean;
}

/** Rows that decide how wide the columns of a table are; wider ones that follow stand out. */
const rowsForWidths = 1_000;

/**
 * Memory is bounded: at most `rowsForWidths` rows, and what the stream takes.
 *
 * @param limit rows to print at most; undefined is all
 */
export async function printResult(
  result: QueryResult,
  format: Format,
  limit: number | undefined,
  out: Writable,
): Promise<Printed> {
  const rows = format === 'json' ? result.json() : result.cells();
  const counted = new Counted(rows, limit);
  const writer =
    format === 'json'
      ? json(result.columns, counted)
      : format === 'csv'
        ? csv(result, counted)
        : table(result, counted);
  for await (const text of writer) {
    // A reader that is slower than the query holds it up.
    if (!out.write(text)) await once(out, 'drain');
  }
  return { rows: counted.rows, more: counted.more };
}

/** Portions of rows, until the limit. */
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

/** As objects cannot have a name twice. */
function distinct(names: readonly string[]): string[] {
  const seen = new Set<string>();
  return names.map((name) => {
    let found = name;
    for (let n = 1; seen.has(found); n++) found = `${name}_${n}`;
    seen.add(found);
    return found;
  });
}

/** RFC 4180 with line feeds. Null is nothing, an empty text is `""`, as Postgres' COPY has it. */
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
    const cells = rows.map((row) => row.map((value) => (value === null ? 'NULL' : visible(value as Cell & string))));
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

/** Control characters as escapes: what was traded under some name must not move a terminal's cursor. */
function visible(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, (each) => {
    return shortNames[each] ?? `\\u${each.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}
