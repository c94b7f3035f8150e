/** One bounded transaction: COPY writes rows into a staging table without WAL, and new rows go from there into trades. */
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Client } from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import type { TradeRow } from './rows/row.ts';

export interface BatchResult {
  readonly inserted: number;
  /** Rows already present with the same values. */
  readonly present: number;
  /** File lines of rows already present with other values; the present values stay. */
  readonly different: readonly number[];
}

/** Creates the temporary staging table. It writes no WAL, ends with the session, and is emptied by every commit. */
export async function openStaging(client: Client): Promise<void> {
  await client.query(`CREATE TEMP TABLE load_staging (
    place int NOT NULL, line int NOT NULL, venue text, symbol text, trade_id text, venue_sequence bigint, price numeric(20, 8), size numeric(20, 8),
    side text, executed_at timestamptz, conditions text) ON COMMIT DELETE ROWS`);
  // Overrides the server's default: a committed batch survives a crash.
  await client.query('SET synchronous_commit = on');
}

const columns = 'venue, symbol, trade_id, venue_sequence, price, size, side, executed_at, conditions';

/**
 * Keeps the order of `rows` in the log. A repetition adds nothing.
 *
 * @throws errors of the database; nothing of the batch is kept then.
 */
export async function writeBatch(client: Client, rows: readonly TradeRow[]): Promise<BatchResult> {
  await client.query('BEGIN');
  try {
    const copy = client.query(copyFrom(`COPY load_staging (place, line, ${columns}) FROM STDIN`));
    await pipeline(Readable.from(chunks(rows)), copy);
    const { rowCount } = await client.query(
      `INSERT INTO trades (${columns}) SELECT ${columns} FROM load_staging ORDER BY place ON CONFLICT DO NOTHING`,
    );
    const inserted = rowCount ?? 0;
    const different = inserted === rows.length ? [] : await differing(client);
    await client.query('COMMIT');
    return { inserted, present: rows.length - inserted - different.length, different };
  } catch (error) {
    await client.query('ROLLBACK').catch(() => {});
    throw error;
  }
}

async function differing(client: Client): Promise<readonly number[]> {
  const { rows } = await client.query<{ line: number }>(
    `SELECT s.line FROM load_staging s JOIN trades t USING (venue, symbol, trade_id)
      WHERE (s.price, s.size, s.side, s.executed_at) <> (t.price, t.size, t.side, t.executed_at)
         OR s.conditions IS DISTINCT FROM t.conditions
      ORDER BY s.line`,
  );
  return rows.map(({ line }) => line);
}

/** Adds the instrument of a trade without one. Base and quote are derived from the symbol and may be corrected later. */
export async function addInstrument(client: Client, venue: string, symbol: string): Promise<void> {
  const [base = symbol, quote = ''] = symbol.split(/[-/_:]/, 2);
  await client.query(
    'INSERT INTO instruments (venue, symbol, base, quote) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING',
    [venue, symbol, base, quote],
  );
}

function* chunks(rows: readonly TradeRow[]): Generator<Buffer> {
  for (let from = 0; from < rows.length; from += 2000) {
    let text = '';
    for (const [index, row] of rows.slice(from, from + 2000).entries()) text += copyLine(row, from + index);
    yield Buffer.from(text);
  }
}

function copyLine(row: TradeRow, place: number): string {
  const cells = [
    row.venue,
    row.symbol,
    row.tradeId,
    row.venueSequence,
    row.price,
    row.size,
    row.side,
    row.executedAt,
    row.conditions,
  ];
  let line = `${place}\t${row.line}`;
  for (const value of cells) line += `\t${value === null ? '\\N' : escaped(value)}`;
  return `${line}\n`;
}

const escapes: Readonly<Record<string, string>> = { '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r' };

function escaped(value: string): string {
  return /[\\\t\n\r]/.test(value) ? value.replace(/[\\\t\n\r]/g, (char) => escapes[char] ?? char) : value;
}
