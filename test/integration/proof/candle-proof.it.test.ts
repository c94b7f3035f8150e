/** The proof of candles: what is right passes, also with late, dead, corrected and repeated trades; every planted difference is named. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { AvroDecoder } from '../../../core/avro/decoder.ts';
import { AvroEncoder } from '../../../core/avro/encoder.ts';
import type { LogRecord } from '../../../core/log/log.ts';
import { Driver } from '../../../core/testing/driver.ts';
import { formatDecimal, PRICE_SCALE } from '../../../core/values/decimal.ts';
import { ohlcv } from '../../../processors/ohlcv/ohlcv.ts';
import type { OhlcvSettings } from '../../../processors/ohlcv/settings.ts';
import { Feed, SETTINGS, type TradeFields, time } from '../../../processors/ohlcv/testing/fixture.ts';
import { rebuild } from '../../../processors/ohlcv/testing/rebuild.ts';
import { type CandleProof, checkCandles } from '../../../proof/candles/candles.ts';
import type { Check } from '../../../proof/report/report.ts';
import type { Candle } from '../../../schemas/gen/candle.ts';
import type { DeadLetter } from '../../../schemas/gen/dead_letter.ts';
import { schemas as contracts } from '../../../schemas/gen/index.ts';
import type { Redrive } from '../../../schemas/gen/redrive.ts';
import type { TradeChange } from '../../../schemas/gen/trade_change.ts';
import { type TestDatabase, testDatabase } from '../../support/capture.ts';
import { testConfig } from '../../support/stack.ts';

const intervals = ['1m', '5m', '15m', '10m/5m', 'session'];
let settings: OhlcvSettings = { ...SETTINGS, intervals };
let database: TestDatabase;
let driver: Driver<TradeChange>;
let feed: Feed;

beforeAll(async () => {
  database = await testDatabase(testConfig());
  await database.client.query("SET TIME ZONE 'UTC'");
});
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
       ON CONFLICT (venue, symbol, trade_id) DO UPDATE SET price = excluded.price, size = excluded.size, executed_at = excluded.executed_at`,
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

beforeEach(() => begin({ ...SETTINGS, intervals }));

/** An hour of trades, folded by these settings. */
async function begin(rules: OhlcvSettings): Promise<void> {
  settings = rules;
  await database.client.query('DELETE FROM trades');
  driver = await Driver.open(ohlcv(settings));
  feed = new Feed();
  for (let i = 0; i < 60; i++) {
    const at = `12:${String(Math.floor(i / 5)).padStart(2, '0')}:${String((i % 5) * 11).padStart(2, '0')}.00000${i % 7}`;
    await change({ at, id: `t${i}`, price: priceOf(i), size: '0.3' });
  }
}

const priceOf = (i: number) => `${100 + ((i * 7) % 13)}.0000000${i % 9}`;
afterEach(async () => {
  await driver[Symbol.asyncDispose]();
});

async function prove(day?: string): Promise<CandleProof> {
  const { log, schemas } = driver;
  await driver.beat(time('2025-06-03T18:00:00Z'));
  const sources = { db: database.client, log, schemas };
  return await checkCandles(sources, {
    ...settings,
    processor: 'ohlcv',
    topic: 'market.candles',
    ...(day === undefined ? {} : { day }),
  });
}

const check = async (day?: string): Promise<readonly Check[]> => (await prove(day)).checks;

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
  await driver.beat(time('2025-06-03T18:00:00Z'));
  const made = (await candles()).find(({ interval }) => interval === '1m');
  if (made === undefined) throw new Error('no candle');
  const encoder = await AvroEncoder.open<Candle>(driver.schemas, 'market.candles-value', contracts.candle);
  const value = encoder.encode(edit({ ...made, revision: made.revision + 1, status: 'REVISED' }));
  driver.log.append({ topic: 'market.candles', partition: 0, key: null, value, timestamp: 0n });
}

describe('the proof of candles', () => {
  test('finds nothing where nothing is wrong', async () => {
    expect(await found()).toEqual([]);
    const subjects = (await check()).map(({ subject }) => subject);
    // 12 minutes: 12, 3, 1, 4 that overlap, and 1 session.
    expect(subjects).toEqual([
      '21 candles (1m, 5m, 15m, 10m/5m, session)',
      '21 candle records',
      '60 trades (1m, 5m, 15m, 10m/5m, session)',
    ]);
  });

  test('takes late trades, trades from the future and poison for what they are', async () => {
    await change({ at: '12:12:00', log: '12:12:00', id: 'ahead' });
    await change({ at: '12:00:30', log: '12:12:01', id: 'late', price: '1' });
    await change({ at: '17:00:00', log: '12:12:01', id: 'future' });
    driver.sendBytes(Buffer.from('poison'));
    expect(await found()).toEqual([]);
  });

  /** Changes of what is closed, open, frozen, an extreme, an end, the only one, and of a trade that was refused. */
  async function correct(): Promise<void> {
    const log = '12:12:00';
    await change({ at: '12:00:00', log, id: 't0', op: 'u', price: '5000', was: { price: priceOf(0) } });
    await change({ at: '12:00:11', log, id: 't1', op: 'd', price: priceOf(1), size: '0.3' });
    await change({ at: '12:11:44.000003', log, id: 't59', op: 'd', price: priceOf(59), size: '0.3' });
    await change({ at: '12:11:59', log, id: 't59', price: '77' });
    await change({
      at: '12:09:30',
      log,
      id: 't20',
      op: 'u',
      price: priceOf(20),
      size: '0.3',
      was: { at: '12:04:00.000006' },
    });
    await change({
      at: '12:30:00',
      log,
      id: 't21',
      op: 'u',
      price: '9',
      was: { at: '12:04:11', price: priceOf(21), size: '0.3' },
    });
    await change({ at: '12:05:30', log, id: 't21', op: 'u', price: '9', was: { at: '12:30:00' } });
    await change({ at: '12:30:00', log, id: 'refused' });
    await change({ at: '12:06:01', log, id: 'refused', op: 'u', was: { at: '12:30:00' } });
    await change({ at: '12:00:12', log: '12:12:01', id: 'late', price: '1' });
    await change({ at: '12:00:12', log: '12:12:02', id: 'late', op: 'u', price: '2', was: { price: '1' } });
  }

  test.each([0, 60_000, 400_000, 3_600_000])(
    'follows updates and deletes with a horizon of %d ms',
    async (horizonMs) => {
      await begin({ ...SETTINGS, intervals, horizonMs });
      await correct();
      expect(await found()).toEqual([]);
    },
  );

  test.each([0, 60_000, 400_000])(
    'counts what is in no candle, by interval and reason, and only what was refused after a rebuild, with a horizon of %d ms',
    async (horizonMs) => {
      await begin({ ...SETTINGS, intervals, horizonMs });
      await correct();
      await change({ at: '17:00:00', log: '12:12:03', id: 'future' });
      await change({ at: '12:00:13', log: '12:12:04', id: 'later', price: '3' });
      const before = await prove();
      expect(before.checks.flatMap(({ examples }) => examples)).toEqual([]);
      const of = (proof: CandleProof, interval: string) =>
        proof.missing.filter((each) => each.interval === interval).map(({ reason, trades }) => `${trades} ${reason}`);
      // t0 and late were changed too late for their minutes; t20, t21 and refused only where the horizon is short.
      const corrections = horizonMs < 400_000 ? 5 : 2;
      expect(of(before, '1m')).toEqual([`${corrections} CORRECTION`, '1 FUTURE_EVENT_TIME', '1 LATE']);
      expect((await rebuild(driver, settings)).rebuilt).toBeGreaterThan(3);
      const after = await prove();
      expect(after.checks.flatMap(({ examples }) => examples)).toEqual([]);
      for (const interval of intervals) expect(of(after, interval)).toEqual(['1 FUTURE_EVENT_TIME']);
    },
  );

  test('follows sessions of an exchange, and gaps that are filled', async () => {
    const calendars = { bitstamp: 'XNYS' };
    await begin({
      ...SETTINGS,
      intervals: ['1m', '5m', 'session'],
      calendars,
      horizonMs: 3_600_000,
      fillMs: 1_200_000,
    });
    await change({ at: '13:29:59', id: 'before the open' });
    await change({ at: '13:31:00', id: 'in the session' });
    await change({ at: '13:50:00', id: 'after a gap', price: '3' });
    await change({ at: '13:39:00', log: '13:50:10', id: 'into the gap', price: '4' });
    await change({ at: '13:39:00', log: '13:50:20', id: 'into the gap', op: 'd', price: '4' });
    await correct();
    expect(await found()).toEqual([]);
  });

  test('names a filled candle with another close, and a gap that is not filled', async () => {
    await begin({ ...SETTINGS, intervals: ['1m'], fillMs: 1_200_000 });
    await change({ at: '12:20:00', id: 'after a gap', price: '3' });
    await change({ at: '12:50:00', id: 'after a longer gap', price: '4' });
    await driver.beat(time('2025-06-03T18:00:00Z'));
    const filled = (await candles()).find(({ status }) => status === 'FILLED');
    const encoder = await AvroEncoder.open<Candle>(driver.schemas, 'market.candles-value', contracts.candle);
    const forged = { ...(filled as Candle), revision: 2, open: 1n, high: 1n, low: 1n, close: 1n };
    driver.log.append({
      topic: 'market.candles',
      partition: 0,
      key: null,
      value: encoder.encode(forged),
      timestamp: 0n,
    });
    expect(await found()).toEqual([expect.stringContaining('is filled with 0.00000001, the close before is')]);
    settings = { ...settings, fillMs: 1_800_000 };
    expect(await found()).toContainEqual(expect.stringMatching(/not filled$/));
  });

  test('takes a dead letter that was redriven for what became of its record', async () => {
    await change({ at: '12:11:58', log: '12:11:58', id: 'cured' });
    const { log, schemas } = driver;
    const { value, key, timestamp } = log.records('cdc.public.trades', 0).at(-1) as LogRecord;
    const letters = await AvroEncoder.open<DeadLetter>(schemas, 'ohlcv.dead-value', contracts.dead_letter);
    const letter = letters.encode({
      processor: 'ohlcv',
      origin: { topic: 'cdc.public.trades', partition: 0, offset: 900_000n, timestamp },
      reason: 'BAD_RECORD',
      error: 'refused by a release that could not read it',
      key,
      value,
      schema_id: null,
      lsn: null,
      attempts: 1,
    });
    const at = log.append({ topic: 'ohlcv.dead', partition: 0, key: null, value: letter, timestamp });
    expect(await found()).not.toEqual([]);
    const notes = await AvroEncoder.open<Redrive>(schemas, 'redrives-value', contracts.redrive);
    const note = notes.encode({
      letter_topic: 'ohlcv.dead',
      letter_partition: 0,
      letter_offset: at,
      origin_topic: 'cdc.public.trades',
      origin_partition: 0,
      origin_offset: 900_000n,
      attempts: 1,
      redriven_at: 1n,
    });
    log.create('redrives', 1);
    log.append({ topic: 'redrives', partition: 0, key: null, value: note, timestamp });
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
    expect(differences.filter((each) => each.includes('trade_count is'))).toHaveLength(6);
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

  test('of one day compares the candles that begin on it, and nothing else', async () => {
    await begin({ ...SETTINGS, intervals: ['1m', '10m/5m'] });
    await change({ at: '2025-06-03T00:00:01Z', id: 'next day', price: '50' });
    await change({ at: '2025-06-03T00:07:00Z', id: 'later', price: '51' });
    await database.client.query(`UPDATE trades SET price = 52 WHERE trade_id = 'later'`);
    const of = async (day: string) => (await check(day)).flatMap(({ examples }) => examples);
    expect(await of('2025-06-02')).toEqual([]);
    const found = await of('2025-06-03');
    expect(found[0]).toMatch(
      /^bitstamp BTC\/USD 1m 2025-06-03 00:07:00: .*close is 51.00000000, recomputed 52.00000000/,
    );
    expect(found.filter((each) => !each.includes(' 2025-06-03 '))).toEqual([]);
    expect((await check('2025-06-03')).at(-1)?.subject).toMatch(/^2 trades/);
  });

  test('names a revision that does not rise, and a candle that closes twice', async () => {
    await forge((candle) => ({ ...candle, revision: candle.revision - 1 }));
    await forge((candle) => ({ ...candle, revision: candle.revision + 1, status: 'CLOSED' }));
    const differences = await found();
    expect(differences.some((each) => /: revision \d+ follows \d+$/.test(each))).toBe(true);
    expect(differences.some((each) => each.endsWith('closed a second time'))).toBe(true);
  });
});
