import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Client } from 'pg';
import { definitions, masksOf, requireNoGap, sourceState } from '../../../cli/capture/capture.ts';
import { firstSnapshot } from '../../../cli/capture/first-snapshot.ts';
import { applyConnector } from '../../../connectors/apply.ts';
import { requireMaskable } from '../../../connectors/definition/masking.ts';
import { recapture } from '../../../connectors/recapture/recapture.ts';
import { dropSlot } from '../../../connectors/recapture/slot.ts';
import { AvroDecoder, schemaIdOf } from '../../../core/avro/decoder.ts';
import { maskedTable, noMasks } from '../../../core/capture/masks.ts';
import { partitionOf } from '../../../core/capture/routing.ts';
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

/** What the row has beyond the columns that there always are. */
function extraOf({ trade_id, note, lot, remark }: Record<string, unknown>): (string | null)[] {
  return [trade_id, note, lot, remark].map((value) => (value === undefined ? null : String(value)));
}

/** Inserts one row after the other, and remembers each as Postgres says it is. */
function ddlLoad(url: string) {
  const inserted: (string | null)[][] = [];
  const stop = new AbortController();
  const running = (async () => {
    const db = new Client(url);
    await db.connect();
    for (let n = 0; !stop.signal.aborted; n++) {
      const { rows } = await db.query<{ row: Record<string, unknown> }>(
        `INSERT INTO trades (venue, symbol, trade_id, price, size, executed_at) VALUES ('v', 'ddl-load', $1, 1, 1, now())
         RETURNING to_jsonb(trades) AS row`,
        [`${n}`],
      );
      inserted.push(extraOf(rows[0]?.row ?? {}));
    }
    await db.end();
  })();
  return {
    next: async () => {
      const before = inserted.length;
      while (inserted.length < before + 30) await new Promise((resolve) => setTimeout(resolve, 10));
    },
    end: async () => {
      await new Promise((resolve) => setTimeout(resolve, 200));
      stop.abort();
      await running;
      return inserted;
    },
  };
}

describe('rules for what a row does not tell by itself', () => {
  test('a value that Postgres keeps apart comes whole in both rows of an update that did not touch it', async () => {
    const { client } = capture.database;
    const long = randomBytes(20_000).toString('hex');
    await client.query(
      `INSERT INTO trades (venue, symbol, trade_id, price, size, executed_at, conditions) VALUES ('v', 'toast', '1', 1, 1, now(), $1)`,
      [long],
    );
    const { rows } = await client.query(
      `SELECT pg_column_size(conditions) AS stored FROM trades WHERE symbol = 'toast'`,
    );
    expect(Number(rows[0].stored)).toBeGreaterThan(8_000);
    await client.query(`UPDATE trades SET price = 2 WHERE symbol = 'toast'`);
    const found = async () => (await captured.trades()).filter(({ change }) => change.after?.symbol === 'toast');
    await eventually(async () => (await found()).length === 2);
    const update = (await found())[1]?.change;
    expect(update).toMatchObject({ op: 'u', before: { price: 100_000_000n }, after: { price: 200_000_000n } });
    expect([update?.before?.conditions === long, update?.after?.conditions === long]).toEqual([true, true]);
  });

  test('columns that come, go, are renamed and widened under load lose no row, and each row has what it was inserted with', async () => {
    const { database, topic } = capture;
    const loaded = ddlLoad(database.url);
    for (const statement of [
      `ALTER TABLE trades ADD COLUMN note text DEFAULT 'none'`,
      'ALTER TABLE trades ADD COLUMN lot integer NOT NULL DEFAULT 7',
      'ALTER TABLE trades RENAME COLUMN note TO remark',
      'ALTER TABLE trades ALTER COLUMN lot TYPE bigint',
      'ALTER TABLE trades DROP COLUMN remark',
      'ALTER TABLE trades DROP COLUMN lot',
    ]) {
      await loaded.next();
      await database.client.query(statement);
    }
    const expected = await loaded.end();
    const rows = async () =>
      (await captured.records('trades')).filter(({ record }) => record.value?.includes('ddl-load'));
    await eventually(async () => (await rows()).length === expected.length);
    const decoder = new AvroDecoder<{ after: Record<string, unknown> }>(captured.registry, null);
    const found = await rows();
    await decoder.prepare(decoder.missing(found.map(({ record }) => record.value)));
    const extra = found.map(({ record }) => extraOf(decoder.decode(record.value as Buffer).after));
    expect(extra.sort()).toEqual(expected.sort());
    const ids = new Set(found.map(({ record }) => schemaIdOf(record.value as Buffer)));
    expect(ids.size).toBeGreaterThanOrEqual(6);
    expect((await captured.trades()).filter(({ change }) => change.after?.symbol === 'ddl-load')).toHaveLength(
      expected.length,
    );
    expect((await captured.registry.latest(`${topic('trades')}-value`))?.version).toBeGreaterThanOrEqual(6);
  });
});

describe('a lost slot', () => {
  const options = () => ({
    ...{ client: capture.client, definition: capture.definition, log: captured.log, schemas: captured.registry },
    postgresUrl: capture.config.postgres.url,
    slot: capture.config.capture.slot,
    prefix: capture.config.capture.prefix,
    masks: noMasks,
  });

  test('is a loud stop, and recapturing writes what the log lacks, each row once, and nothing the second time', async () => {
    const { client, definition, database, config } = capture;
    const db = database.client;
    await db.query(`ALTER TABLE instruments ADD COLUMN code character(3) DEFAULT 'ab'`);
    await insert(['kept', 'changed', 'deleted'].map((id) => `('v', 'gap', '${id}', 7.5, 1, now())`).join(', '));
    await db.query(`INSERT INTO instruments (venue, symbol, base, quote) VALUES ('v', 'gap', 'A', 'B')`);
    const gap = async () =>
      (await captured.trades()).filter(({ change }) => (change.after ?? change.before)?.symbol === 'gap');
    await eventually(async () => (await gap()).length === 3 && (await captured.records('instruments')).length === 1);
    await client.stop(definition.name);
    await eventually(() => dropSlot(db, config.capture.slot));
    await insert(`('v', 'gap', 'missing', 1, 1, '2013-11-25 00:00:00.12+00'), ('v', 'gap', 'fleeting', 1, 1, now())`);
    await db.query(`UPDATE trades SET price = 8, conditions = E'a\\\\b\\n' WHERE trade_id = 'changed'`);
    await db.query(`DELETE FROM trades WHERE trade_id IN ('deleted', 'fleeting')`);
    await db.query(`UPDATE instruments SET active = false`);
    await db.query(`INSERT INTO instruments (venue, symbol, base, quote) VALUES ('v', 'gap2', 'A', 'B')`);

    await expect(requireNoGap(config, client, definition, captured.log)).rejects.toMatchObject({
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
    await requireNoGap(config, client, definition, captured.log);
    await eventually(async () => (await gap()).length === 7);

    const found = await gap();
    const of = (id: string) => found.filter(({ change }) => (change.after ?? change.before)?.trade_id === id);
    expect(of('kept').map(({ change }) => change.op)).toEqual(['c']);
    expect(of('missing')[0]).toMatchObject({
      partition: partitionOf(['v', 'gap'], 6),
      change: {
        op: 'r',
        before: null,
        after: { price: 100_000_000n, executed_at: '2013-11-25T00:00:00.120000Z', side: 'unknown', conditions: null },
        source: { snapshot: 'true', ts_us: done.from, lsn: done.place },
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
    await eventually(async () => (await captured.records('instruments')).length === 4);
    const partitions = (await captured.records('instruments')).filter(({ record }) => record.key?.includes('gap2'));
    expect(partitions).toHaveLength(2);
    expect(new Set(partitions.map(({ partition }) => partition)).size).toBe(1);
    const decoder = new AvroDecoder<{ after: { code: string } }>(captured.registry, null);
    await decoder.prepare(decoder.missing(partitions.map(({ record }) => record.value)));
    const codes = partitions.map(({ record }) => decoder.decode(record.value as Buffer).after.code);
    expect(codes).toEqual(['ab ', 'ab ']);

    const again = await recapture(options());
    expect(again.tables.map(({ missing, changed, deleted }) => missing + changed + deleted)).toEqual([0, 0]);
    await applyConnector(client, definition);
  });

  test('a TRUNCATE that got past its trigger is in the log, and recapturing deletes there what it took', async () => {
    const { client, definition, database } = capture;
    await database.client.query(`ALTER TABLE trades DISABLE TRIGGER refuse_truncate`);
    await database.client.query('TRUNCATE trades');
    await database.client.query(`ALTER TABLE trades ENABLE TRIGGER refuse_truncate`);
    await insert(`('v', 'again', 'kept', 1, 1, now())`);
    await eventually(async () => (await captured.trades()).some(({ change }) => change.after?.symbol === 'again'));
    const all = await captured.trades();
    expect(all.filter(({ change }) => change.op === 't')).toHaveLength(1);
    const alive = new Set<string>();
    for (const { change } of all) {
      const { venue, symbol, trade_id } = change.after ?? change.before ?? {};
      if (change.after === null) alive.delete(`${venue} ${symbol} ${trade_id}`);
      else alive.add(`${venue} ${symbol} ${trade_id}`);
    }
    const done = await recapture(options());
    expect(done.tables[0]).toEqual({ table: 'public.trades', missing: 0, changed: 0, deleted: alive.size - 1 });
    await applyConnector(client, definition);
  });

  test('without a position the connector is not let begin anew over a log that has its rows, but recapturing gives it one', async () => {
    const { client, definition, config } = capture;
    await client.stop(definition.name);
    await eventually(async () => {
      await client.deleteOffsets(definition.name);
      return true;
    });
    await client.delete(definition.name);
    await expect(requireNoGap(config, client, definition, captured.log)).rejects.toMatchObject({
      code: 'POSITION_LOST',
    });
    await insert(`('v', 'no-position', '1', 1, 1, now())`);
    const done = await recapture(options());
    expect(done.tables[0]).toEqual({ table: 'public.trades', missing: 1, changed: 0, deleted: 0 });
    await requireNoGap(config, client, definition, captured.log);
    await applyConnector(client, definition);
    await insert(`('v', 'no-position', '2', 1, 1, now())`);
    const found = async () => (await captured.trades()).filter(({ change }) => change.after?.symbol === 'no-position');
    await eventually(async () => (await found()).length === 2);
    expect((await found()).map(({ change }) => change.op)).toEqual(['r', 'c']);
  });
});

test('a first snapshot that was interrupted is not begun again: no row comes twice, and what is missing or was changed since is filled', async () => {
  const { client, config, database, definition } = capture;
  const { prefix } = config.capture;
  const db = database.client;
  await insert(['kept', 'changed', 'deleted'].map((id) => `('v', 'half', '${id}', 1, 1, now())`).join(', '));
  const half = async () =>
    (await captured.trades()).filter(({ change }) => (change.after ?? change.before)?.symbol === 'half');
  await eventually(async () => (await half()).length === 3);
  await client.stop(definition.name);
  await eventually(async () => {
    await client.fence(definition.name);
    return true;
  });
  await db.query(`UPDATE trades SET price = 2 WHERE (symbol, trade_id) = ('half', 'changed')`);
  await db.query(`DELETE FROM trades WHERE (symbol, trade_id) = ('half', 'deleted')`);
  await insert(`('v', 'half', 'missing', 1, 1, now())`);
  const before = (await captured.trades()).length;

  // What Kafka Connect keeps when it dies within one.
  const position = await client.position(definition.name);
  const offset = { lsn: Number(position?.lsn), ts_usec: 1, snapshot: 'INITIAL', snapshot_completed: false };
  const answer = await fetch(`${client.url}/connectors/${definition.name}/offsets`, {
    method: 'PATCH',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ offsets: [{ partition: { server: prefix }, offset }] }),
  });
  expect(answer.status).toBe(200);
  expect(await client.position(definition.name)).toMatchObject({ unfinished: true });
  await client.resume(definition.name);
  const state = async () => (await client.status(definition.name))?.tasks[0]?.state;
  await eventually(async () => (await state()) === 'FAILED');
  await expect(requireNoGap(config, client, definition, captured.log)).rejects.toMatchObject({
    code: 'POSITION_LOST',
    message: expect.stringContaining('interrupted'),
  });
  expect(await captured.trades()).toHaveLength(before);

  const filled: unknown[] = [];
  const snapshot = firstSnapshot({
    ...{ config, client, connector: definition.name, log: captured.log, schemas: captured.registry },
    state: () => sourceState(database.client, config, definition),
    listener: { filled: ({ tables }) => filled.push(tables[0]) },
  });
  await snapshot.look();
  expect(filled).toEqual([{ table: 'public.trades', missing: 1, changed: 1, deleted: 1 }]);
  await eventually(async () => (await state()) === 'RUNNING');
  await insert(`('v', 'half', 'after', 1, 1, now())`);
  await eventually(async () => (await half()).length === 7);
  const lives = new Map<string, string>();
  for (const { change } of await half()) {
    const id = (change.after ?? change.before)?.trade_id ?? '';
    lives.set(id, (lives.get(id) ?? '') + change.op);
  }
  expect(Object.fromEntries(lives)).toEqual({ kept: 'c', changed: 'cu', deleted: 'cd', missing: 'r', after: 'c' });
});

test('a first snapshot that was interrupted before it wrote a trade begins anew, and each row comes once', async () => {
  await using fresh = await testCapture();
  await using written = new Captured(fresh);
  const { client, config, database, definition } = fresh;
  await database.client.query(
    `INSERT INTO trades (venue, symbol, trade_id, price, size, executed_at) VALUES ('v', 's', '1', 1, 1, now()), ('v', 's', '2', 1, 1, now())`,
  );
  // What Debezium leaves that dies before Kafka has a record of it.
  await database.client.query(`SELECT pg_create_logical_replication_slot($1, 'pgoutput')`, [config.capture.slot]);
  await client.put(definition.name, definition.config);
  await eventually(async () => (await client.status(definition.name))?.tasks[0]?.state === 'FAILED');
  let anew = 0;
  const snapshot = firstSnapshot({
    ...{ config, client, connector: definition.name, log: written.log, schemas: written.registry },
    state: () => sourceState(database.client, config, definition),
    listener: { begunAnew: () => anew++ },
  });
  await snapshot.look();
  expect(anew).toBe(1);
  await eventually(async () => (await client.position(definition.name))?.unfinished === false);
  const changes = (await written.trades()).map(({ change }) => `${change.op} ${change.after?.trade_id}`);
  expect(changes.sort()).toEqual(['r 1', 'r 2']);
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
    const rows = async () => (await captured.trades()).filter(({ change }) => change.after?.symbol === 'masked');
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

    const decoder = new AvroDecoder<{ transaction: object | null }>(captured.registry, null);
    const last = (await captured.records('trades')).filter(({ record }) => record.value?.includes('masked'));
    await decoder.prepare(decoder.missing(last.map(({ record }) => record.value)));
    expect(last.map(({ record }) => decoder.decode(record.value as Buffer).transaction)).toEqual(
      [1n, 2n, 3n].map((order) => expect.objectContaining({ total_order: order, data_collection_order: order })),
    );
    const events = new AvroDecoder<{ id: string; status: string; event_count: bigint | null }>(captured.registry, null);
    const told = async () => {
      const all = await captured.records('', `${config.capture.prefix}.transaction`);
      await events.prepare(events.missing(all.map(({ record }) => record.value)));
      return all.map(({ record }) => events.decode(record.value as Buffer));
    };
    await eventually(async () =>
      (await told()).some(({ status, event_count }) => status === 'END' && event_count === 3n),
    );
  } finally {
    await applyConnector(client, capture.definition);
  }
});
