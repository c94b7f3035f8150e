/** A history that was loaded newest first: what verify says of it, and one rebuild that mends it, on a real stack. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { connectPostgres, type Postgres } from '../../core/base/postgres.ts';
import { Home, type Replayed } from './home.ts';

interface Verified {
  readonly ok: boolean;
  readonly checks: readonly { name: string; differences: number; examples: readonly string[] }[];
  readonly missing: readonly { symbol: string; interval: string; reason: string; trades: number }[];
}

interface Rebuilt {
  readonly carriedOut: boolean;
  readonly rebuilt: number;
  readonly seconds: number;
  readonly symbols: readonly { symbol: string; candles: readonly object[] }[];
}

let home: Home;
let db: Postgres;

beforeAll(async () => {
  home = Home.shared('rebuild-test', { MILLRACE_PARQUET_FLUSH_MS: '3000' });
  await home.up();
  home.start('--all');
  db = await connectPostgres({ url: (await home.config()).postgres.url, name: 'rebuild test' });
});

afterAll(async () => {
  await db?.end();
  await home[Symbol.asyncDispose]();
});

/** Four hours, a trade every 30 s. */
async function insert(venue: string, order: 'ASC' | 'DESC'): Promise<void> {
  await db.query(
    `INSERT INTO trades SELECT $1, 'BTC/USD', 't' || i, NULL, 100 + i % 4 * 0.5, 1, 'buy', to_timestamp(1700000040 + i * 30)
       FROM generate_series(0, 479) i ORDER BY i ${order}`,
    [venue],
  );
}

const candles = async (venue: string): Promise<object[]> =>
  (
    await db.query(
      `SELECT "interval", window_start, open, high, low, close, volume, notional, vwap, trade_count, first_trade_id, last_trade_id
         FROM hot.candles WHERE venue = $1 ORDER BY 1, 2`,
      [venue],
    )
  ).rows;

const wrong = ({ checks }: Verified) => checks.flatMap(({ examples }) => examples);

test('trades that are in no candle are counted, and after a rebuild there are none: the candles equal those of the other order', async () => {
  await insert('asc', 'ASC');
  await insert('desc', 'DESC');
  const before = await home.json<Verified>('verify');
  expect(wrong(before)).toEqual([]);
  expect(before.missing).toMatchObject([
    { symbol: 'BTC/USD', interval: '1m', reason: 'LATE', trades: 358 },
    { interval: '5m' },
  ]);
  const told = await home.cli('verify', '--table', 'candles');
  expect(told.output).toContain('! trades of desc BTC/USD: 358 in no 1m candle (LATE)');
  expect(told.output).toContain('millrace rebuild ohlcv --late');

  const plan = await home.cli('rebuild', 'ohlcv', '--venue', 'desc', '--symbol', 'BTC/USD');
  expect([plan.code, plan.errors]).toEqual([1, expect.stringContaining('CONFIRMATION_NEEDED')]);
  expect(plan.output).toContain('desc BTC/USD');
  const done = await home.json<Rebuilt>('rebuild', 'ohlcv', '--late', '--yes');
  const planned = done.symbols.reduce((sum, each) => sum + each.candles.length, 0);
  expect([done.carriedOut, done.rebuilt]).toEqual([true, planned]);
  process.stderr.write(`480 rows: ${planned} candles rebuilt in ${done.seconds.toFixed(2)} s\n`);
  const again = await home.cli('rebuild', 'ohlcv', '--late', '--yes');
  expect([again.code, again.output]).toEqual([0, 'no frozen candle lacks a change that the log has\n']);

  const after = await home.json<Verified>('verify');
  expect(wrong(after)).toEqual([]);
  expect([after.ok, after.missing]).toEqual([true, []]);
  expect(await candles('desc')).toEqual(await candles('asc'));
  expect((await home.json<Replayed>('replay', 'ohlcv')).examples).toEqual([]);
  const { code, output } = await home.cli('trace', 'trades', 'desc', 'BTC/USD', 't0');
  expect([code, output]).toEqual([0, expect.stringContaining('REBUILT')]);
});
