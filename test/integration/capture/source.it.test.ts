import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { applyCapture, requireNoGap, slotState } from '../../../cli/capture/capture.ts';
import { recaptureConnector } from '../../../cli/capture/recapture.ts';
import { isWhole } from '../../../cli/capture/source/lines.ts';
import { parkTable, unparkTable } from '../../../cli/capture/source/park.ts';
import { RestartLog } from '../../../cli/capture/source/restarts.ts';
import { SourceWatch } from '../../../cli/capture/source/watch.ts';
import { summarize } from '../../../connectors/supervision/restarts.ts';
import { connectPostgres } from '../../../core/base/postgres.ts';
import { createLogger } from '../../../core/observability/logger.ts';
import { Metrics } from '../../../core/observability/metrics.ts';
import { type TestCapture, testCapture } from '../../support/capture.ts';
import { Captured } from '../../support/captured.ts';
import { eventually } from '../../support/patience.ts';

let capture: TestCapture;
let captured: Captured;
let watch: SourceWatch;
const metrics = new Metrics({ node: false });
const signal = new AbortController().signal;

beforeAll(async () => {
  capture = await testCapture();
  captured = new Captured(capture);
  const { config, definition, client, database } = capture;
  const logger = createLogger({ level: 'silent' });
  watch = new SourceWatch(
    { config, metrics, logger },
    async () => definition,
    () => connectPostgres({ url: database.url, name: 'test' }),
  );
  await applyCapture(config, client, await requireNoGap(config, client, definition, captured.log));
  await insert('before');
  await eventually(async () => (await ops('before')) === 'c');
});

afterAll(async () => {
  await captured?.[Symbol.asyncDispose]();
  await capture?.[Symbol.asyncDispose]();
});

const query = (sql: string, values?: unknown[]) => capture.database.client.query(sql, values);
const insert = (...ids: string[]) =>
  query(
    `INSERT INTO trades (venue, symbol, trade_id, price, size, executed_at)
       VALUES ${ids.map((id) => `('v', 's', '${id}', 1, 1, now())`).join(', ')}`,
  );
/** Operations of one trade in the log. */
const ops = async (id: string): Promise<string> => {
  const changes = (await captured.trades()).map(({ change }) => change);
  return changes
    .filter(({ after, before }) => (after ?? before)?.trade_id === id)
    .map(({ op }) => op)
    .join('');
};
const state = () => slotState(capture.config, capture.client, capture.definition);
const effects = async () => (await state()).findings.map(({ effect, subject }) => `${effect} ${subject}`);
const recaptureAll = () => {
  const { config, client, definition } = capture;
  return recaptureConnector({ config, client, definition, yes: true, signal });
};
const command = (table: string) => {
  const { config, client, definition } = capture;
  return { config, client, definition, table, yes: true, signal };
};

test('a table that is swapped by a rename is told at once, with the SQL that mends it, and recapturing finds its rows', async () => {
  const { config, client, definition } = capture;
  expect(await effects()).toEqual([]);
  await query(`BEGIN; CREATE TABLE trades_new (LIKE trades INCLUDING ALL); ALTER TABLE trades_new REPLICA IDENTITY FULL;
    GRANT SELECT ON trades_new TO millrace_capture; INSERT INTO trades_new SELECT * FROM trades;
    CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON trades_new FOR EACH STATEMENT EXECUTE FUNCTION millrace_refuse_truncate();
    ALTER TABLE trades RENAME TO trades_old; ALTER TABLE trades_new RENAME TO trades; COMMIT`);
  await insert('swapped-1', 'swapped-2');
  await watch.look();
  expect(watch.sees).toBe(false);
  expect(await metrics.registry.metrics()).toContain(
    'millrace_capture_findings{effect="blind",subject="public.trades"} 1',
  );
  expect((await client.status(definition.name))?.tasks[0]?.state).toBe('RUNNING');
  const { findings } = await state();
  expect(findings).toMatchObject([{ effect: 'blind', cause: expect.stringContaining('public.trades_old now') }]);
  await expect(requireNoGap(config, client, definition, captured.log)).rejects.toMatchObject({
    code: 'CAPTURE_INCOMPLETE',
    message: expect.stringContaining('ALTER PUBLICATION "millrace" ADD TABLE public.trades;'),
  });
  await expect(recaptureAll()).rejects.toMatchObject({ code: 'CAPTURE_INCOMPLETE' });

  await query(findings[0]?.remedy ?? '');
  await watch.look();
  expect(watch.sees).toBe(true);
  expect(await effects()).toEqual(['missed public.trades']);
  await recaptureAll();
  expect(await effects()).toEqual([]);
  expect([await ops('before'), await ops('swapped-1'), await ops('swapped-2')]).toEqual(['c', 'r', 'r']);
  await insert('swapped-after');
  await eventually(async () => (await ops('swapped-after')) === 'c');
});

test('a publication that lost a table for a moment, between two looks, still asks for a recapture', async () => {
  await watch.look();
  await query('ALTER PUBLICATION millrace DROP TABLE trades');
  await insert('unseen');
  await query('ALTER PUBLICATION millrace ADD TABLE trades');
  await insert('seen');
  await eventually(async () => (await ops('seen')) === 'c');
  expect(await ops('unseen')).toBe('');
  expect(await effects()).toEqual(['missed public.trades']);
  await recaptureAll();
  expect([await ops('unseen'), await ops('seen')]).toEqual(['r', 'c']);
  expect(await effects()).toEqual([]);
});

test('a publication that leaves out operations, or is made anew, is told; so is a role without its rights', async () => {
  await query(`ALTER PUBLICATION millrace SET (publish = 'insert')`);
  expect((await state()).findings[0]?.cause).toBe('publication millrace leaves out UPDATE, DELETE, TRUNCATE');
  await query((await state()).findings[0]?.remedy ?? '');
  expect(await effects()).toEqual([]);
  await query('REVOKE SELECT ON trades FROM millrace_capture; ALTER TABLE trades DISABLE TRIGGER refuse_truncate');
  const weak = (await state()).findings;
  expect(weak.map(({ effect }) => effect)).toEqual(['weak', 'weak']);
  for (const { remedy } of weak) await query(remedy);
  await query('DROP PUBLICATION millrace');
  expect(await effects()).toEqual(['blind millrace']);
  await query((await state()).findings[0]?.remedy ?? '');
  expect(await effects()).toEqual(['missed millrace']);
  await recaptureAll();
  expect(await effects()).toEqual([]);
});

describe('a generated column', () => {
  test('that is stored lets the application update and delete, and is captured', async () => {
    await query('ALTER TABLE trades ADD COLUMN notional numeric(20, 8) GENERATED ALWAYS AS (price * size) STORED');
    await insert('generated');
    await query(`UPDATE trades SET price = 2 WHERE trade_id = 'generated'`);
    await query(`DELETE FROM trades WHERE trade_id = 'generated'`);
    await eventually(async () => (await ops('generated')) === 'cud');
    expect(await effects()).toEqual([]);
  });

  test('that Postgres refuses statements for is told, with the SQL that mends it', async () => {
    await query('ALTER PUBLICATION millrace SET (publish_generated_columns = none)');
    await query('ALTER TABLE trades ADD COLUMN twice numeric GENERATED ALWAYS AS (price * 2) VIRTUAL');
    await expect(query('UPDATE trades SET price = 3')).rejects.toMatchObject({ code: '42P10' });
    await watch.look();
    const { findings } = await state();
    expect(findings.map(({ effect }) => effect)).toEqual(['refused', 'refused']);
    for (const { remedy } of findings) await query(remedy);
    await query('UPDATE trades SET price = 3');
    await watch.look();
    expect(await effects()).toEqual([]);
  });
});

test('restarts are readable by other processes, and many of them are no running connector', async () => {
  const connect = () => connectPostgres({ url: capture.database.url, name: 'test' });
  const restarts = new RestartLog({ connector: capture.definition.name, connect });
  for (let i = 0; i < 3; i++) restarts.add(0, 'Caused by: RecordTooLargeException');
  await restarts.flush();
  const { findings, record } = await state();
  const summary = summarize(record.restarts, Date.now());
  expect(summary).toMatchObject({ lastHour: 3, failing: true, last: { part: 'task 0' } });
  expect(isWhole(findings, record, summary)).toBe(false);
});

test('a table that is broken can be parked, so that the others go on, and is filled when it is taken up again', async () => {
  const { client, definition } = capture;
  await query('ALTER TABLE trades ADD COLUMN meta jsonb, ADD COLUMN fee numeric');
  await insert('sound');
  await eventually(async () => (await ops('sound')) === 'c');
  // Too large in zstd, too.
  await query(`UPDATE trades SET meta = (SELECT to_jsonb(string_agg(md5(n::text), '')) FROM generate_series(1, 625000) n)
    WHERE trade_id = 'sound'`);
  await eventually(async () => (await client.status(definition.name))?.tasks[0]?.state === 'FAILED');
  await parkTable(command('trades'));
  const instruments = async () => (await captured.records('instruments')).length;
  await query(`INSERT INTO instruments (venue, symbol, base, quote) VALUES ('v', 'parked', 'A', 'B')`);
  await eventually(async () => (await instruments()) === 1);
  await insert('parked');
  expect((await state()).record.parked).toMatchObject({
    'public.trades': { cause: expect.stringContaining('RecordTooLarge') },
  });

  // No value of it stops a recapture of the others. What is still broken stays parked, and the others go on.
  await query(`UPDATE trades SET fee = 'NaN' WHERE trade_id = 'sound'`);
  await recaptureAll();
  await expect(unparkTable(command('trades'))).rejects.toMatchObject({ code: 'SCHEMA_INCOMPATIBLE' });
  expect(Object.keys((await state()).record.parked ?? {})).toEqual(['public.trades']);
  await query(`UPDATE instruments SET active = false`);
  await eventually(async () => (await instruments()) === 2);

  await query('ALTER TABLE trades DROP COLUMN meta, DROP COLUMN fee');
  await unparkTable(command('trades'));
  const { record, findings } = await state();
  expect([record.parked, findings]).toEqual([{}, []]);
  expect(await ops('parked')).toBe('r');
  await insert('unparked');
  await eventually(async () => (await ops('unparked')) === 'c');
});
