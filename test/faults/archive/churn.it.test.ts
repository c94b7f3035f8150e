/** What the load of the soak says is committed is what is in Postgres. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type TestDatabase, testDatabase } from '../../support/capture.ts';
import { testConfig } from '../../support/stack.ts';
import { compareHoldings, holdingsQuery, Sessions } from './sessions.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await testDatabase(testConfig());
});
afterAll(async () => {
  await database?.[Symbol.asyncDispose]();
});

test('sessions whose transactions overlap leave in Postgres what they say they committed', async () => {
  const signal = new AbortController().signal;
  const market = { symbols: 4, start: 1_704_067_200_000_000n, span: 86_400_000_000n };
  const sessions = new Sessions({ url: database.url, seed: 3, changes: 6_000, sessions: 2, signal, ...market });
  await sessions.run();
  expect(sessions.changes).toBe(6_000);
  const { rows } = await database.client.query({ text: holdingsQuery('public.trades'), rowMode: 'array' });
  expect(rows).toHaveLength(8);
  expect(compareHoldings(sessions.holdings(), rows)).toEqual([]);
  await database.client.query(
    `UPDATE trades SET price = price + 0.00000001
      WHERE (venue, symbol, trade_id) = (SELECT venue, symbol, trade_id FROM trades ORDER BY venue, symbol LIMIT 1)`,
  );
  const { rows: changed } = await database.client.query({ text: holdingsQuery('public.trades'), rowMode: 'array' });
  expect(compareHoldings(sessions.holdings(), changed)).toHaveLength(1);
});
