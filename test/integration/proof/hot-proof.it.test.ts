/** The proof of the hot store: what is right passes, with values of every kind; every planted difference is named down to its key and column. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { groupOf } from '../../../core/runtime/runner.ts';
import { checkHot, type HotScope } from '../../../proof/hot-store/check.ts';
import type { Check } from '../../../proof/report/report.ts';
import { describeLine, differing } from '../../../proof/report/tally.ts';
import { type HotTopic, hotTopics } from '../../../schemas/topics.ts';
import { Harness } from '../../../sinks/hot-store/fixtures/harness.ts';
import { anomaly, candle, emptied, features, minute, start } from '../../../sinks/hot-store/fixtures/values.ts';
import { PostgresHotStore } from '../../../sinks/hot-store/postgres.ts';
import { type TestDatabase, testDatabase } from '../../support/capture.ts';
import { testConfig } from '../../support/stack.ts';

const candles = 'market.candles';
let database: TestDatabase;
let store: PostgresHotStore;
let harness: Harness;

beforeAll(async () => {
  database = await testDatabase(testConfig());
});
afterAll(async () => {
  await database?.[Symbol.asyncDispose]();
});
beforeEach(async () => {
  await database.client.query('DROP SCHEMA IF EXISTS hot CASCADE');
  store = new PostgresHotStore({ url: database.url });
  harness = await Harness.open({}, store);
});
afterEach(async () => {
  await store[Symbol.asyncDispose]();
});

/** Ten candles of two revisions, the last one emptied, an anomaly and a row of features, all written. */
async function write(): Promise<void> {
  for (let i = 0n; i < 10n; i++) {
    const window_start = start + i * minute;
    harness.send(candles, candle({ window_start, trade_count: i }));
    harness.send(candles, candle({ window_start, revision: 2, status: 'CLOSED', trade_count: i + 1n }));
  }
  harness.send(candles, emptied({ window_start: start + 9n * minute, revision: 3 }));
  harness.send('market.anomalies', anomaly());
  harness.send('market.features', features());
  for (const topic of hotTopics) await harness.run(topic);
}

async function check(topic: HotTopic = candles, scope?: HotScope): Promise<Check> {
  return checkHot({ log: harness.log, schemas: harness.schemas, hot: database.client }, topic, scope);
}

async function found(topic?: HotTopic): Promise<readonly string[]> {
  return (await check(topic)).examples;
}

/** By day and partition: rows of the log and of the table, and the days on which their hashes differ. */
async function tallies(topic?: HotTopic) {
  const { tallies: found = { table: '', columns: 'data', lines: [] } } = await check(topic);
  return {
    table: found.table,
    rows: found.lines.map(({ day, partition, places }) => [day, partition, places.kafka?.rows, places.hotStore?.rows]),
    differing: differing(found).map(describeLine),
  };
}

const sql = (text: string) => database.client.query(text);
const at = (time: string) => `bitstamp BTC/USD 1m ${time}.000000Z`;

describe('the proof of the hot store', () => {
  beforeEach(write);

  test('finds nothing where nothing is wrong, with decimals, lists, nulls and any text', async () => {
    for (const topic of hotTopics) expect(await found(topic)).toEqual([]);
    expect((await check()).subject).toBe('10 rows for 10 keys');
  });

  test('counts rows and adds up row hashes by day and partition of topic and table', async () => {
    expect(await tallies()).toEqual({
      table: 'hot.candles',
      rows: [
        ['2013-11-25', 0, 1, 1],
        ['2013-11-26', 0, 9, 9],
      ],
      differing: [],
    });
    for (const topic of hotTopics) expect((await tallies(topic)).differing).toEqual([]);
    await sql(`UPDATE hot.candles SET high = high - 0.00000001 WHERE window_start = '2013-11-26T00:01:00Z'`);
    expect((await tallies()).differing).toEqual([
      expect.stringMatching(/^2013-11-26, partition 0: kafka 9 rows [0-9a-f]{16}, hotStore 9 rows [0-9a-f]{16}$/),
    ]);
    await sql(`UPDATE hot.candles SET symbol = 'X' WHERE window_start = '2013-11-26T00:03:00Z'`);
    expect((await tallies()).rows).toEqual([
      ['2013-11-25', 0, 1, 1],
      ['2013-11-26', null, 0, 1],
      ['2013-11-26', 0, 9, 8],
    ]);
  });

  test('names a row that is missing', async () => {
    await sql(`DELETE FROM hot.candles WHERE window_start = '2013-11-26T00:01:00Z'`);
    expect((await tallies()).rows).toContainEqual(['2013-11-26', 0, 9, 8]);
    expect(await found()).toEqual([`${at('2013-11-26T00:01:00')}: in the log with revision 2, not in the hot store`]);
  });

  test('names the column of a value that differs in its last decimal, with both values', async () => {
    await sql(`UPDATE hot.candles SET high = high - 0.00000001 WHERE window_start = '2013-11-26T00:01:00Z'`);
    expect(await found()).toEqual([
      `${at('2013-11-26T00:01:00')}: high is 999999999999.99999998, in the log 999999999999.99999999`,
    ]);
  });

  test('names a number inside a list', async () => {
    await sql(`UPDATE hot.features SET profile = jsonb_set(profile, '{0,volume}', '0.00000004')`);
    expect(await found('market.features')).toEqual([
      'bitstamp BTC/USD default 2013-11-25T23:59:00.000000Z: profile is ' +
        '[{"volume": 0.00000004, "price_to": 0.00000002, "price_from": 0.00000001}], in the log ' +
        '[{"volume": 0.00000003, "price_to": 0.00000002, "price_from": 0.00000001}]',
    ]);
  });

  test('names an older revision, one that the log does not have, and a row that it never had', async () => {
    await sql(`UPDATE hot.candles SET revision = 1 WHERE window_start = '2013-11-26T00:01:00Z'`);
    await sql(`UPDATE hot.candles SET revision = 7 WHERE window_start = '2013-11-26T00:02:00Z'`);
    await sql(`UPDATE hot.candles SET symbol = 'X' WHERE window_start = '2013-11-26T00:03:00Z'`);
    expect(await found()).toEqual([
      `${at('2013-11-26T00:01:00')}: revision 1 in the hot store, 2 in the log`,
      `${at('2013-11-26T00:02:00')}: revision 7 in the hot store is not in the log`,
      `${at('2013-11-26T00:03:00')}: in the log with revision 2, not in the hot store`,
      'bitstamp X 1m 2013-11-26T00:03:00.000000Z: in the hot store, not in the log',
    ]);
  });

  test('takes what the sink has not committed yet as it is: written or not', async () => {
    const window_start = start + minute;
    harness.send(candles, candle({ window_start, revision: 3, trade_count: 99n }));
    harness.send(candles, candle({ window_start: start + 20n * minute }));
    expect(await check()).toMatchObject({
      differences: 0,
      subject: '10 rows for 10 keys, 2 newer records not written yet',
    });
    expect((await tallies()).differing).toEqual([]);
    await sql(`UPDATE hot.candles SET revision = 3, trade_count = 99 WHERE window_start = '2013-11-26T00:00:00Z'`);
    expect(await found()).toEqual([
      expect.stringMatching(`^${at('2013-11-26T00:00:00')}: status is CLOSED, in the log PARTIAL`),
    ]);
    await harness.run(candles);
    expect(await found()).toHaveLength(1);
  });

  test('a record that the sink refused is no row', async () => {
    harness.send(candles, candle({ window_start: start + 30n * minute, first_trade_id: 'a\0b' }));
    await harness.run(candles);
    expect(await harness.dead()).toHaveLength(1);
    expect(await found()).toEqual([]);
  });

  test('names every key when the table is gone, and leaves out days that are not kept', async () => {
    await sql('DROP SCHEMA hot CASCADE');
    expect(await check()).toMatchObject({ differences: 10, subject: '0 rows for 10 keys' });
    expect(await check(candles, { from: start + 8n * minute })).toMatchObject({ differences: 2 });
  });
});

test('a hot store that was never used is skipped, and the check says so', async () => {
  harness.send(candles, candle());
  expect(await harness.log.committed(groupOf('hot-store'), candles)).toEqual([]);
  expect(await check()).toMatchObject({ skipped: true, subject: 'the hot store is not in use', differences: 0 });
});
