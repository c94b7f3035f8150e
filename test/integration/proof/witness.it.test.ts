/** The witness sees what Postgres commits, and the invariants hold of a right run and name what is planted into a log. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { AvroDecoder } from '../../../core/avro/decoder.ts';
import { AvroEncoder } from '../../../core/avro/encoder.ts';
import { groupOf } from '../../../core/runtime/runner.ts';
import { Driver } from '../../../core/testing/driver.ts';
import { parseDecimal } from '../../../core/values/decimal.ts';
import { formatTimestamp } from '../../../core/values/time.ts';
import { ohlcv } from '../../../processors/ohlcv/ohlcv.ts';
import { tradesTopic } from '../../../proof/reading/topic.ts';
import type { Candle } from '../../../schemas/gen/candle.ts';
import { schemas as contracts } from '../../../schemas/gen/index.ts';
import type { TradeChange } from '../../../schemas/gen/trade_change.ts';
import { type TestDatabase, testDatabase } from '../../support/capture.ts';
import { testConfig } from '../../support/stack.ts';
import { acrossGaps } from '../../witness/gaps.ts';
import { checkInvariants } from '../../witness/invariants.ts';
import { Witness } from '../../witness/witness.ts';

const settings = { ...testConfig().ohlcv, intervals: ['1m', '5m'] };
const group = groupOf('ohlcv');
/** Log time of everything, microseconds. */
const logTime = 1_717_243_200_000_000n;

let database: TestDatabase;
let witness: Witness;
let driver: Driver<TradeChange>;

beforeAll(async () => {
  database = await testDatabase(testConfig());
  await database.client.query("SET TIME ZONE 'UTC'");
});
afterAll(async () => {
  await database?.[Symbol.asyncDispose]();
});
beforeEach(async () => {
  await database.client.query('DELETE FROM trades');
  witness = await Witness.open(database.client, { slot: slot(), publication: 'millrace', portion: 20 });
  driver = await Driver.open(ohlcv(settings));
});
afterEach(async () => {
  await driver[Symbol.asyncDispose]();
  await witness.drop();
});

/** Slots are the cluster's, so this one has the name of its database. */
const slot = (): string => `${new URL(database.url).pathname.slice(1)}_witness`;

async function insert(first: number, count: number, at = '2024-06-01 11:00:00Z'): Promise<void> {
  await database.client.query(
    `INSERT INTO trades (venue, symbol, trade_id, venue_sequence, price, size, executed_at)
     SELECT 'x', 'S' || n % 3, 't' || n, n, 100 + n % 7, 1.5, $3::timestamptz + make_interval(secs => n)
       FROM generate_series($1::int, $1::int + $2::int - 1) AS n`,
    [first, count, at],
  );
}

interface Seen {
  readonly lsn: string;
  readonly op: string;
  readonly symbol: string;
  readonly trade_id: string;
  readonly price: string | null;
  readonly size: string | null;
  readonly venue_sequence: string | null;
  readonly at: string | null;
}

async function seen(): Promise<Seen[]> {
  const { rows } = await database.client.query<Seen>(
    `SELECT lsn::text, op, symbol, trade_id, price::text, size::text, venue_sequence::text,
            (extract(epoch FROM executed_at) * 1000000)::bigint::text AS at FROM ${witness.table} ORDER BY seq`,
  );
  return rows;
}

/** As Debezium tells them; the row before an update or a delete is the one that was told last. */
function changesOf(rows: readonly Seen[]): TradeChange[] {
  const last = new Map<string, NonNullable<TradeChange['after']>>();
  return rows.map(({ lsn, op, symbol, trade_id, price, size, venue_sequence, at }) => {
    const before = last.get(trade_id) ?? null;
    const after =
      op === 'd'
        ? null
        : {
            venue: 'x',
            symbol,
            trade_id,
            venue_sequence: venue_sequence === null ? null : BigInt(venue_sequence),
            price: parseDecimal(price ?? '0', 8),
            size: parseDecimal(size ?? '0', 8),
            side: 'unknown',
            executed_at: formatTimestamp(BigInt(at ?? 0)),
            conditions: null,
          };
    if (after !== null) last.set(trade_id, after);
    const source = { ts_us: logTime, snapshot: 'false', sequence: `["${lsn}","${lsn}"]`, txId: null, lsn: BigInt(lsn) };
    return { before: op === 'c' ? null : before, after, op, source };
  });
}

async function differences(): Promise<string[]> {
  const checks = await checkInvariants(database.client, driver.log, driver.schemas, {
    witness: witness.table,
    group,
    intervals: settings.intervals,
  });
  return checks.flatMap(({ name, differences: count, examples }) =>
    count === 0 ? [] : [`${name.slice(0, 2)} ${examples[0] ?? ''}`],
  );
}

describe('the witness', () => {
  test('sees each change once, in commit order, by LSN, operation and primary key, in portions', async () => {
    await insert(1, 50);
    await database.client.query("UPDATE trades SET price = 7 WHERE trade_id = 't3'");
    expect(await witness.follow()).toBe(51);
    expect(await witness.follow()).toBe(0);
    await database.client.query("DELETE FROM trades WHERE trade_id = 't4'");
    await database.client.query("UPDATE trades SET trade_id = 'moved' WHERE trade_id = 't5'");
    expect(await witness.follow()).toBe(3);
    const rows = await seen();
    expect(rows.slice(0, 50).map(({ trade_id }) => trade_id)).toEqual(
      Array.from({ length: 50 }, (_, i) => `t${i + 1}`),
    );
    expect(
      rows.slice(50).map(({ op, trade_id, price }) => [op, trade_id, price === null ? null : Number(price)]),
    ).toEqual([
      ['u', 't3', 7],
      ['d', 't4', null],
      ['d', 't5', null],
      ['c', 'moved', 105],
    ]);
  });

  test('sees nothing of what is rolled back, and nothing twice when it is opened again', async () => {
    await insert(1, 5);
    await database.client.query('BEGIN');
    await insert(10, 5);
    await database.client.query('ROLLBACK');
    await witness.follow();
    const again = await Witness.open(database.client, { slot: slot(), publication: 'millrace' });
    await insert(20, 2);
    expect(await again.follow()).toBe(2);
    expect(await seen()).toHaveLength(7);
  });
});

describe('the invariants', () => {
  beforeEach(async () => {
    await insert(1, 60);
    // Late beyond any horizon, and dated ahead.
    await insert(200, 1, '2024-01-01 11:00:00Z');
    await insert(201, 1, '2025-06-01 11:00:00Z');
    await database.client.query("UPDATE trades SET price = 104.5 WHERE trade_id IN ('t3', 't9')");
    await database.client.query("DELETE FROM trades WHERE trade_id = 't12'");
    await witness.follow();
  });

  async function process(changes: readonly TradeChange[]): Promise<void> {
    for (const change of changes) driver.send(change);
    await driver.beat(logTime + 3_600_000_000n);
    await driver.run();
  }

  const records = (topic: string) => driver.log.records(topic, 0).filter(({ value }) => value !== null);

  /** Appends what is there once more, as it is. */
  function repeat(topic: string, index: number): void {
    const { key, value, timestamp } = records(topic)[index] ?? { key: null, value: null, timestamp: 0n };
    driver.log.append({ topic, partition: 0, key, value, timestamp });
  }

  /** As if everything up to the end had been processed, and nothing written. */
  async function commitOnly(): Promise<void> {
    await using writer = await driver.log.writer('bug');
    const [end = 0n] = await driver.log.ends(tradesTopic);
    await writer.transact({
      records: [],
      offsets: { group, positions: [{ topic: tradesTopic, partition: 0, offset: end }] },
    });
  }

  test('hold of a right run with late, dead, corrected, cancelled and repeated trades', async () => {
    const changes = changesOf(await seen());
    await process([...changes, ...changes.slice(-10)]);
    expect(records('ohlcv.dead')).toHaveLength(1);
    expect(await differences()).toEqual([]);
  });

  test('name a change that was not captured, and one that was never committed', async () => {
    const changes = changesOf(await seen());
    await process(changes.filter((_, i) => i !== 20));
    expect((await differences())[0]).toMatch(/^I1 x S0 t21 c at \d+ was committed, and is not in the log$/);
    const [first] = changes;
    if (first?.after == null) throw new Error('no change');
    driver.send({ ...first, after: { ...first.after, trade_id: 'nobody' } });
    await driver.run();
    expect(await differences()).toContainEqual(expect.stringMatching(/^I1 x S\d/));
  });

  test('name a candle that counts a trade twice', async () => {
    await process(changesOf(await seen()));
    const decoder = new AvroDecoder<Candle>(driver.schemas, contracts.candle);
    const encoder = await AvroEncoder.open<Candle>(driver.schemas, 'market.candles-value', contracts.candle);
    const { key, value, timestamp } = records('market.candles').at(-1) ?? { key: null, value: null, timestamp: 0n };
    if (value === null) throw new Error('no candle');
    await decoder.prepare(decoder.missing([value]));
    const candle = decoder.decode(value);
    const wrong = { ...candle, revision: candle.revision + 1, trade_count: candle.trade_count + 1n };
    driver.log.append({ topic: 'market.candles', partition: 0, key, value: encoder.encode(wrong), timestamp });
    expect(await differences()).toEqual([expect.stringMatching(/^I2 x S\d [15]m .*: is \(.*\), should be \(/)]);
  });

  test('name a version that goes back', async () => {
    await process(changesOf(await seen()));
    repeat('market.candles', 0);
    expect(await differences()).toContainEqual(expect.stringMatching(/^I3 x S\d \dm .*: revision \d+ follows \d+$/));
  });

  test('name an output that is there twice', async () => {
    await process(changesOf(await seen()));
    repeat('ohlcv.dead', 0);
    repeat('ohlcv.late', 0);
    expect(await differences()).toEqual([expect.stringMatching(/^I5 ohlcv.dead has 0\/\d+ 2 times$/)]);
  });

  test('name an offset that was committed without its output', async () => {
    await process(changesOf(await seen()));
    driver.sendBytes(Buffer.from('poison'));
    await commitOnly();
    expect(await differences()).toEqual([
      expect.stringMatching(/^I5 0\/\d+ is no change of a trade, is committed, and is no dead/),
    ]);
  });

  test('name an output whose offset was not committed', async () => {
    await process(changesOf(await seen()));
    await using writer = await driver.log.writer('bug');
    await writer.transact({
      records: [],
      offsets: { group, positions: [{ topic: tradesTopic, partition: 0, offset: 5n }] },
    });
    expect((await differences())[0]).toMatch(/^I5 candle \d+ of x S\d \dm is of offset \d+, committed is 5$/);
  });

  test('name a change that was counted at each of its deliveries', async () => {
    const changes = changesOf(await seen());
    await process(changes);
    for (const change of changes.slice(-3)) driver.send(change);
    await commitOnly();
    expect(await differences()).toEqual([expect.stringMatching(/^I5 0\/\d+ is a duplicate that nobody tells$/)]);
  });
});

describe('a gap that was recaptured', () => {
  test('is what it came to, made of the witness alone; what is missing outside of it stays missing', async () => {
    const db = database.client;
    await db.query(`DROP TABLE IF EXISTS captured, seen;
      CREATE TEMP TABLE captured (partition int, position bigint, lsn bigint, op text, venue text, symbol text, trade_id text);
      CREATE TEMP TABLE seen (seq bigint, lsn bigint, op text, venue text, symbol text, trade_id text,
        venue_sequence bigint, price numeric, size numeric, executed_at timestamptz)`);
    const change = async (seq: number, op: string, id: string, price: number | null, position?: number) => {
      const identity = [seq * 10, op, 'x', 's', id];
      await db.query(`INSERT INTO seen VALUES ($1, $2, $3, $4, $5, $6, NULL, $7, 1, NULL)`, [seq, ...identity, price]);
      if (position !== undefined)
        await db.query(`INSERT INTO captured VALUES (0, $1, $2, $3, $4, $5, $6)`, [position, ...identity]);
    };
    await change(1, 'c', 'same', 1, 1);
    await change(2, 'c', 'lost before', 1);
    await change(3, 'c', 'changed', 1, 3);
    await change(4, 'c', 'deleted', 1, 4);
    await change(5, 'c', 'missing', 1);
    await change(6, 'u', 'changed', 2);
    await change(7, 'u', 'changed', 3);
    await change(8, 'd', 'deleted', null);
    await change(9, 'c', 'fleeting', 1);
    await change(10, 'd', 'fleeting', null);
    await change(11, 'u', 'same', 2);
    await change(12, 'u', 'same', 1);
    for (const [position, op, id] of [
      [5, 'r', 'missing'],
      [6, 'u', 'changed'],
      [7, 'd', 'deleted'],
    ] as const) {
      await db.query(`INSERT INTO captured VALUES (0, $1, 129, $2, 'x', 's', $3)`, [position, op, id]);
    }
    await change(13, 'c', 'after', 1, 8);
    await change(14, 'c', 'lost after', 1);
    const table = await acrossGaps(db, 'seen', [129n]);
    const { rows } = await db.query(
      `SELECT concat_ws(' ', lsn, op, trade_id, price::int) AS what FROM ${table} ORDER BY seq, what`,
    );
    expect(rows.map(({ what }) => what)).toEqual([
      '10 c same 1',
      '20 c lost before 1',
      '30 c changed 1',
      '40 c deleted 1',
      '129 d deleted',
      '129 r missing 1',
      '129 u changed 3',
      '130 c after 1',
      '140 c lost after 1',
    ]);
  });
});
