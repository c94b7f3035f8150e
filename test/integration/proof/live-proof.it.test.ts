/** The proof beside a writer: what is visible in the snapshot counts, what came later is no difference, and what is planted is found. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { Client } from 'pg';
import { AvroEncoder } from '../../../core/avro/encoder.ts';
import { wallClock } from '../../../core/base/clock.ts';
import { connectPostgres } from '../../../core/base/postgres.ts';
import { groupOf } from '../../../core/runtime/runner.ts';
import { Driver } from '../../../core/testing/driver.ts';
import { MemoryLog } from '../../../core/testing/memory-log.ts';
import { formatDecimal, PRICE_SCALE } from '../../../core/values/decimal.ts';
import { ohlcv } from '../../../processors/ohlcv/ohlcv.ts';
import { Feed, SETTINGS, type TradeFields, time } from '../../../processors/ohlcv/testing/fixture.ts';
import { checkArchive } from '../../../proof/archive/archive.ts';
import { checkCandles } from '../../../proof/candles/candles.ts';
import { type Behind, takeMoment } from '../../../proof/live/moment.ts';
import { Settled } from '../../../proof/live/settled.ts';
import { Snapshot } from '../../../proof/live/snapshot.ts';
import { findUnseen } from '../../../proof/live/unseen.ts';
import type { HeartbeatChange } from '../../../schemas/gen/heartbeat_change.ts';
import { schemas as contracts } from '../../../schemas/gen/index.ts';
import type { TradeChange } from '../../../schemas/gen/trade_change.ts';
import { Harness } from '../../../sinks/parquet/fixtures/harness.ts';
import { type TestDatabase, testDatabase } from '../../support/capture.ts';
import { testConfig } from '../../support/stack.ts';

const topic = 'cdc.public.trades';
let database: TestDatabase;
let reader: Client;
let feed: Feed;

beforeAll(async () => {
  database = await testDatabase(testConfig());
});
afterAll(async () => {
  await database?.[Symbol.asyncDispose]();
});
beforeEach(async () => {
  await database.client.query('DELETE FROM trades');
  feed = new Feed();
  reader = await connectPostgres({ url: database.url, name: 'verify' });
  await reader.query("SET TIME ZONE 'UTC'");
});
afterEach(async () => {
  await reader.end();
});

/** One committed transaction of Postgres, and the change that capture makes of it. */
async function write(fields: TradeFields, client: Client = database.client): Promise<TradeChange> {
  const [at] = (await client.query('SELECT pg_current_xact_id()::text AS xid')).rows;
  const sql =
    fields.op === 'd'
      ? 'DELETE FROM trades WHERE trade_id = $1'
      : `INSERT INTO trades VALUES ('bitstamp', 'BTC/USD', $1, NULL, $2, $3, 'buy', $4)
         ON CONFLICT (venue, symbol, trade_id) DO UPDATE SET price = excluded.price, size = excluded.size, executed_at = excluded.executed_at`;
  const change = feed.change(fields);
  const { after } = change;
  const values = after === null ? [] : [after.price, after.size].map((units) => formatDecimal(units, PRICE_SCALE));
  await client.query(sql, [fields.id, ...values, ...(after === null ? [] : [after.executed_at])]);
  const [{ lsn }] = (await client.query(`SELECT (pg_current_wal_insert_lsn() - '0/0')::text AS lsn`)).rows as [
    { lsn: string },
  ];
  const moved = BigInt(lsn);
  const source = { ...change.source, lsn: moved, sequence: `["${moved}","${moved}"]`, txId: BigInt(at.xid) };
  return { ...change, source };
}

async function transaction(fields: TradeFields): Promise<TradeChange> {
  await database.client.query('BEGIN');
  const change = await write(fields);
  await database.client.query('COMMIT');
  return change;
}

/** What a backfill makes of a row that it read behind this place. */
function backfilled(fields: TradeFields, lsn: bigint): TradeChange {
  const change = feed.change({ ...fields, op: 'r', snapshot: 'incremental' });
  return { ...change, source: { ...change.source, lsn, sequence: `["${lsn}","${lsn}"]`, txId: 1n } };
}

async function endOfWal(): Promise<bigint> {
  const { rows } = await database.client.query<{ lsn: string }>(
    `SELECT (pg_current_wal_insert_lsn() - '0/0')::text AS lsn`,
  );
  return BigInt(rows[0]?.lsn ?? 0);
}

describe('candles beside a writer', () => {
  const settings = { ...SETTINGS, intervals: ['1m', '5m', '10m/5m'], horizonMs: 3_600_000 };
  let driver: Driver<TradeChange>;

  beforeEach(async () => {
    driver = await Driver.open(ohlcv({ ...settings, partialMs: 1_000 }));
    for (let i = 0; i < 30; i++) {
      driver.send(
        await transaction({
          at: `12:0${Math.floor(i / 5)}:${10 + (i % 5) * 9}`,
          id: `t${i}`,
          price: `${100 + ((i * 7) % 13)}`,
        }),
      );
    }
  });
  afterEach(async () => {
    await driver[Symbol.asyncDispose]();
  });

  async function found(snapshot?: Snapshot): Promise<string[]> {
    const sources = { db: reader, log: driver.log, schemas: driver.schemas, ...(snapshot && { snapshot }) };
    const { checks } = await checkCandles(sources, { ...settings, processor: 'ohlcv', topic: 'market.candles' });
    return checks.flatMap(({ examples }) => examples);
  }

  /** In an open window, a new one, one that has closed, and an update and a delete of what is visible. */
  async function goOn(): Promise<void> {
    driver.send(await transaction({ at: '12:05:50', id: 'later', price: '500' }));
    driver.send(await transaction({ at: '12:06:10', id: 'new window', price: '1' }));
    driver.send(await transaction({ at: '12:01:01', log: '12:06:10', id: 'late', price: '900' }));
    const log = '12:06:11';
    driver.send(await transaction({ at: '12:02:10', log, id: 't10', op: 'u', price: '7', was: { price: '105' } }));
    driver.send(await transaction({ at: '12:03:10', log, id: 't15', op: 'd', price: '101' }));
  }

  test('what came after the snapshot is no difference, before and after it is shown', async () => {
    await driver.beat(time('12:06:00'));
    const snapshot = await Snapshot.take(reader);
    await goOn();
    expect(await found(snapshot)).toEqual([]);
    await driver.beat(time('12:06:20'));
    expect(await found(snapshot)).toEqual([]);
    expect(await found()).not.toEqual([]);
  });

  test('a transaction that was open counts when it is visible, wherever it is in the log', async () => {
    const writer = await connectPostgres({ url: database.url, name: 'writer' });
    await writer.query('BEGIN');
    const open = await write({ at: '12:05:51', id: 'open', price: '3' }, writer);
    const snapshot = await Snapshot.take(reader);
    await writer.query('COMMIT');
    await writer.end();
    driver.send(open);
    await driver.beat(time('12:06:20'));
    expect(await found(snapshot)).toEqual([]);
  });

  test('a trade that is visible and in no candle is named, beside all that goes on', async () => {
    await transaction({ at: '12:04:30', id: 'lost', price: '100' });
    await driver.beat(time('12:06:00'));
    const snapshot = await Snapshot.take(reader);
    await goOn();
    await driver.beat(time('12:06:20'));
    const differences = await found(snapshot);
    expect(differences).toContainEqual(
      expect.stringMatching(/1m 2025-06-02 12:04:00: .*trade_count is 5, recomputed 6/),
    );
    expect(differences).toContain('1m: 33 trades, but 32 in candles, 0 late and 0 dead');
  });

  test('an open window that does not show a visible trade is named until its next PARTIAL', async () => {
    driver.send(await transaction({ at: '12:05:55', id: 'not shown', price: '100' }));
    const snapshot = await Snapshot.take(reader);
    expect(await found(snapshot)).not.toEqual([]);
    await driver.beat(time('12:06:20'));
    expect(await found(snapshot)).toEqual([]);
  });

  test('a trade that only a backfill brought is in no candle, and is named', async () => {
    await driver.beat(time('12:06:00'));
    const missed = { at: '12:01:20', id: 'missed', price: '105' };
    await transaction(missed);
    const snapshot = await Snapshot.take(reader);
    const named = await found(snapshot);
    expect(named).not.toEqual([]);
    driver.send(backfilled(missed, (await endOfWal()) + 1_000_000n));
    await driver.run();
    expect(await found(snapshot)).toEqual(named);
  });
});

describe('the archive beside a writer', () => {
  let harness: Harness;

  beforeEach(async () => {
    harness = await Harness.open({ settings: { flushSize: 10 } });
    for (let i = 0; i < 25; i++) {
      harness.send(topic, await transaction({ at: `12:00:${10 + i}`, id: `t${i}`, price: `${i}.00000001` }));
    }
    await harness.run(topic);
  });

  async function found(snapshot: Snapshot): Promise<string[]> {
    const { log, schemas, store } = harness;
    const { checks } = await checkArchive({ log, schemas, store, db: reader, snapshot }, topic);
    return checks.flatMap(({ examples }) => examples);
  }

  test('changes that were archived after the snapshot are left out, and are what the log says', async () => {
    const snapshot = await Snapshot.take(reader);
    harness.send(
      topic,
      await transaction({ at: '12:00:10', id: 't0', op: 'u', price: '5', was: { price: '0.00000001' } }),
    );
    harness.send(topic, await transaction({ at: '12:00:11', id: 't1', op: 'd', price: '1.00000001' }));
    harness.send(topic, await transaction({ at: '12:00:59', id: 'new' }));
    await harness.run(topic);
    expect(await found(snapshot)).toEqual([]);
  });

  test('rows that a backfill read once more are no difference, before and after the snapshot; one that is otherwise is named', async () => {
    const again = (i: number, price: string, lsn: bigint) =>
      harness.send(topic, backfilled({ at: `12:00:${10 + i}`, id: `t${i}`, price }, lsn));
    const lsn = await endOfWal();
    for (const i of [3, 4]) again(i, `${i}.00000001`, lsn);
    await transaction({ at: '12:00:59', id: 'heard of late' });
    again(5, '5.00000001', (await endOfWal()) + 1_000_000n);
    await harness.run(topic);
    const snapshot = await Snapshot.take(reader);
    expect(await found(snapshot)).toEqual(['bitstamp BTC/USD heard of late: in Postgres, not in the archive']);
    harness.send(topic, backfilled({ at: '12:00:59', id: 'heard of late' }, lsn));
    await harness.run(topic);
    expect(await found(snapshot)).toEqual([]);
    again(6, '6.00000009', lsn);
    await harness.run(topic);
    expect(await found(snapshot)).toEqual(['bitstamp BTC/USD t6: price is 6.00000009, in Postgres 6.00000001']);
  });

  test('a planted difference is named beside changes that are left out', async () => {
    await transaction({ at: '12:00:17', id: 't7', op: 'u', price: '7.00000002' });
    const snapshot = await Snapshot.take(reader);
    harness.send(topic, await transaction({ at: '12:00:59', id: 'new' }));
    await harness.run(topic);
    expect(await found(snapshot)).toEqual(['bitstamp BTC/USD t7: price is 7.00000001, in Postgres 7.00000002']);
  });

  test('a cut that the sink makes meanwhile is no difference', async () => {
    const snapshot = await Snapshot.take(reader);
    const { log, store } = harness;
    const later = await transaction({ at: '12:00:59', id: 'new' });
    const { committed } = log;
    // Between the reading of the offsets and the second reading of the list.
    log.committed = async (group, name) => {
      const positions = await committed.call(log, group, name);
      if (name === topic && harness.log.records(topic).length === 25) {
        harness.send(topic, later);
        await harness.run(topic);
      }
      return positions;
    };
    const before = [...harness.memory.objects.keys()].length;
    expect(await found(snapshot)).toEqual([]);
    expect([...harness.memory.objects.keys()].length).toBeGreaterThan(before);
    expect(store).toBe(harness.store);
  });
});

describe('what is settled before the snapshot', () => {
  let driver: Driver<TradeChange>;
  let writer: Client;

  beforeEach(async () => {
    driver = await Driver.open(ohlcv(SETTINGS));
    writer = await connectPostgres({ url: database.url, name: 'writer' });
    for (let i = 0; i < 3; i++) driver.send(await transaction({ at: `12:00:1${i}`, id: `t${i}` }));
  });
  afterEach(async () => {
    await writer.end();
    await driver[Symbol.asyncDispose]();
  });

  /** Looks, and at each wait for open transactions does this instead. */
  const look = (meanwhile: () => Promise<unknown> = async () => undefined) =>
    Settled.look(driver.log, topic, database.client, {
      clock: { now: () => 0, sleep: (ms) => meanwhile().then(() => wallClock.sleep(ms / 10)) },
    });

  /** Ids of the trades that the snapshot does not see; the same whether everything is looked at or not. And the least offset that was read. */
  async function unseen(snapshot: Snapshot, settled: Settled): Promise<{ ids: unknown[]; from: bigint | undefined }> {
    const { log, schemas } = driver;
    const all = await findUnseen(log, schemas, snapshot);
    let from: bigint | undefined;
    const { fetcher } = log;
    log.fetcher = () => {
      const inner = fetcher.call(log);
      return {
        fetch: (positions, options) => {
          for (const { offset } of positions) if (from === undefined || offset < from) from = offset;
          return inner.fetch(positions, options);
        },
        [Symbol.asyncDispose]: () => inner[Symbol.asyncDispose](),
      };
    };
    const found = await findUnseen(log, schemas, snapshot, settled.below(snapshot));
    log.fetcher = fetcher;
    expect(found).toEqual(all);
    return { ids: found.changes.map(({ change }) => change.after?.trade_id), from };
  }

  /** Until it is known: transactions of others in the same cluster count, too. */
  async function known(steps: {
    before?: () => Promise<void>;
    meanwhile?: () => Promise<unknown>;
    between?: () => Promise<void>;
  }) {
    for (;;) {
      await steps.before?.();
      const ends = await driver.log.ends(topic);
      const settled = await look(steps.meanwhile);
      await steps.between?.();
      const snapshot = await Snapshot.take(reader);
      const below = settled.below(snapshot);
      if (below.length > 0) {
        expect(below).toEqual(ends);
        return { settled, snapshot, from: ends[0] };
      }
      await reader.query('ROLLBACK');
    }
  }

  test('is not read again; what came between the two is visible, and what came later is not', async () => {
    let count = 0;
    const between = async () => {
      driver.send(await transaction({ at: '12:00:20', id: `between${count++}` }));
    };
    const { settled, snapshot, from } = await known({ between });
    driver.send(await transaction({ at: '12:00:21', id: 'later' }));
    expect(await unseen(snapshot, settled)).toEqual({ ids: ['later'], from });
  });

  test('is nothing while a transaction is open, since its change may be published before it is visible', async () => {
    await writer.query('BEGIN');
    driver.send(await write({ at: '12:00:20', id: 'not visible yet' }, writer));
    const settled = await look();
    const snapshot = await Snapshot.take(reader);
    await writer.query('COMMIT');
    driver.send(await transaction({ at: '12:00:21', id: 'later' }));
    expect(settled.below(snapshot)).toEqual([]);
    expect(await unseen(snapshot, settled)).toEqual({ ids: ['not visible yet', 'later'], from: 0n });
  });

  test('is nothing either when the open transaction is published later, and counts as one that was not visible', async () => {
    await writer.query('BEGIN');
    const open = await write({ at: '12:00:20', id: 'open' }, writer);
    const settled = await look();
    const snapshot = await Snapshot.take(reader);
    await writer.query('COMMIT');
    driver.send(open);
    expect(await unseen(snapshot, settled)).toEqual({ ids: ['open'], from: 0n });
  });

  test('waits for a transaction that ends soon: its change is visible then', async () => {
    let count = 0;
    const { settled, snapshot, from } = await known({
      before: async () => {
        await writer.query('BEGIN');
        driver.send(await write({ at: '12:00:20', id: `soon${count++}` }, writer));
      },
      meanwhile: () => writer.query('COMMIT'),
    });
    driver.send(await transaction({ at: '12:00:21', id: 'later' }));
    expect(await unseen(snapshot, settled)).toEqual({ ids: ['later'], from });
  });
});

test('another connection shares the snapshot: it sees nothing that was committed since', async () => {
  await transaction({ at: '12:00:10', id: 'before' });
  await Snapshot.take(reader);
  await transaction({ at: '12:00:11', id: 'since' });
  const other = await connectPostgres({ url: database.url, name: 'verify' });
  await Snapshot.share(reader, other);
  const { rows } = await other.query('SELECT trade_id FROM trades');
  await other.end();
  expect(rows).toEqual([{ trade_id: 'before' }]);
});

describe('the moment', () => {
  const heartbeatTopic = 'cdc.public.heartbeat';

  /** Capture in memory: it publishes the heartbeat row's changes once it is told to. */
  async function moment(
    log: MemoryLog,
    over: { capture?: boolean; waitMs?: number; running?: boolean; paused?: string } = {},
  ): Promise<readonly Behind[]> {
    const { capture = true, waitMs = 5_000, running = true } = over;
    const harness = await Harness.open();
    const encoder = await AvroEncoder.open<HeartbeatChange>(harness.schemas, 'heartbeat', contracts.heartbeat_change);
    const other = await connectPostgres({ url: database.url, name: 'verify' });
    const beat = (lsn: bigint): void => {
      const value = encoder.encode({ op: 'u', source: { ts_us: 1n, lsn } });
      log.append({ topic: heartbeatTopic, partition: 0, key: null, value, timestamp: 0n });
    };
    const { rows } = await other.query<{ beat: string }>('SELECT beat FROM heartbeat');
    const timer = setInterval(async () => {
      beat(1n);
      const { rows: now } = await database.client.query<{ beat: string; lsn: string }>(
        `SELECT beat, (pg_current_wal_insert_lsn() - '0/0')::text AS lsn FROM heartbeat`,
      );
      if (capture && now[0] !== undefined && now[0].beat !== rows[0]?.beat) beat(BigInt(now[0].lsn));
    }, 20);
    try {
      await using moment = await takeMoment(reader, other, {
        log,
        schemas: harness.schemas,
        heartbeatTopic,
        steps: [{ needed: [{ name: 'parquet', topic }], others: [{ name: 'anomaly', topic }] }],
        isRunning: async () => running,
        isPaused: (name) => name === over.paused,
        waitMs,
        onWait: () => undefined,
      });
      return (await Promise.all(moment.passed)).flat();
    } finally {
      clearInterval(timer);
      await other.end();
    }
  }

  async function logOf(positions: Readonly<Record<string, bigint>>): Promise<MemoryLog> {
    const log = new MemoryLog();
    log.create(heartbeatTopic, 1);
    log.create(topic, 1);
    for (let i = 0; i < 3; i++) log.append({ topic, partition: 0, key: null, value: Buffer.from('x'), timestamp: 0n });
    for (const [name, offset] of Object.entries(positions)) {
      const writer = await log.writer(name);
      await writer.transact({
        records: [],
        offsets: { group: groupOf(name), positions: [{ topic, partition: 0, offset }] },
      });
    }
    return log;
  }

  test('is there once capture and every stage have passed the marker', async () => {
    expect(await moment(await logOf({ parquet: 3n, anomaly: 3n }))).toEqual([]);
  });

  test('names a stage that does not run and is behind, and does not wait for it', async () => {
    const log = await logOf({ parquet: 3n, anomaly: 1n });
    expect(await moment(log, { running: false })).toEqual([{ name: 'anomaly', topic, offsets: 2n }]);
  });

  test('says which stage did not pass the marker in time, and how far it has to go', async () => {
    const log = await logOf({ parquet: 1n, anomaly: 3n });
    await expect(moment(log, { waitMs: 600 })).rejects.toMatchObject({
      code: 'STAGE_BEHIND',
      message: `parquet (2 offsets of ${topic} to go) has not passed the marker, and nothing moved for 0.6 s`,
    });
  });

  test('does not wait for a stage that is paused, and names the way to let it go on', async () => {
    const log = await logOf({ parquet: 1n, anomaly: 1n });
    await expect(moment(log, { waitMs: 60_000, paused: 'parquet' })).rejects.toMatchObject({
      code: 'STAGE_BEHIND',
      message: `parquet is paused, with 2 offsets of ${topic} to go`,
      remedy: expect.stringContaining('millrace task resume parquet'),
    });
    const done = await logOf({ parquet: 3n, anomaly: 1n });
    expect(await moment(done, { paused: 'anomaly' })).toEqual([{ name: 'anomaly', topic, offsets: 2n }]);
  });

  test('waits for as long as a stage goes on, however long that is', async () => {
    const log = await logOf({ anomaly: 3n });
    const parquet = await log.writer('parquet');
    let offset = 0n;
    const timer = setInterval(async () => {
      offset++;
      const positions = [{ topic, partition: 0, offset }];
      await parquet.transact({ records: [], offsets: { group: groupOf('parquet'), positions } });
    }, 1_200);
    try {
      expect(await moment(log, { waitMs: 3_000 })).toEqual([]);
      expect(offset).toBeGreaterThanOrEqual(3n);
    } finally {
      clearInterval(timer);
    }
  });

  test('says that capture did not, when only older heartbeats come', async () => {
    const log = await logOf({ parquet: 3n, anomaly: 3n });
    await expect(moment(log, { capture: false, waitMs: 600 })).rejects.toMatchObject({
      code: 'STAGE_BEHIND',
      message: 'capture has not passed the marker, and nothing moved for 0.6 s',
    });
  });
});
