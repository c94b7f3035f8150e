import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { applyConnector } from '../../../connectors/apply.ts';
import { followBackfill } from '../../../connectors/backfill/follow.ts';
import { planBackfill } from '../../../connectors/backfill/plan.ts';
import { begin, begunBackfill, requestStop } from '../../../connectors/backfill/signals.ts';
import { readSlot } from '../../../connectors/supervision/slot.ts';
import { Supervisor } from '../../../connectors/supervision/supervisor.ts';
import { isError } from '../../../core/base/errors.ts';
import { partitionOf } from '../../../core/capture/routing.ts';
import { endsOf } from '../../../core/log/log.ts';
import { valueSubject } from '../../../schemas/topics.ts';
import { type TestCapture, testCapture } from '../../support/capture.ts';
import { Captured } from '../../support/captured.ts';
import { eventually } from '../../support/patience.ts';

let capture: TestCapture;
let captured: Captured;

beforeAll(async () => {
  capture = await testCapture();
  captured = new Captured(capture);
  await applyConnector(capture.client, capture.definition);
});

afterAll(async () => {
  await captured?.[Symbol.asyncDispose]();
  await capture?.[Symbol.asyncDispose]();
});

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
  });
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
    const rows = async () => (await captured.trades()).filter(({ change }) => change.after?.trade_id === 'odd');
    await eventually(async () => (await rows()).length === odd.length);
    const partitions = (await captured.log.ends(capture.topic('trades'))).length;
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
  });

  test('keep their decimals and microseconds, and a delete has the whole row in the same partition', async () => {
    await insert(`('v', 'exact', '1', 999999999999.99999999, 0.00000001, '2013-11-25 00:00:00.123456+00')`);
    await capture.database.client.query(`DELETE FROM trades WHERE symbol = 'exact'`);
    const rows = async () =>
      (await captured.trades()).filter(({ change }) => (change.after ?? change.before)?.symbol === 'exact');
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
  });

  test('cannot be longer than a record may be', async () => {
    const insert = `INSERT INTO trades (venue, symbol, trade_id, price, size, executed_at, conditions) VALUES ('v', 's', $1, 1, 1, now(), $2)`;
    const { client } = capture.database;
    await expect(client.query(insert, ['long', 'x'.repeat(65_536)])).rejects.toThrow('trades_fit_into_a_record');
  });

  test('cannot be truncated away', async () => {
    await expect(capture.database.client.query('TRUNCATE trades')).rejects.toThrow('the table is captured');
  });
});

describe('a backfill', () => {
  const rows = 3_000;
  const where = `symbol = 'again' AND price > 0 OR symbol = 'again' AND price < 0`;
  const plan = (over: { table?: string; where?: string } = {}) =>
    planBackfill(capture.database.client, { table: 'trades', ...over });

  async function started(condition: string) {
    const from = await endsOf(captured.log, capture.topic('trades'));
    const [notified = 0n] = await endsOf(
      captured.log,
      capture.topic('trades').replace('public.trades', 'notifications'),
    );
    return begin(capture.database.client, await plan({ where: condition }), { from, notified });
  }

  const followed = async () => {
    const { client, config, database, definition } = capture;
    const backfill = await begunBackfill(database.client);
    if (backfill === undefined) throw new Error('none was begun');
    const { log, registry: schemas } = captured;
    const sources = { db: database.client, log, schemas, client, connector: definition.name };
    return followBackfill({ ...sources, prefix: config.capture.prefix, backfill });
  };

  const reads = async () => (await captured.trades()).filter(({ change }) => change.source.snapshot === 'incremental');

  beforeAll(async () => {
    await capture.database.client.query(
      `INSERT INTO trades (venue, symbol, trade_id, price, size, executed_at)
       SELECT 'v', 'again', n::text, 1, 1, now() FROM generate_series(1, ${rows}) n`,
    );
  });

  test.each([
    ['a column that is not there', 'nope = 1', 'column "nope" does not exist'],
    ['brackets that end what stands around it', 'true) OR (true', 'syntax error'],
    ['a second statement', 'true; DELETE FROM trades', 'multiple commands'],
    ['more than a condition', 'true ORDER BY price LIMIT 1', 'syntax error'],
    ['a comment that hides what follows', 'true --', 'syntax error'],
    ['what fails on a row', '1 / (price - price) > 0', 'division by zero'],
    ['another table', 'EXISTS (SELECT FROM millrace_migrations)', 'it reads millrace_migrations'],
    ['a parameter of JDBC', 'conditions ? true', '? outside of quotes'],
    ['nothing', ' ', 'it is empty'],
  ])('is not begun with a condition that has %s', async (_, condition, reason) => {
    await expect(plan({ where: condition })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining(reason),
    });
  });

  test('is of a captured table, and counts the rows that match', async () => {
    await expect(plan({ table: 'heartbeat' })).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    expect(await plan({ where })).toMatchObject({ rows, where, table: { name: 'public.trades' } });
    expect(await plan({ table: 'public.instruments' })).toMatchObject({ rows: 0, where: null });
  });

  test('that is stopped has brought what it read until then, and one that waited for a stopped connector goes on with it', async () => {
    const { client, database, definition } = capture;
    await client.stop(definition.name);
    await eventually(async () => (await client.status(definition.name))?.tasks.length === 0);
    await requestStop(database.client, await started(where));
    await client.resume(definition.name);
    const { result, captured: brought } = await followed();
    expect(result).toBe('stopped');
    expect(brought).toBeLessThan(rows);
    expect(await begunBackfill(database.client)).toBeUndefined();
  });

  test('brings each row that matches, whatever the record’s key, in the partition of its changes, and no signal of it goes out', async () => {
    const before = (await reads()).length;
    await started(where);
    expect(await followed()).toEqual({ result: 'completed', captured: rows });
    const brought = (await reads()).slice(-1);
    expect((await reads()).length - before).toBe(rows);
    expect(new Set((await reads()).map(({ change }) => change.after?.symbol))).toEqual(new Set(['again']));
    const partition = (await captured.trades()).find(({ change }) => change.after?.symbol === 'again')?.partition;
    expect(brought).toMatchObject([{ partition, change: { op: 'r', after: { symbol: 'again' } } }]);
    expect(await endsOf(captured.log, capture.topic('capture_signals'))).toEqual([]);
    expect((await capture.database.client.query('SELECT FROM capture_signals')).rowCount).toBe(0);
  });
});

describe('the heartbeat', () => {
  test('comes once a second, in one partition, while nothing else changes, and does not feed itself', async () => {
    const count = async () => (await captured.records('heartbeat')).length;
    await eventually(async () => (await count()) > 1);
    const before = await count();
    const begun = performance.now();
    await eventually(async () => (await count()) >= before + 4);
    // Fewer on a machine that is busy, and never more.
    const beats = (await count()) - before;
    expect(beats).toBeLessThanOrEqual((performance.now() - begun) / 1000 + 2);
    expect(await captured.log.ends(capture.topic('heartbeat'))).toHaveLength(1);
  });

  test('lets the write-ahead log go when only uncaptured tables change', async () => {
    const { client } = capture.database;
    await client.query('CREATE TABLE busy (text text)');
    const slot = () => readSlot(client, capture.config.capture.slot);
    await client.query(`INSERT INTO busy SELECT repeat('x', 1000) FROM generate_series(1, 20000)`);
    expect(await slot()).toMatchObject({ active: true, walStatus: 'reserved' });
    await eventually(async () => ((await slot())?.confirmedLagBytes ?? 1n << 60n) < 1_000_000n);
  });
});

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
    const rows = async () => (await captured.trades()).filter(({ change }) => change.after?.symbol === 'after');
    await eventually(async () => (await rows()).length === 2);
    expect(supervisor.restarts).toBeGreaterThanOrEqual(1);
    expect([...states]).toEqual(expect.arrayContaining(['0 FAILED', '0 RUNNING']));
  } finally {
    stop.abort();
    await running;
  }
});

test('a column that may not be null any more stops the task until its schema is let through, and no row is missing', async () => {
  const { client, definition, database } = capture;
  const { registry } = captured;
  const subject = valueSubject(capture.topic('trades'));
  const alter = (change: string) => database.client.query(`ALTER TABLE trades ${change}`);
  const rows = async () => (await captured.trades()).filter(({ change }) => change.after?.symbol === 'narrowed');
  await alter('ADD COLUMN lot integer DEFAULT 7');
  await insert(`('v', 'narrowed', '1', 1, 1, now())`);
  await eventually(async () => (await rows()).length === 1);
  expect(await registry.compatibility(subject)).toBe('BACKWARD');
  await alter('DROP COLUMN lot');
  await alter('ADD COLUMN lot integer NOT NULL DEFAULT 7');
  await insert(`('v', 'narrowed', '2', 1, 1, now())`);
  const task = async () => (await client.status(definition.name))?.tasks[0];
  await eventually(async () => (await task())?.state === 'FAILED');
  expect((await task())?.trace).toContain(`Incompatible artifact: ${subject}`);

  await registry.setCompatibility('NONE', subject);
  await client.restartTask(definition.name, 0);
  await eventually(async () => (await rows()).length === 2);
  await registry.setCompatibility('BACKWARD', subject);
  await insert(`('v', 'narrowed', '3', 1, 1, now())`);
  await eventually(async () => (await rows()).length === 3);
  expect(await task()).toMatchObject({ state: 'RUNNING' });
});
