/** Trades of a file that are older than what Postgres has of their symbol already: candles would refuse them as late. */
import type { Client } from 'pg';
import type { TradeRow } from '../row.ts';
import type { SymbolTimes } from './survey.ts';

export interface LateTrades {
  readonly venue: string;
  readonly symbol: string;
  trades: number;
  /** Event times of the first and the last of them, milliseconds since 1970. */
  from: number;
  to: number;
}

const symbolsPerQuery = 1_000;
const rowsPerQuery = 5_000;

/**
 * Newest event time in Postgres, milliseconds since 1970, of the symbols that have rows older than that by more than `latenessMs`. It reads what
 * Postgres has of the file's symbols: trades have no index by time.
 */
export async function newerInPostgres(
  client: Client,
  symbols: ReadonlyMap<string, SymbolTimes>,
  latenessMs: number,
): Promise<ReadonlyMap<string, number>> {
  const newest = new Map<string, number>();
  const all = [...symbols];
  for (let from = 0; from < all.length; from += symbolsPerQuery) {
    const some = all.slice(from, from + symbolsPerQuery);
    const { rows } = await client.query<{ at: string; newest: string | null }>(
      `SELECT at, (SELECT trunc(extract(epoch FROM max(executed_at)) * 1000)
                     FROM trades t WHERE t.venue = f.venue AND t.symbol = f.symbol) AS newest
         FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS f(venue, symbol, at)`,
      [some.map(([, { venue }]) => venue), some.map(([, { symbol }]) => symbol)],
    );
    for (const row of rows) {
      const found = some[Number(row.at) - 1];
      if (found === undefined || row.newest === null) continue;
      if (found[1].earliest < Number(row.newest) - latenessMs) newest.set(found[0], Number(row.newest));
    }
  }
  return newest;
}

/**
 * Of the rows that are older than the newest one in Postgres by more than `latenessMs`, those that Postgres does not have, by symbol: a file that was
 * loaded before, or in part, brings none. The symbol with the most comes first.
 */
export async function lateTrades(
  client: Client,
  rows: AsyncIterable<TradeRow>,
  newest: ReadonlyMap<string, number>,
  latenessMs: number,
): Promise<readonly LateTrades[]> {
  const late = new Map<string, LateTrades>();
  let older: TradeRow[] = [];
  const look = async (): Promise<void> => {
    for (const row of await absent(client, older)) note(late, row);
    older = [];
  };
  for await (const row of rows) {
    const limit = newest.get(`${row.venue}\u001f${row.symbol}`);
    if (limit === undefined || Date.parse(row.executedAt) >= limit - latenessMs) continue;
    if (older.push(row) >= rowsPerQuery) await look();
  }
  await look();
  return [...late.values()].sort((a, b) => b.trades - a.trades);
}

async function absent(client: Client, rows: readonly TradeRow[]): Promise<TradeRow[]> {
  if (rows.length === 0) return [];
  const { rows: found } = await client.query<{ at: string }>(
    `SELECT at FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS f(venue, symbol, trade_id, at)
      WHERE NOT EXISTS (SELECT FROM trades t WHERE (t.venue, t.symbol, t.trade_id) = (f.venue, f.symbol, f.trade_id))`,
    [rows.map(({ venue }) => venue), rows.map(({ symbol }) => symbol), rows.map(({ tradeId }) => tradeId)],
  );
  return found.flatMap(({ at }) => rows[Number(at) - 1] ?? []);
}

function note(late: Map<string, LateTrades>, { venue, symbol, executedAt }: TradeRow): void {
  const key = `${venue}\u001f${symbol}`;
  const at = Date.parse(executedAt);
  const known = late.get(key);
  if (known === undefined) {
    late.set(key, { venue, symbol, trades: 1, from: at, to: at });
    return;
  }
  known.trades++;
  known.from = Math.min(known.from, at);
  known.to = Math.max(known.to, at);
}
