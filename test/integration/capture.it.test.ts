import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { definitions, masksOf, requireNoGap } from '../../cli/capture.ts';
import { applyConnector } from '../../connectors/apply.ts';
import { requireMaskable } from '../../connectors/masking.ts';
import { recapture } from '../../connectors/recapture/recapture.ts';
import { dropSlot } from '../../connectors/recapture/slot.ts';
import { readSlot } from '../../connectors/slot.ts';
import { Supervisor } from '../../connectors/supervisor.ts';
import { AvroDecoder } from '../../core/avro/decoder.ts';
import { Registry } from '../../core/avro/registry.ts';
import { isError } from '../../core/errors.ts';
import { KafkaLog } from '../../core/kafka/log.ts';
import { maskedTable, noMasks } from '../../core/masks.ts';
import { partitionOf } from '../../core/routing.ts';
import { type LogRecord, readRange } from '../../core/runtime/log.ts';
import { schemas } from '../../schemas/gen/index.ts';
import type { TradeChange } from '../../schemas/gen/trade_change.ts';
import { eventually, type TestCapture, testCapture } from '../capture.ts';

let capture: TestCapture;
let log: KafkaLog;
let registry: Registry;

beforeAll(async () => {
  capture = await testCapture();
  log = new KafkaLog({ brokers: capture.config.kafka.brokers, clientId: 'millrace-test' });
  registry = new Registry({ url: capture.config.registry.url });
  await applyConnector(capture.client, capture.definition);
}, 90_000);

afterAll(async () => {
  await log?.[Symbol.asyncDispose]();
  await registry?.[Symbol.asyncDispose]();
  await capture?.[Symbol.asyncDispose]();
}, 60_000);

async function records(
  table: string,
  topic = capture.topic(table),
): Promise<{ partition: number; record: LogRecord }[]> {
  const [starts, ends] = await Promise.all([log.starts(topic), log.ends(topic)]);
  const found: { partition: number; record: LogRecord }[] = [];
  for (const [partition, to] of ends.entries()) {
    const range = { topic, partition, from: starts[partition] ?? 0n, to };
    for await (const portion of readRange(log, range, { maxWaitMs: 200, maxBytesPerPartition: 1 << 20 })) {
      for (const record of portion) found.push({ partition, record });
    }
  }
  return found;
}

async function trades(): Promise<{ partition: number; change: TradeChange }[]> {
  const decoder = new AvroDecoder<TradeChange>(registry, schemas.trade_change);
  const found = await records('trades');
  await decoder.prepare(decoder.missing(found.map(({ record }) => record.value)));
  return found.map(({ partition, record }) => ({ partition, change: decoder.decode(record.value ?? Buffer.alloc(0)) }));
}

const insert = (values: string) =>
  capture.database.client.query(
    `INSERT INTO trades (venue, symbol, trade_id, price, size, executed_at) VALUES ${values}`,
  );

describe('the connector', () => {
  test('is not touched by a second apply', async () => {
    const before = await capture.client.status(capture.definition.name);
    const again = await applyConnector(capture.client, capture.definition);
    expect(again).toMatchObject({ action: 'unchanged', changed: [] });
    expect(await capture.client.status(capture.definition.name)).toEqual(before);
  });

  test('shows no password to whoever asks Kafka Connect', async () => {
    const { url } = capture.client;
    const secret = capture.config.capture.password;
    expect(secret).not.toBe('');
    for (const path of ['?expand=info&expand=status', `/${capture.definition.name}/tasks`]) {
      expect(await (await fetch(`${url}/connectors${path}`)).text()).not.toContain(secret);
    }
  });

  test('names each setting that is not valid, and changes nothing', async () => {
    const { definition, client } = capture;
    const wrong = {
      ...definition,
      config: { ...definition.config, 'poll.interval.ms': 'soon', 'max.batch.size': '-1' },
    };
    await expect(applyConnector(client, wrong)).rejects.toMatchObject({
      code: 'CONNECTOR_INVALID',
      message: expect.stringMatching(
        /max\.batch\.size: .*\n.*poll\.interval\.ms: |poll\.interval\.ms: .*\n.*max\.batch\.size: /s,
      ),
    });
    expect((await applyConnector(client, definition)).action).toBe('unchanged');
  });

  test('is refused with the database’s own words when it may not log in', async () => {
    const { definition, client } = capture;
    const wrong = { ...definition, config: { ...definition.config, 'database.user': 'nobody_at_all' } };
    await expect(applyConnector(client, wrong)).rejects.toMatchObject({
      code: 'CONNECTOR_INVALID',
      message: expect.stringContaining('nobody_at_all'),
    });
  });

  test('that is not a plugin is refused with those there are', async () => {
    const { definition, client } = capture;
    const wrong = { ...definition, config: { ...definition.config, 'connector.class': 'a.b.C' } };
    await expect(applyConnector(client, wrong)).rejects.toMatchObject({
      code: 'CONNECTOR_INVALID',
      message: expect.stringContaining('PostgresConnector'),
    });
  });

  test('that fails when it runs is reported with the causes of its trace', async () => {
    const { definition, client } = capture;
    const name = `${definition.name}-x`;
    const other = `${capture.config.capture.slot}_x`;
    const config = { ...definition.config, 'publication.name': 'absent', 'slot.name': other, 'topic.prefix': other };
    try {
      const error = await applyConnector(client, { name, config }).catch((cause: unknown) => cause);
      expect(isError(error, 'CONNECTOR_FAILED')).toBe(true);
      expect((error as Error).message).toMatch(/task 0 FAILED\n.*Publication autocreation is disabled/);
      expect((error as Error).message).not.toContain('\tat ');
    } finally {
      await client.delete(name);
    }
  }, 60_000);
});

describe('captured trades', () => {
  const odd: [string, string][] = [
    ['bitstamp', 'BTC-USD'],
    ['bitstamp', 'ETH-USD'],
    ['USD', 'BTC'],
    ['BTC', 'USD'],
    ['ΑΒΓ', '€/😀'],
    ['polygenelubricants', 'a'],
    ['v', 'x'.repeat(5000)],
    ['a b', 'it\'s \\ "quoted"\t\n'],
    ['e\u0301', '\u00e9'],
    ['\u{10FFFF}', '\ud7ff'],
  ];

  test('are in the partition that partition.ts computes from venue and symbol, for odd values too', async () => {
    for (const [venue, symbol] of odd) {
      await capture.database.client.query(
        `INSERT INTO trades (venue, symbol, trade_id, price, size, executed_at) VALUES ($1, $2, 'odd', 1, 1, now())`,
        [venue, symbol],
      );
    }
    const rows = async () => (await trades()).filter(({ change }) => change.after?.trade_id === 'odd');
    await eventually(async () => (await rows()).length === odd.length);
    const partitions = (await log.ends(capture.topic('trades'))).length;
    expect(partitions).toBe(6);
    const actual = await rows();
    for (const [venue, symbol] of odd) {
      const row = actual.find(({ change }) => change.after?.venue === venue && change.after.symbol === symbol);
      expect({ venue, partition: row?.partition }).toEqual({
        venue,
        partition: partitionOf([venue, symbol], partitions),
      });
    }
    expect(new Set(actual.map(({ partition }) => partition)).size).toBeGreaterThan(2);
  }, 60_000);

  test('keep their decimals and microseconds, and a delete has the whole row in the same partition', async () => {
    await insert(`('v', 'exact', '1', 999999999999.99999999, 0.00000001, '2013-11-25 00:00:00.123456+00')`);
    await capture.database.client.query(`DELETE FROM trades WHERE symbol = 'exact'`);
    const rows = async () =>
      (await trades()).filter(({ change }) => (change.after ?? change.before)?.symbol === 'exact');
    await eventually(async () => (await rows()).length === 2);
    const [created, deleted] = await rows();
    expect(created?.change.op).toBe('c');
    expect(created?.change.after).toMatchObject({
      price: 99_999_999_999_999_999_999n,
      size: 1n,
      executed_at: '2013-11-25T00:00:00.123456Z',
    });
    expect(deleted).toMatchObject({
      partition: created?.partition,
      change: { op: 'd', before: created?.change.after },
    });
    expect(created?.change.source.ts_us).toBeGreaterThan(1_700_000_000_000_000n);
  }, 60_000);

  test('cannot be longer than a record may be', async () => {
    const insert = `INSERT INTO trades (venue, symbol, trade_id, price, size, executed_at, conditions) VALUES ('v', 's', $1, 1, 1, now(), $2)`;
    const { client } = capture.database;
    await expect(client.query(insert, ['long', 'x'.repeat(65_536)])).rejects.toThrow('trades_fit_into_a_record');
  });

  test('cannot be truncated away', async () => {
    await expect(capture.database.client.query('TRUNCATE trades')).rejects.toThrow('the table is captured');
  });
});

describe('the heartbeat', () => {
  test('comes once a second, in one partition, while nothing else changes, and does not feed itself', async () => {
    const count = async () => (await records('heartbeat')).length;
    await eventually(async () => (await count()) > 1);
    const before = await count();
    await new Promise((resolve) => setTimeout(resolve, 5000));
    const beats = (await count()) - before;
    expect(beats).toBeGreaterThanOrEqual(3);
    expect(beats).toBeLessThanOrEqual(7);
    expect(await log.ends(capture.topic('heartbeat'))).toHaveLength(1);
  }, 60_000);

  test('lets the write-ahead log go when only uncaptured tables change', async () => {
    const { client } = capture.database;
    await client.query('CREATE TABLE busy (text text)');
    const slot = () => readSlot(client, capture.config.capture.slot);
    await client.query(`INSERT INTO busy SELECT repeat('x', 1000) FROM generate_series(1, 20000)`);
    expect(await slot()).toMatchObject({ active: true, walStatus: 'reserved' });
    await eventually(async () => ((await slot())?.confirmedLagBytes ?? 1n << 60n) < 1_000_000n);
  }, 60_000);
});

describe('a lost slot', () => {
  const options = () => ({
    ...{ client: capture.client, definition: capture.definition, log, schemas: registry },
    postgresUrl: capture.config.postgres.url,
    slot: capture.config.capture.slot,
    prefix: capture.config.capture.prefix,
    masks: noMasks,
  });

  test('is a loud stop, and recapturing writes what the log lacks, each row once, and nothing the second time', async () => {
    const { client, definition, database, config } = capture;
    const db = database.client;
    await insert(['kept', 'changed', 'deleted'].map((id) => `('v', 'gap', '${id}', 7.5, 1, now())`).join(', '));
    await db.query(`INSERT INTO instruments (venue, symbol, base, quote) VALUES ('v', 'gap', 'A', 'B')`);
    const gap = async () => (await trades()).filter(({ change }) => (change.after ?? change.before)?.symbol === 'gap');
    await eventually(async () => (await gap()).length === 3 && (await records('instruments')).length === 1);
    await client.stop(definition.name);
    await eventually(() => dropSlot(db, config.capture.slot));
    await insert(`('v', 'gap', 'missing', 1, 1, '2013-11-25 00:00:00.12+00'), ('v', 'gap', 'fleeting', 1, 1, now())`);
    await db.query(`UPDATE trades SET price = 8, conditions = E'a\\\\b\\n' WHERE trade_id = 'changed'`);
    await db.query(`DELETE FROM trades WHERE trade_id IN ('deleted', 'fleeting')`);
    await db.query(`UPDATE instruments SET active = false`);
    await db.query(`INSERT INTO instruments (venue, symbol, base, quote) VALUES ('v', 'gap2', 'A', 'B')`);

    await expect(requireNoGap(config, client, definition, log)).rejects.toMatchObject({
      code: 'SLOT_LOST',
      message: expect.stringContaining('is gone'),
    });
    const done = await recapture(options());
    expect(done.tables).toEqual([
      { table: 'public.trades', missing: 1, changed: 1, deleted: 1 },
      { table: 'public.instruments', missing: 1, changed: 1, deleted: 0 },
    ]);
    await insert(`('v', 'gap', 'after', 1, 1, now())`);
    expect((await applyConnector(client, definition)).status.state).toBe('RUNNING');
    await requireNoGap(config, client, definition, log);
    await eventually(async () => (await gap()).length === 7);

    const found = await gap();
    const of = (id: string) => found.filter(({ change }) => (change.after ?? change.before)?.trade_id === id);
    expect(of('kept').map(({ change }) => change.op)).toEqual(['c']);
    expect(of('missing')[0]).toMatchObject({
      partition: partitionOf(['v', 'gap'], 6),
      change: {
        op: 'r',
        before: null,
        after: { price: 100_000_000n, executed_at: '2013-11-25T00:00:00.12Z', side: 'unknown', conditions: null },
        source: { snapshot: 'true', ts_us: done.from, lsn: done.lsn - 1n },
      },
    });
    expect(of('changed').map(({ change }) => [change.op, change.before?.price, change.after?.conditions])).toEqual([
      ['c', undefined, null],
      ['u', 750_000_000n, 'a\\b\n'],
    ]);
    expect(of('deleted')[1]?.change).toMatchObject({ op: 'd', before: of('deleted')[0]?.change.after, after: null });
    expect(of('after').map(({ change }) => change.op)).toEqual(['c']);
    // Debezium's next change of an instrument goes where the recaptured one went.
    await db.query(`UPDATE instruments SET quote = 'C' WHERE symbol = 'gap2'`);
    await eventually(async () => (await records('instruments')).length === 4);
    const partitions = (await records('instruments')).filter(({ record }) => record.key?.includes('gap2'));
    expect(partitions).toHaveLength(2);
    expect(new Set(partitions.map(({ partition }) => partition)).size).toBe(1);

    const again = await recapture(options());
    expect(again.tables.map(({ missing, changed, deleted }) => missing + changed + deleted)).toEqual([0, 0]);
    await applyConnector(client, definition);
  }, 120_000);

  test('without a position the connector is not let begin anew over a log that has its rows', async () => {
    const { client, definition, config } = capture;
    const nobody = { ...definition, name: `${definition.name}-other` };
    await expect(requireNoGap(config, client, nobody, log)).rejects.toMatchObject({ code: 'POSITION_LOST' });
  });
});

test('masked columns leave Postgres masked, as a comparison in SQL expects them, and each change tells its transaction', async () => {
  const { client, config, database } = capture;
  const masks = ['public.trades.conditions=hash', 'public.trades.side=mask:5'];
  const chosen = {
    ...config,
    capture: { ...config.capture, masks, maskSecret: 'pepper00', transactions: 'on' },
  } as const;
  const [masked] = await definitions(chosen);
  await requireMaskable(database.client, masksOf(chosen));
  await applyConnector(client, { name: capture.definition.name, config: masked?.config ?? {} });
  try {
    await database.client.query(`INSERT INTO trades (venue, symbol, trade_id, price, size, executed_at, side, conditions) VALUES
      ('v', 'masked', '1', 1, 1, now(), 'buy', 'T,ü😀'), ('v', 'masked', '2', 1, 1, now(), 'sell', NULL), ('v', 'masked', '3', 1, 1, now(), 'sell', '')`);
    const rows = async () => (await trades()).filter(({ change }) => change.after?.symbol === 'masked');
    await eventually(async () => (await rows()).length === 3);
    const table = maskedTable(masksOf(chosen), 'public.trades', ['symbol', 'trade_id', 'side', 'conditions']);
    const { rows: expected } = await database.client.query(
      `SELECT side, conditions FROM ${table} AS t WHERE symbol = 'masked' ORDER BY trade_id`,
    );
    const found = (await rows()).map(({ change }) => ({
      side: change.after?.side,
      conditions: change.after?.conditions,
    }));
    expect(found).toEqual(expected);
    expect(found[0]?.conditions).toMatch(/^[0-9a-f]{64}$/);

    const decoder = new AvroDecoder<{ transaction: object | null }>(registry, null);
    const last = (await records('trades')).filter(({ record }) => record.value?.includes('masked'));
    await decoder.prepare(decoder.missing(last.map(({ record }) => record.value)));
    expect(last.map(({ record }) => decoder.decode(record.value as Buffer).transaction)).toEqual(
      [1n, 2n, 3n].map((order) => expect.objectContaining({ total_order: order, data_collection_order: order })),
    );
    const events = new AvroDecoder<{ id: string; status: string; event_count: bigint | null }>(registry, null);
    const told = async () => {
      const all = await records('', `${config.capture.prefix}.transaction`);
      await events.prepare(events.missing(all.map(({ record }) => record.value)));
      return all.map(({ record }) => events.decode(record.value as Buffer));
    };
    await eventually(async () =>
      (await told()).some(({ status, event_count }) => status === 'END' && event_count === 3n),
    );
  } finally {
    await applyConnector(client, capture.definition);
  }
}, 90_000);

test('the supervisor restarts a task that failed with its database connection, and no row is missing', async () => {
  const { client, definition, database } = capture;
  // Debezium's own retries off: what is shown here is what happens when they are used up.
  const brittle = {
    ...definition,
    config: { ...definition.config, 'errors.max.retries': '0', 'slot.max.retries': '0' },
  };
  await applyConnector(client, brittle);
  const failed = () => client.status(definition.name).then((status) => status?.tasks[0]?.state === 'FAILED');
  const states = new Set<string>();
  const supervisor = new Supervisor({
    client,
    connectors: [definition.name],
    pollMs: 200,
    backoff: { firstMs: 300, maxMs: 2000 },
    listener: { state: ({ task, state }) => states.add(`${task} ${state}`) },
  });
  const stop = new AbortController();
  await database.client.query(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'millrace_capture' AND datname = current_database()`,
  );
  await eventually(failed);
  await insert(`('v', 'after', '1', 1, 1, now()), ('v', 'after', '2', 1, 1, now())`);
  const running = supervisor.run(stop.signal);
  try {
    const rows = async () => (await trades()).filter(({ change }) => change.after?.symbol === 'after');
    await eventually(async () => (await rows()).length === 2, 60_000);
    expect(supervisor.restarts).toBeGreaterThanOrEqual(1);
    expect([...states]).toEqual(expect.arrayContaining(['0 FAILED', '0 RUNNING']));
  } finally {
    stop.abort();
    await running;
  }
}, 120_000);
