/** The hot store against a real Postgres. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { Client } from 'pg';
import { projectDir } from '../../../cli/settings/config.ts';
import { AvroDecoder } from '../../../core/avro/decoder.ts';
import { AvroEncoder } from '../../../core/avro/encoder.ts';
import { MemorySchemas } from '../../../core/avro/registry/memory.ts';
import { type HotTable, hotTables } from '../../../core/hot-store/tables.ts';
import { anomaly, candle, emptied, features, minute, start } from '../../../sinks/hot-store/fixtures/values.ts';
import { dropPartition, ensureDays, listPartitions } from '../../../sinks/hot-store/partitions.ts';
import { PostgresHotStore } from '../../../sinks/hot-store/postgres.ts';
import { expired, retentionClient } from '../../../sinks/hot-store/retention.ts';
import { type HotRow, rowOf } from '../../../sinks/hot-store/row.ts';
import { migrate } from '../../../storage/migrate.ts';
import { type TestDatabase, testDatabase } from '../../support/capture.ts';
import { eventually } from '../../support/patience.ts';
import { testConfig } from '../../support/stack.ts';

const candles = hotTables['market.candles'];
const anomalies = hotTables['market.anomalies'];
const day = 1_440n * minute;
const schemas = new MemorySchemas();

let database: TestDatabase;
let db: Client;
let store: PostgresHotStore;

beforeAll(async () => {
  database = await testDatabase(testConfig());
  db = database.client;
});

afterAll(async () => {
  await database[Symbol.asyncDispose]();
});

beforeEach(async () => {
  await store?.[Symbol.asyncDispose]();
  await db.query('DROP SCHEMA IF EXISTS hot CASCADE');
  store = new PostgresHotStore({ url: database.url });
});

afterAll(async () => {
  await store[Symbol.asyncDispose]();
});

const decoders = new Map(
  Object.values(hotTables).map((table) => [table, new AvroDecoder<object>(schemas, table.schema)]),
);
const encoders = new Map<HotTable, AvroEncoder<object>>();

async function row(table: HotTable, value: object): Promise<HotRow> {
  const known = encoders.get(table);
  const encoder = known ?? (await AvroEncoder.open<object>(schemas, `${table.topic}-value`, table.schema));
  encoders.set(table, encoder);
  const decoder = decoders.get(table) as AvroDecoder<object>;
  const bytes = encoder.encode(value);
  await decoder.prepare(decoder.missing([bytes]));
  return rowOf(table, { offset: 0n, timestamp: 0n, key: null, value: bytes }, decoder);
}

/** Each in a call of its own. */
async function write(table: HotTable, ...values: readonly object[]): Promise<number[]> {
  const changed: number[] = [];
  for (const value of values) changed.push((await store.upsert(table, [await row(table, value)])).changed);
  return changed;
}

async function ask(sql: string, ...values: unknown[]): Promise<unknown[][]> {
  const { rows } = await db.query({ text: sql, values, rowMode: 'array' });
  return rows as unknown[][];
}

const attached = `SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'hot.candles'::regclass AND NOT inhdetachpending ORDER BY 1`;

describe('a row', () => {
  test('is replaced by a greater revision only: an older or equal one, redelivered, changes nothing', async () => {
    const of = (revision: number) => candle({ revision, trade_count: BigInt(revision) });
    expect(await write(candles, of(2), of(2), of(1), of(4), of(3), of(4))).toEqual([1, 0, 0, 1, 0, 0]);
    expect(await ask('SELECT revision, trade_count FROM hot.candles')).toEqual([[4, '4']]);
  });

  test('has every value as it was: decimals to the last digit, microseconds, 64-bit integers, any text', async () => {
    await write(candles, candle());
    await write(anomalies, anomaly());
    await write(hotTables['market.features'], features());
    expect(
      await ask(`SELECT high::text, low::text, volume::text, notional::text, provenance_to_lsn::text,
        extract(epoch FROM close_time)::text, window_start = '2013-11-25 23:59:00+00' FROM hot.candles`),
    ).toEqual([
      [
        '999999999999.99999999',
        '-0.00000001',
        '123456789012345678901234567890.12345678',
        '0.9007199254740993',
        '4611686018427387905',
        '1385423999.999999',
        true,
      ],
    ]);
    const [[explanation, baseline, offset, lookback] = []] = await ask(
      `SELECT explanation, baseline, (causes->0->'offset')::text, thresholds_lookback FROM hot.anomalies`,
    );
    expect(explanation).toBe(anomaly().explanation);
    expect(baseline).toEqual(['2013-11-25T23:58:00.000000Z', '2013-11-25T23:58:59.999999Z']);
    expect([offset, lookback]).toEqual(['9007199254740993', 20]);
    expect(
      await ask(`SELECT (windows->0->>'volume')::numeric::text, (windows->0->'trade_count')::text FROM hot.features`),
    ).toEqual([['123456789012.34567890', '9007199254740993']]);
  });

  test('of a retracted anomaly or an emptied candle stays, so that no older revision comes back to life', async () => {
    await write(anomalies, anomaly(), anomaly({ revision: 2, status: 'RETRACTED' }), anomaly());
    await write(candles, candle(), emptied({ revision: 2 }), candle());
    expect(await ask('SELECT status, revision FROM hot.anomalies')).toEqual([['RETRACTED', 2]]);
    expect(await ask('SELECT status, open, trade_count FROM hot.candles')).toEqual([['REVISED', null, '0']]);
  });

  test('that an index cannot hold is refused alone, and all others of its batch are stored', async () => {
    // Random, because Postgres compresses what is not.
    const long = Array.from({ length: 9_000 }, (_, i) =>
      String.fromCharCode(0x4e00 + ((i * 7919 * (i + 1)) % 20_000)),
    ).join('');
    const symbols = ['A', 'B', long, 'D', 'E'];
    const rows = await Promise.all(symbols.map((symbol) => row(candles, candle({ symbol }))));
    const { changed, refused } = await store.upsert(candles, rows);
    expect(changed).toBe(4);
    expect(refused.map((each) => [each.row, each.error.code])).toEqual([[rows[2], 'BAD_RECORD']]);
    expect(await ask('SELECT symbol FROM hot.candles ORDER BY 1')).toEqual([['A'], ['B'], ['D'], ['E']]);
  });

  test('of two writers that write the same keys at once is the newest, whoever is last', async () => {
    await using other = new PostgresHotStore({ url: database.url });
    const symbols = Array.from({ length: 50 }, (_, i) => `${i}`);
    const batch = async (revision: number) =>
      Promise.all(symbols.map((symbol) => row(candles, candle({ symbol, revision, trade_count: BigInt(revision) }))));
    const revisions = [1, 2, 3, 4, 5, 6];
    const mine = revisions.map(async (revision) => store.upsert(candles, await batch(revision)));
    const theirs = revisions.map(async (revision) => other.upsert(candles, await batch(7 - revision)));
    await Promise.all([...mine, ...theirs]);
    expect(await ask('SELECT DISTINCT revision, trade_count FROM hot.candles')).toEqual([[6, '6']]);
    expect(await ask('SELECT count(*)::int FROM hot.candles')).toEqual([[50]]);
  });
});

describe('partitions', () => {
  test('are UTC days of event time, made before the batch that needs them, wherever the server thinks it is', async () => {
    await db.query(`ALTER DATABASE ${new URL(database.url).pathname.slice(1)} SET timezone = 'Asia/Tokyo'`);
    await write(candles, candle(), candle({ window_start: start + minute }));
    expect(await ask(attached)).toEqual([['hot.candles_20131125'], ['hot.candles_20131126']]);
    expect(await ask('SELECT count(*)::int FROM hot.candles_20131126')).toEqual([[1]]);
    await db.query(`ALTER DATABASE ${new URL(database.url).pathname.slice(1)} RESET timezone`);
  });

  test('and the schema can be made by several at once', async () => {
    const stores = [1, 2, 3, 4].map(() => new PostgresHotStore({ url: database.url }));
    const rows = await Promise.all(
      [0n, 1n, 2n, 3n].map((i) => row(candles, candle({ window_start: start + i * day }))),
    );
    await Promise.all(stores.map((each) => each.upsert(candles, rows)));
    for (const each of stores) await each[Symbol.asyncDispose]();
    expect(await ask(attached)).toHaveLength(4);
    expect(await ask('SELECT count(*)::int FROM hot.candles')).toEqual([[4]]);
  });

  test('are made while a reader has the table open', async () => {
    await write(candles, candle());
    const reader = new Client(database.url);
    await reader.connect();
    await reader.query('BEGIN; SELECT * FROM hot.candles');
    await write(candles, candle({ window_start: start + day }));
    await reader.query('ROLLBACK');
    await reader.end();
    expect(await ask(attached)).toHaveLength(2);
  });

  test('of days that are not kept are dropped, and no others', async () => {
    const today = BigInt(Date.parse('2013-11-28T12:00:00Z')) * 1_000n;
    for (const i of [0n, 1n, 2n, 3n]) await write(candles, candle({ window_start: today - i * day }));
    await write(anomalies, anomaly());
    const client = await retentionClient(database.url);
    const nowMs = Number(today / 1_000n);
    expect(expired(await listPartitions(client), 0, nowMs)).toEqual([]);
    const gone = expired(await listPartitions(client), 2, nowMs);
    expect(gone.map(({ name }) => name)).toEqual(['anomalies_20131125', 'candles_20131125', 'candles_20131126']);
    for (const partition of gone) await dropPartition(client, partition);
    await client.end();
    expect(await ask(attached)).toEqual([['hot.candles_20131127'], ['hot.candles_20131128']]);
    expect(await ask('SELECT count(*)::int FROM hot.candles')).toEqual([[2]]);
  });

  test('that were dropped come back when a row needs them, also to a writer that knew them', async () => {
    await write(candles, candle());
    const client = await retentionClient(database.url);
    for (const partition of await listPartitions(client)) await dropPartition(client, partition);
    await client.end();
    expect(await write(candles, candle({ revision: 3 }))).toEqual([1]);
    expect(await ask('SELECT revision FROM hot.candles')).toEqual([[3]]);
  });

  test('that a retention detached and did not drop are dropped by the next one, or attached again with their rows', async () => {
    await write(candles, candle(), candle({ window_start: start + day }));
    for (const name of ['candles_20131125', 'candles_20131126']) {
      await db.query(`ALTER TABLE hot.candles DETACH PARTITION hot.${name} CONCURRENTLY`);
    }
    const client = await retentionClient(database.url);
    const [first] = await listPartitions(client);
    expect(first).toMatchObject({ day: '2013-11-25', attached: false });
    if (first !== undefined) await dropPartition(client, first);
    await ensureDays(client, candles, ['2013-11-26']);
    await client.end();
    expect(await ask(attached)).toEqual([['hot.candles_20131126']]);
    expect(await ask('SELECT count(*)::int FROM hot.candles')).toEqual([[1]]);
  });

  test('whose detaching a reader holds up stay as they are for it, and the next run finishes', async () => {
    await write(candles, candle());
    const reader = new Client(database.url);
    await reader.connect();
    await reader.query('BEGIN; SELECT * FROM hot.candles');
    const client = await retentionClient(database.url);
    await client.query('SET lock_timeout = 200');
    const [partition] = await listPartitions(client);
    if (partition === undefined) throw new Error('no partition');
    await expect(dropPartition(client, partition)).rejects.toThrow('lock timeout');
    const [waiting] = await listPartitions(client);
    expect(waiting?.attached).toBe('pending');
    await reader.query('ROLLBACK');
    await reader.end();
    if (waiting !== undefined) await dropPartition(client, waiting);
    expect(await listPartitions(client)).toEqual([]);
    await client.end();
  });
});

describe('the schema', () => {
  test('gets the columns that it lacks, and a column of another type stops all writing with its name', async () => {
    await write(candles, candle());
    await db.query('ALTER TABLE hot.candles DROP COLUMN vwap');
    await using second = new PostgresHotStore({ url: database.url });
    expect((await second.upsert(candles, [await row(candles, candle({ revision: 2 }))])).changed).toBe(1);
    expect(await ask('SELECT vwap::text FROM hot.candles')).toEqual([['850.12000000']]);
    await db.query('ALTER TABLE hot.candles ALTER COLUMN volume TYPE numeric');
    await using third = new PostgresHotStore({ url: database.url });
    await expect(third.upsert(candles, [await row(candles, candle({ revision: 3 }))])).rejects.toMatchObject({
      code: 'HOT_STORE_UNAVAILABLE',
      message: expect.stringContaining('hot.candles.volume is numeric and has to be numeric(38,8)'),
    });
  });

  test('may belong to somebody else: rows of days that are there need no other right than to write', async () => {
    await write(candles, candle());
    const role = `it_hot_${process.pid}`;
    await db.query(`CREATE ROLE ${role} LOGIN PASSWORD 'x'`);
    await db.query(
      `GRANT USAGE ON SCHEMA hot TO ${role}; GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA hot TO ${role}`,
    );
    const url = new URL(database.url);
    [url.username, url.password] = [role, 'x'];
    const theirs = new PostgresHotStore({ url: url.href });
    expect((await theirs.upsert(candles, [await row(candles, candle({ revision: 2 }))])).changed).toBe(1);
    const tomorrow = await row(candles, candle({ window_start: start + day }));
    await expect(theirs.upsert(candles, [tomorrow])).rejects.toMatchObject({
      code: 'HOT_STORE_UNAVAILABLE',
      message: expect.stringContaining('permission denied'),
    });
    await theirs[Symbol.asyncDispose]();
    await db.query(`DROP SCHEMA hot CASCADE; DROP ROLE ${role}`);
  });

  test('that is gone is made again', async () => {
    await write(candles, candle());
    await db.query('DROP SCHEMA hot CASCADE');
    await expect(write(candles, candle())).rejects.toMatchObject({ code: 'HOT_STORE_UNAVAILABLE' });
    expect(await write(candles, candle())).toEqual([1]);
  });

  test('a connection that is ended is followed by another', async () => {
    await write(candles, candle());
    await db.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE application_name = 'millrace hot-store' AND datname = current_database()`);
    await eventually(async () => (await write(candles, candle({ revision: 2 })))[0] === 1);
    expect(await ask('SELECT revision FROM hot.candles')).toEqual([[2]]);
  });
});

describe('nothing of it is captured', () => {
  const published = `SELECT schemaname || '.' || tablename FROM pg_publication_tables ORDER BY 1`;
  const captured = [['public.capture_signals'], ['public.heartbeat'], ['public.instruments'], ['public.trades']];

  test('by a publication, also after a migration and with partitions that came later', async () => {
    await write(candles, candle());
    await migrate({ url: database.url, dir: `${projectDir}/infra/sql` });
    await write(candles, candle({ window_start: start + day }));
    expect(await ask(published)).toEqual(captured);
  });

  test('in the changes that the slot of a connector is given', async () => {
    const slot = `it_hot_${process.pid}`;
    await db.query(`SELECT pg_create_logical_replication_slot($1, 'pgoutput')`, [slot]);
    try {
      await write(candles, candle(), candle({ revision: 2 }), candle({ window_start: start + day }));
      await write(anomalies, anomaly());
      await db.query('DELETE FROM hot.candles');
      await db.query(`INSERT INTO trades VALUES ('hot', 'A', '1', NULL, 1, 1, 'buy', now(), NULL)`);
      const changes = await ask(
        `SELECT chr(get_byte(data, 0)) FROM pg_logical_slot_get_binary_changes($1, NULL, NULL, 'proto_version', '1', 'publication_names', 'millrace')`,
        slot,
      );
      // Inserts, updates, deletes, truncates. What else comes are transactions' bounds and tables' descriptions.
      expect(changes.flat().filter((kind) => 'IUDT'.includes(String(kind)))).toEqual(['I']);
    } finally {
      await db.query('SELECT pg_drop_replication_slot($1)', [slot]);
    }
  });
});
