/** Trades of a file that are too late for candles, because newer trades of their symbol came before. */
import type { Client } from 'pg';
import type { TradeRow } from '../rows/row.ts';
import { type SymbolName, symbolId } from './survey.ts';

export interface LateTrades extends SymbolName {
  trades: number;
  /** First and last event time of them, milliseconds since 1970. */
  from: number;
  to: number;
}

const symbolsPerQuery = 1_000;
const rowsPerQuery = 5_000;

/**
 * Newest event time in Postgres by symbol, milliseconds since 1970; unknown symbols are left out. Reads all trades of these symbols,
 * because trades have no index by time.
 */
export async function newestInPostgres(
  client: Client,
  symbols: readonly SymbolName[],
): Promise<ReadonlyMap<string, number>> {
  const newest = new Map<string, number>();
  for (let from = 0; from < symbols.length; from += symbolsPerQuery) {
    const some = symbols.slice(from, from + symbolsPerQuery);
    const { rows } = await client.query<SymbolName & { newest: string | null }>(
      `SELECT venue, symbol, (SELECT trunc(extract(epoch FROM max(executed_at)) * 1000)
                                FROM trades t WHERE t.venue = f.venue AND t.symbol = f.symbol) AS newest
         FROM unnest($1::text[], $2::text[]) AS f(venue, symbol)`,
      [some.map(({ venue }) => venue), some.map(({ symbol }) => symbol)],
    );
    for (const row of rows) if (row.newest !== null) newest.set(symbolId(row), Number(row.newest));
  }
  return newest;
}

/**
 * Number of rows before their symbol's limit that are not in Postgres, by symbol. Rows of an earlier load of the file do not count. The
 * symbol with the most rows comes first.
 *
 * @param limits milliseconds since 1970, by `symbolId`.
 */
export async function lateTrades(
  client: Client,
  rows: AsyncIterable<TradeRow>,
  limits: ReadonlyMap<string, number>,
): Promise<readonly LateTrades[]> {
  const late = new Map<string, LateTrades>();
  let older: TradeRow[] = [];
  const look = async (): Promise<void> => {
    for (const row of await absent(client, older)) note(late, row);
    older = [];
  };
  for await (const row of rows) {
    const limit = limits.get(symbolId(row));
    if (limit === undefined || row.millis >= limit) continue;
    if (older.push(row) >= rowsPerQuery) await look();
  }
  await look();
  return [...late.values()].sort((a, b) => b.trades - a.trades);
}

async function absent(client: Client, rows: readonly TradeRow[]): Promise<TradeRow[]> {
  if (rows.length === 0) return [];
  const { rows: found } = await client.query<{ at: string }>(
    // LIMIT forces a look-up by key for each row: a join would read the whole table for each query.
    `SELECT at FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS f(venue, symbol, trade_id, at)
       LEFT JOIN LATERAL (SELECT true AS there FROM trades t
                           WHERE (t.venue, t.symbol, t.trade_id) = (f.venue, f.symbol, f.trade_id) LIMIT 1) AS t ON true
      WHERE there IS NULL`,
    [rows.map(({ venue }) => venue), rows.map(({ symbol }) => symbol), rows.map(({ tradeId }) => tradeId)],
  );
  return found.flatMap(({ at }) => rows[Number(at) - 1] ?? []);
}

function note(late: Map<string, LateTrades>, row: TradeRow): void {
  const { venue, symbol, millis: at } = row;
  const key = symbolId(row);
  const known = late.get(key);
  if (known === undefined) {
    late.set(key, { venue, symbol, trades: 1, from: at, to: at });
    return;
  }
  known.trades++;
  known.from = Math.min(known.from, at);
  known.to = Math.max(known.to, at);
}
