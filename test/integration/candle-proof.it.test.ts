/** The proof of candles: what is right passes, also with late, dead, corrected and repeated trades; every planted difference is named. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { AvroDecoder } from '../../core/avro/decoder.ts';
import { AvroEncoder } from '../../core/avro/encoder.ts';
import { formatDecimal, PRICE_SCALE } from '../../core/decimal.ts';
import { Driver } from '../../core/testing/driver.ts';
import { Feed, SETTINGS, type TradeFields, time } from '../../processors/ohlcv/fixture.ts';
import { ohlcv } from '../../processors/ohlcv/ohlcv.ts';
import { checkAccounting } from '../../proof/accounting.ts';
import { checkCandles } from '../../proof/candles.ts';
import { loadExcluded } from '../../proof/excluded.ts';
import type { Check } from '../../proof/report.ts';
import type { Candle } from '../../schemas/gen/candle.ts';
import { schemas as contracts } from '../../schemas/gen/index.ts';
import type { TradeChange } from '../../schemas/gen/trade_change.ts';
import { type TestDatabase, testDatabase } from '../capture.ts';
import { testConfig } from '../stack.ts';

const { intervals } = SETTINGS;
let database: TestDatabase;
let driver: Driver<TradeChange>;
let feed: Feed;

beforeAll(async () => {
  database = await testDatabase(testConfig());
  await database.client.query("SET TIME ZONE 'UTC'");
}, 60_000);
afterAll(async () => {
  await database?.[Symbol.asyncDispose]();
});

/** As capture does it: into the log, and the same into Postgres. */
async function change(fields: TradeFields): Promise<TradeChange> {
  const value = feed.change(fields);
  driver.send(value);
  const { client } = database;
  const { after, before, op } = value;
  if (op === 'd') await client.query('DELETE FROM trades WHERE trade_id = $1', [before?.trade_id]);
  if (after !== null) {
    await client.query(
      `INSERT INTO trades VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
       ON CONFLICT (venue, symbol, trade_id) DO UPDATE SET price = excluded.price`,
      [
        after.venue,
        after.symbol,
        after.trade_id,
        after.venue_sequence,
        formatDecimal(after.price, PRICE_SCALE),
        formatDecimal(after.size, PRICE_SCALE),
        after.side,
        after.executed_at,
      ],
    );
  }
  return value;
}

beforeEach(async () => {
  await database.client.query('DELETE FROM trades');
  driver = await Driver.open(ohlcv(SETTINGS));
  feed = new Feed();
  for (let i = 0; i < 60; i++) {
    const at = `12:${String(Math.floor(i / 5)).padStart(2, '0')}:${String((i % 5) * 11).padStart(2, '0')}.00000${i % 7}`;
    await change({ at, id: `t${i}`, price: `${100 + ((i * 7) % 13)}.0000000${i % 9}`, size: '0.3' });
  }
});
afterEach(async () => {
  await driver[Symbol.asyncDispose]();
});

async function check(): Promise<Check[]> {
  const { log, schemas } = driver;
  await driver.beat(time('18:00:00'));
  const { client } = database;
  await client.query('DROP TABLE IF EXISTS excluded, corrected, revisions, observed, expected');
  await loadExcluded(client, log, schemas, 'ohlcv');
  const checks = await checkCandles(client, log, schemas, { intervals, topic: 'market.candles' });
  return [...checks, await checkAccounting(client, intervals)];
}

async function found(): Promise<string[]> {
  return (await check()).flatMap(({ examples }) => examples);
}

async function candles(): Promise<Candle[]> {
  const decoder = new AvroDecoder<Candle>(driver.schemas, contracts.candle);
  const values = driver.log.records('market.candles', 0).map(({ value }) => value as Buffer);
  await decoder.prepare(decoder.missing(values));
  return values.map((value) => decoder.decode(value));
}

/** Another revision of a candle, as a wrong processor would write it. */
async function forge(edit: (candle: Candle) => Candle): Promise<void> {
  await driver.beat(time('18:00:00'));
  const made = (await candles()).find(({ interval }) => interval === '1m');
  if (made === undefined) throw new Error('no candle');
  const encoder = await AvroEncoder.open<Candle>(driver.schemas, 'market.candles-value', contracts.candle);
  const value = encoder.encode(edit({ ...made, revision: made.revision + 1, status: 'REVISED' }));
  driver.log.append({ topic: 'market.candles', partition: 0, key: null, value, timestamp: 0n });
}

describe('the proof of candles', () => {
  test('finds nothing where nothing is wrong', async () => {
    expect(await found()).toEqual([]);
    expect((await check()).map(({ subject }) => subject)).toEqual([
      '15 candles (1m, 5m)',
      '15 candle records',
      '60 trades (1m, 5m)',
    ]);
  });

  test('takes late trades, trades from the future and poison for what they are', async () => {
    await change({ at: '12:12:00', log: '12:12:00', id: 'ahead' });
    await change({ at: '12:00:30', log: '12:12:01', id: 'late', price: '1' });
    await change({ at: '17:00:00', log: '12:12:01', id: 'future' });
    driver.sendBytes(Buffer.from('poison'));
    expect(await found()).toEqual([]);
  });

  test('counts a trade as it was created when its update or delete was not applied, also when it came back', async () => {
    await change({ at: '12:00:00', log: '12:12:00', id: 't0', op: 'u', price: '5000' });
    await change({ at: '12:00:11', log: '12:12:00', id: 't1', op: 'd' });
    await change({ at: '12:11:44.000003', log: '12:12:00', id: 't59', op: 'd' });
    await change({ at: '12:11:59', log: '12:12:00', id: 't59', price: '77' });
    expect(await found()).toEqual([]);
  });

  test('counts a change that was captured twice once', async () => {
    const again = await change({ at: '12:11:59', log: '12:11:59', id: 'twice' });
    driver.send(again);
    expect(await found()).toEqual([]);
  });

  test('names a field that differs in its last decimal, with both values', async () => {
    await forge((candle) => ({ ...candle, high: (candle.high ?? 0n) + 1n }));
    expect(await found()).toEqual([
      expect.stringMatching(/^bitstamp BTC\/USD 1m .*: high is \d+\.\d{8}, recomputed \d+\.\d{8}$/),
    ]);
  });

  test('names a trade that no candle counts', async () => {
    await database.client.query(
      `INSERT INTO trades VALUES ('bitstamp', 'BTC/USD', 'unseen', NULL, 1, 1, 'buy', '2025-06-02T12:05:00Z')`,
    );
    const differences = await found();
    expect(differences.filter((each) => each.includes('trade_count is'))).toHaveLength(2);
    expect(differences).toContain('1m: 61 trades, but 60 in candles, 0 late and 0 dead');
  });

  test('names a candle that Postgres has no trades for, and one that is missing', async () => {
    await database.client.query(
      `UPDATE trades SET executed_at = executed_at + interval '1 day' WHERE executed_at < '2025-06-02T12:01:00Z'`,
    );
    const differences = await found();
    expect(differences.some((each) => each.endsWith('in the topic, but Postgres has no trades for it'))).toBe(true);
    expect(differences.some((each) => each.endsWith('missing in the topic'))).toBe(true);
  });

  test('names a revision that does not rise, and a candle that closes twice', async () => {
    await forge((candle) => ({ ...candle, revision: candle.revision - 1 }));
    await forge((candle) => ({ ...candle, revision: candle.revision + 1, status: 'CLOSED' }));
    const differences = await found();
    expect(differences.some((each) => /: revision \d+ follows \d+$/.test(each))).toBe(true);
    expect(differences.some((each) => each.endsWith('closed a second time'))).toBe(true);
  });
});
