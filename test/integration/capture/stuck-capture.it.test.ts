/** Values that stop the capture: what is said of them, and the way out. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { applyConnector } from '../../../connectors/apply.ts';
import { requireWritable } from '../../../connectors/recapture/preflight.ts';
import { recapture } from '../../../connectors/recapture/recapture.ts';
import { tablesWithout } from '../../../connectors/recapture/rows/tables.ts';
import { dropSlot } from '../../../connectors/recapture/slot.ts';
import { columnTroubles } from '../../../connectors/trouble/columns.ts';
import { explainFailure } from '../../../connectors/trouble/failure.ts';
import { noMasks } from '../../../core/capture/masks.ts';
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

const query = (sql: string, values: readonly unknown[] = []) => capture.database.client.query(sql, [...values]);

const insert = (id: string, column: string, value: string) =>
  query(
    `INSERT INTO trades (venue, symbol, trade_id, price, size, executed_at, ${column}) SELECT 'v', 's', $1, 1, 1, now(), ${value}`,
    [id],
  );

async function failedTrace(): Promise<string> {
  let trace: string | undefined;
  await eventually(async () => {
    trace = (await capture.client.status(capture.definition.name))?.tasks[0]?.trace;
    return trace !== undefined;
  });
  return trace ?? '';
}

const idsOf = async () => (await captured.trades()).map(({ change }) => `${change.op} ${change.after?.trade_id}`);

/** As `connectors delete --reset` and `connectors recapture --yes` do. */
async function resetAndRecapture(): Promise<unknown> {
  const { client, definition, config, database } = capture;
  await client.stop(definition.name);
  await eventually(async () => {
    await client.deleteOffsets(definition.name);
    return true;
  });
  await client.delete(definition.name);
  await eventually(() => dropSlot(database.client, config.capture.slot));
  const done = await recapture({
    ...{ client, definition, log: captured.log, schemas: captured.registry, masks: noMasks },
    postgresUrl: config.postgres.url,
    slot: config.capture.slot,
    prefix: config.capture.prefix,
  });
  await applyConnector(client, definition);
  return done.tables[0];
}

const writable = (parked: readonly string[] = []) => {
  const { postgres, capture: of } = capture.config;
  return requireWritable(postgres.url, captured.registry, of.prefix, tablesWithout(parked));
};

describe('a value that Debezium cannot write', () => {
  test('NaN is named with its row, recapture refuses before it stops anything, and goes on when it is corrected', async () => {
    await query('ALTER TABLE trades ADD COLUMN fee numeric');
    await insert('before', 'fee', '1.5');
    await eventually(async () => (await idsOf()).includes('c before'));
    await insert('nan', 'fee', "'NaN'");
    await insert('after', 'fee', '2');
    const explanation = await explainFailure(capture.database.client, await failedTrace());
    expect(explanation.join('\n')).toContain(
      "public.trades.fee: Debezium cannot write NaN or an infinity; in rows (venue, symbol, trade_id) = ('v', 's', 'nan')",
    );
    await expect(writable()).rejects.toMatchObject({
      code: 'SCHEMA_INCOMPATIBLE',
      message: expect.stringContaining(
        "public.trades.fee has NaN or an infinity: (venue, symbol, trade_id) = ('v', 's', 'nan')",
      ),
    });
    await writable(['public.trades']);
    await query(`UPDATE trades SET fee = 0 WHERE trade_id = 'nan'`);
    await writable();
    expect(await resetAndRecapture()).toEqual({ table: 'public.trades', missing: 2, changed: 0, deleted: 0 });
    await insert('later', 'fee', '3');
    await eventually(async () => (await idsOf()).includes('c later'));
    expect((await idsOf()).sort()).toEqual(['c before', 'c later', 'r after', 'r nan']);
  });

  test('columns of types that cannot be captured are named while capture runs, and dropping one is a way out', async () => {
    await query(`CREATE TYPE pair AS (a integer, b text)`);
    await query('ALTER TABLE trades ADD COLUMN flags bit(3)[], ADD COLUMN pair pair, ADD COLUMN tags text[]');
    const troubles = await columnTroubles(capture.database.client, captured.registry, capture.config.capture.prefix);
    expect(troubles.map(({ table, name }) => `${table}.${name}`)).toEqual([
      'public.trades.flags',
      'public.trades.pair',
    ]);
    await insert('bits', 'flags', "'{101}'");
    const explanation = await explainFailure(capture.database.client, await failedTrace());
    expect(explanation.join('\n')).toContain(
      "public.trades.flags: Debezium cannot write a value of type bit[]; in rows (venue, symbol, trade_id) = ('v', 's', 'bits')",
    );
    await query('ALTER TABLE trades DROP COLUMN flags, DROP COLUMN pair, DROP COLUMN tags');
    expect(await resetAndRecapture()).toEqual({ table: 'public.trades', missing: 1, changed: 0, deleted: 0 });
  });
});

describe('a large document', () => {
  const document = (bytes: number) =>
    `jsonb_build_object('text', (SELECT string_agg(md5(i::text), '') FROM generate_series(1, ${Math.floor(bytes / 32)}) i))`;

  test('of 2 MB is captured, an update of it as well; one beyond the limit is named, and the way out works', async () => {
    await query('ALTER TABLE trades ADD COLUMN meta jsonb');
    await insert('large', 'meta', document(2_000_000));
    await query(`UPDATE trades SET price = 2 WHERE trade_id = 'large'`);
    await eventually(async () => (await idsOf()).includes('u large'));
    await insert('too-large', 'meta', document(9_000_000));
    const explanation = await explainFailure(capture.database.client, await failedTrace());
    expect(explanation.join('\n')).toMatch(
      /row \(venue, symbol, trade_id\) = \('v', 's', 'too-large'\) \(bytes: meta \d+/,
    );
    await query(`UPDATE trades SET meta = NULL WHERE trade_id = 'too-large'`);
    await insert('large-too', 'meta', document(2_000_000));
    expect(await resetAndRecapture()).toEqual({ table: 'public.trades', missing: 2, changed: 0, deleted: 0 });
    expect(await idsOf()).toEqual(expect.arrayContaining(['r too-large', 'r large-too']));
  });
});
