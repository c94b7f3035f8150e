import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Client } from 'pg';
import { from as copyFrom } from 'pg-copy-streams';

export type CopyValue = string | bigint | number | null;

/** Copies rows into a table with COPY. Cells are in Postgres' text format; numbers only if exact. */
export async function copyRows(
  db: Client,
  table: string,
  rows: AsyncIterable<readonly (readonly CopyValue[])[]>,
): Promise<number> {
  let count = 0;
  async function* lines(): AsyncGenerator<string> {
    for await (const portion of rows) {
      count += portion.length;
      if (portion.length > 0) yield `${portion.map((row) => row.map(cell).join('\t')).join('\n')}\n`;
    }
  }
  await pipeline(Readable.from(lines()), db.query(copyFrom(`COPY ${table} FROM STDIN`)));
  return count;
}

function cell(value: CopyValue): string {
  if (value === null) return '\\N';
  return String(value).replace(
    /[\\\t\n\r]/g,
    (char) => ({ '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r' })[char] ?? char,
  );
}
