/** What a trace says is held against what Postgres, the topic and the file say, each read without it; and what is planted is told. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import kafkajs from 'kafkajs';
import type { Client } from 'pg';
import { S3Store } from '../../core/archive/s3/s3.ts';
import { AvroEncoder } from '../../core/avro/encoder.ts';
import { Registry } from '../../core/avro/registry/registry.ts';
import type { Config } from '../../core/base/config.ts';
import { connectPostgres } from '../../core/base/postgres.ts';
import { GroupAdmin } from '../../core/kafka/groups.ts';
import { KafkaLog } from '../../core/kafka/log.ts';
import { parseTimestamp } from '../../core/values/time.ts';
import { traceCandle } from '../../proof/trace/candle/trace.ts';
import { parseObjectName } from '../../proof/trace/object/name.ts';
import { traceObject } from '../../proof/trace/object/trace.ts';
import { type RowTrace, traceRow } from '../../proof/trace/row/trace.ts';
import type { TraceSources } from '../../proof/trace/sources.ts';
import type { Candle } from '../../schemas/gen/candle.ts';
import { schemas as contracts } from '../../schemas/gen/index.ts';
import { eventually, patienceMs } from '../support/patience.ts';
import { Home, type Replayed } from './home.ts';
import { changesOfTrade, inFile, replaced, settled } from './witness.ts';

const topic = 'cdc.public.trades';
const venue = 'bitstamp';
const symbol = 'BTC/USD';
const day = '2025-06-02';
let home: Home;
let config: Config;
let sources: TraceSources & { log: KafkaLog };
let db: Client;
const stopping: (() => Promise<unknown>)[] = [];

async function captured(sql: string, expected: () => Promise<boolean>): Promise<void> {
  await db.query(sql);
  await eventually(expected);
  await settled(sources.log, [
    ['ohlcv', topic],
    ['parquet', topic],
    ['parquet', 'market.candles'],
  ]);
}

const changesOf = async (trade_id: string): Promise<number> => (await trace(trade_id)).changes.length;
const trace = (trade_id: string, waitMs = patienceMs): Promise<RowTrace> =>
  traceRow(sources, { venue, symbol, trade_id }, { slot: config.capture.slot, waitMs });

beforeAll(async () => {
  home = Home.shared('trace-test', {
    MILLRACE_PARQUET_FLUSH_MS: '500',
    MILLRACE_OHLCV_WATERMARK_DELAY_MS: '1000',
    MILLRACE_OHLCV_PARTIAL_MS: '0',
  });
  await home.up();
  config = await home.config();
  const { brokers, clientId } = config.kafka;
  const log = new KafkaLog({ brokers, clientId });
  const groups = await GroupAdmin.open({ brokers, clientId });
  db = await connectPostgres({ url: config.postgres.url, name: 'trace test' });
  await db.query("SET TIME ZONE 'UTC'");
  const store = new S3Store(config.s3);
  const schemas = new Registry({ url: config.registry.url });
  const offsetsAt = (of: string, millis: number) => groups.offsetsAt(of, millis);
  sources = { log, schemas, store, db, bucket: config.s3.bucket, candles: config.ohlcv, offsetsAt };
  stopping.push(
    () => groups[Symbol.asyncDispose](),
    () => db.end(),
    () => store[Symbol.asyncDispose](),
    () => schemas[Symbol.asyncDispose](),
    () => log[Symbol.asyncDispose](),
  );
  home.start('ohlcv', 'parquet', 'manifests');
  await captured(
    `INSERT INTO trades SELECT '${venue}', '${symbol}', 't' || i, NULL, 100 + i % 13, 0.5, 'buy', '${day}T12:00:00Z'::timestamptz + i * interval '7 seconds'
       FROM generate_series(0, 199) i`,
    async () => (await changesOf('t199')) === 1,
  );
  await captured(`UPDATE trades SET price = 99.5 WHERE trade_id = 't90'`, async () => (await changesOf('t90')) === 2);
  await captured(
    `UPDATE trades SET executed_at = '${day}T12:12:01Z' WHERE trade_id = 't90'`,
    async () => (await changesOf('t90')) === 3,
  );
  await captured(`DELETE FROM trades WHERE trade_id = 't91'`, async () => (await changesOf('t91')) === 2);
  await captured(
    `INSERT INTO trades VALUES ('${venue}', '${symbol}', 'late', NULL, 250, 2, 'sell', '${day}T12:10:30Z'),
       ('${venue}', '${symbol}', 'future', NULL, 1, 1, 'buy', now() + interval '1 hour')`,
    async () => (await changesOf('future')) === 1,
  );
  for (const id of ['t90', 't91', 'late', 'future']) {
    await eventually(async () => (await trace(id)).changes.every(({ archive }) => archive.manifest?.lists === true));
  }
});

afterAll(async () => {
  for (const stop of stopping) await stop();
  await home[Symbol.asyncDispose]();
});

describe('a row is followed', () => {
  test('from Postgres through every change in the log to its row in the archive, equal to what each of them says itself', async () => {
    const found = await trace('t90');
    expect(found.findings).toEqual([]);
    const { rows } = await db.query<{ xmin: string; price: string }>(
      `SELECT xmin::text, price::text FROM trades WHERE trade_id = 't90'`,
    );
    const { partition, found: records } = await changesOfTrade(sources, { venue, symbol, trade_id: 't90' });
    expect(found.postgres).toMatchObject({
      present: true,
      row: { price: rows[0]?.price },
      xmin: BigInt(rows[0]?.xmin ?? 0),
    });
    expect(found.postgres.writtenBy).toBe(records.at(-1)?.offset);
    expect(found.changes.map(({ operation }) => operation)).toEqual(['insert', 'update', 'update']);
    expect(found.changes.map((each) => [each.partition, each.offset, each.lsnNumber, each.transaction])).toEqual(
      records.map(({ offset, lsn, txId }) => [partition, offset, lsn, txId]),
    );
    for (const { offset, lsnNumber, archive } of found.changes) {
      expect(archive).toMatchObject({ state: 'listed', equal: true });
      const key = archive.object?.key ?? '';
      const [row] = await inFile(
        sources.store,
        key,
        `SELECT _lsn, file_row_number AS n FROM read_parquet(FILE, file_row_number = true) WHERE _offset = ${offset}`,
      );
      expect([row?.['_lsn'], row?.['n']]).toEqual([lsnNumber, archive.place?.row]);
      const groups = await inFile(sources.store, key, 'SELECT DISTINCT row_group_id FROM parquet_metadata(FILE)');
      expect(archive.place?.rowGroups).toBe(groups.length);
    }
    expect(found.changes[1]?.before).toEqual({ price: '112.00000000' });
    expect(found.changes[2]?.before).toEqual({ executed_at: `${day}T12:10:30.000000Z` });
  });

  test('to the candles that hold it, and those that it left', async () => {
    const { changes } = await trace('t90');
    const lines = changes.map(({ candles }) =>
      candles.map(({ interval, windowStart, holds, revisions }) => {
        const clock = new Date(Number(windowStart / 1000n)).toISOString().slice(11, 16);
        return `${holds ? 'in' : 'out of'} ${interval} ${clock} ${revisions.map(({ status, revision, reason }) => `${status}#${revision} ${reason}`).join(', ')}`;
      }),
    );
    expect(lines).toEqual([
      ['in 1m 12:10 CLOSED#1 WATERMARK', 'in 5m 12:10 CLOSED#1 WATERMARK'],
      ['in 1m 12:10 REVISED#2 CORRECTION', 'in 5m 12:10 REVISED#2 CORRECTION'],
      [
        'out of 1m 12:10 REVISED#3 CORRECTION',
        expect.stringMatching(/^in 5m 12:10 REVISED#3 CORRECTION, REVISED#4 CANCEL, REVISED#5 LATE_TRADE$/),
        'in 1m 12:12 REVISED#2 CORRECTION',
      ],
    ]);
    expect(changes[1]?.ledger.map(({ reason, effect, interval }) => `${reason} ${effect} ${interval}`)).toEqual([
      'UPDATE REVISED 1m',
      'UPDATE REVISED 5m',
    ]);
  });

  test('when it is gone from Postgres, when it was late, and when it was refused', async () => {
    const deleted = await trace('t91');
    expect(deleted).toMatchObject({ ok: true, findings: [], postgres: { present: false } });
    expect(deleted.changes.at(-1)).toMatchObject({ operation: 'delete', archive: { state: 'listed', equal: true } });
    const [late] = (await trace('late')).changes;
    expect(late?.ledger).toMatchObject([
      { reason: 'LATE', effect: 'REVISED', interval: '1m' },
      { reason: 'LATE', effect: 'REVISED', interval: '5m' },
    ]);
    expect(late?.candles.map(({ revisions }) => revisions[0]?.reason)).toEqual(['LATE_TRADE', 'LATE_TRADE']);
    const [future] = (await trace('future')).changes;
    expect(future).toMatchObject({
      refusals: [{ processor: 'ohlcv', reason: 'FUTURE_EVENT_TIME' }],
      candles: [],
      archive: { state: 'listed' },
    });
  });

  test('by the command, which says where it looked, in text and as JSON, and exits with 1 for a key that is nowhere', async () => {
    const { code, output } = await home.cli('trace', 'trades', venue, symbol, 't90', '--json');
    expect(code).toBe(0);
    expect(JSON.parse(output)).toMatchObject({
      table: 'trades',
      key: { venue, symbol, trade_id: 't90' },
      found: true,
      ok: true,
    });
    const text = (await home.cli('trace', 'trades', venue, symbol, 't90')).output;
    expect(text).toContain('row group 0 (of 1)');
    expect(text.trimEnd().split('\n').at(-1)).toBe('✓ Postgres, log, candles and archive agree, 0 differences');
    const nowhere = await home.cli('trace', 'trades', venue, symbol, 'never');
    expect(nowhere.code).toBe(1);
    expect(nowhere.output).toContain('not found');
    expect(nowhere.output).toMatch(/cdc\.public\.trades\/\d +offsets 0–\d+ +0 of \d+/);
    const unknown = await home.cli('trace', 'instruments', venue, symbol);
    expect([unknown.code, unknown.errors]).toEqual([1, expect.stringContaining('instruments cannot be traced')]);
  });
});

describe('back from', () => {
  const windowStart = parseTimestamp(`${day}T12:10:00Z`);

  test('an object: its offsets, cut and LSNs, and from a row of it to the record in the log', async () => {
    const { changes } = await trace('t90');
    const [change] = changes;
    const name = parseObjectName(change?.archive.object?.url ?? '', config.s3.bucket);
    const found = await traceObject(sources, name, change?.offset);
    expect(found).toMatchObject({ ok: true, findings: [], log: { holds: 'all' } });
    const [file] = await inFile(
      sources.store,
      name.key,
      'SELECT count(*) AS n, min(_lsn) AS low, min(_offset) AS first, max(_offset) AS last FROM read_parquet(FILE)',
    );
    expect([found.file?.rows, found.listed?.offsets]).toEqual([
      file?.['n'],
      { first: file?.['first'], last: file?.['last'] },
    ]);
    expect(found.file?.rowGroups[0]?.firstLsn).toBe(file?.['low']);
    expect(found.file?.footer).toMatchObject({ 'millrace.topic': topic, 'millrace.row_hash': found.listed?.rowHash });
    expect(found.row).toMatchObject({
      equal: true,
      trade: { venue, symbol, trade_id: 't90' },
      row: { _lsn: change?.lsn },
    });
    const command = await home.cli('trace', 'object', name.key, '--offset', `${change?.offset}`);
    expect(command.code).toBe(0);
    expect(command.output).toContain('equal to the record in the log');
    expect(command.output).toContain(`trades ${venue} ${symbol} t90`);
  });

  test('a candle: its trades, and from them to the same candle, at every revision', async () => {
    const id = { venue, symbol, interval: '5m', windowStart };
    const newest = await traceCandle(sources, id, { trades: 1000 });
    expect(newest).toMatchObject({ found: true, ok: true, findings: [] });
    const { rows } = await db.query<{ trade_id: string }>(
      `SELECT trade_id FROM trades WHERE executed_at >= '${day}T12:10:00Z' AND executed_at < '${day}T12:15:00Z' ORDER BY executed_at, trade_id COLLATE "C"`,
    );
    expect(newest.input?.trades.map(({ trade_id }) => trade_id)).toEqual(rows.map(({ trade_id }) => trade_id));
    for (const { revision } of newest.revisions) {
      const each = await traceCandle(sources, id, { trades: 0, revision });
      expect([revision, each.input?.different]).toEqual([revision, []]);
    }
    const command = await home.cli('trace', 'candle', venue, symbol, '5m', `${day}T12:10:00Z`);
    expect(command.output).toContain('✓ a recomputation from its trades gives the same candle, 0 differences');
  });
});

describe('it is told', () => {
  async function target() {
    const change = (await trace('t90')).changes[0];
    const object = change?.archive.object;
    if (change === undefined || object === null || object === undefined) throw new Error('not archived');
    return { key: object.key, offset: change.offset, lsn: change.lsn as string };
  }

  test('that a listed object is gone from the bucket', async () => {
    const { key } = await target();
    await replaced(sources.store, key, undefined, async () => {
      const found = await trace('t90');
      expect(found.ok).toBe(false);
      expect(found.findings.map(({ what }) => what)).toContain(`${key} is listed but not in the bucket`);
      const object = await traceObject(sources, parseObjectName(key, config.s3.bucket));
      expect(object).toMatchObject({ ok: false, file: null });
    });
  });

  test('that a row of an object has another LSN than the log', async () => {
    const { key, offset, lsn } = await target();
    const out = join(home.dir, 'other.parquet');
    await inFile(
      sources.store,
      key,
      `COPY (SELECT * REPLACE (CASE WHEN _offset = ${offset} THEN _lsn + 1 ELSE _lsn END AS _lsn) FROM read_parquet(FILE)) TO '${out}' (FORMAT parquet)`,
    );
    await replaced(sources.store, key, await readFile(out), async () => {
      const found = (await trace('t90')).findings.map(({ what }) => what);
      expect(found[0]).toMatch(/has SHA-256 [0-9a-f]{64}, its record says/);
      expect(found[1]).toMatch(new RegExp(`offset ${offset}: _lsn is [0-9A-F]+/[0-9A-F]+, in the log ${lsn}$`));
      const object = await traceObject(sources, parseObjectName(key, config.s3.bucket), offset);
      expect(object.row).toMatchObject({ equal: false });
      expect((await home.cli('trace', 'trades', venue, symbol, 't90')).code).toBe(1);
    });
  });

  test('that a row of an object is missing', async () => {
    const { key, offset } = await target();
    const out = join(home.dir, 'less.parquet');
    await inFile(
      sources.store,
      key,
      `COPY (FROM read_parquet(FILE) WHERE _offset <> ${offset}) TO '${out}' (FORMAT parquet)`,
    );
    await replaced(sources.store, key, await readFile(out), async () => {
      const { changes, findings } = await trace('t90');
      expect(findings.map(({ what }) => what)).toContain(`${key} is to hold offset ${offset}, and does not`);
      expect(changes[0]?.archive).toMatchObject({ place: null, equal: false });
    });
  });

  test('that an object is listed by nobody', async () => {
    const { key } = await target();
    const stray = key.replace(/\d{20}/, (digits) => (BigInt(digits) + 1n).toString().padStart(20, '0'));
    await sources.store.putIfAbsent(stray, (await sources.store.get(key))?.bytes ?? Buffer.alloc(0));
    try {
      const { findings, listed, file } = await traceObject(sources, parseObjectName(stray, config.s3.bucket));
      expect([listed, findings.map(({ what }) => what)]).toEqual([
        null,
        [`${stray} is in the bucket, but no record lists it`],
      ]);
      expect(file?.footer['millrace.topic']).toBe(topic);
    } finally {
      await sources.store.remove([stray]);
    }
  });

  test('that a candle is not what its trades come to', async () => {
    const windowStart = parseTimestamp(`${day}T12:01:00Z`);
    const { candle, at } = await traceCandle(sources, { venue, symbol, interval: '1m', windowStart }, { trades: 0 });
    const encoder = await AvroEncoder.open<Candle>(sources.schemas, 'market.candles-value', contracts.candle);
    const forged = { ...(candle as Candle), revision: 2, high: ((candle as Candle).high ?? 0n) + 1n };
    await using writer = await sources.log.writer('trace-test');
    await writer.transact({
      records: [
        {
          topic: 'market.candles',
          partition: at?.partition ?? 0,
          key: null,
          value: encoder.encode(forged),
          timestamp: 0n,
        },
      ],
    });
    const found = await traceCandle(sources, { venue, symbol, interval: '1m', windowStart }, { trades: 0 });
    expect(found.input?.different).toEqual([
      expect.stringMatching(/^high is \d+\.00000001, recomputed \d+\.00000000$/),
    ]);
    expect(found.ok).toBe(false);
  });

  test('that Postgres has what was never captured, once the capture has passed it', async () => {
    await db.query('ALTER PUBLICATION millrace DROP TABLE trades');
    await db.query(`UPDATE trades SET price = 1 WHERE trade_id = 't5'`);
    const { findings, ok } = await trace('t5');
    expect(ok).toBe(false);
    expect(findings).toMatchObject([
      {
        kind: 'difference',
        what: expect.stringMatching(
          /^in Postgres price is 1\.00000000, at offset \d+ of the log 105\.00000000; transaction \d+/,
        ),
      },
    ]);
  });
});

test('what the log has deleted is followed from the archive alone, and a candle is recomputed from there; so is the whole history replayed', async () => {
  const { changes } = await trace('t90');
  const [first, second] = changes;
  // Both replays are of the same history: heartbeats would go on closing windows.
  await home.stop('SIGTERM', 'ohlcv', 'parquet', 'manifests');
  const replayed = await home.json<Replayed>('replay', 'ohlcv');
  const admin = new kafkajs.Kafka({ clientId: 'trace-test', brokers: [...config.kafka.brokers] }).admin();
  await admin.connect();
  try {
    const partitions = [{ partition: first?.partition ?? 0, offset: `${second?.offset}` }];
    // The client deletes only of topics that it knows.
    await admin.fetchTopicOffsets(topic);
    await admin.deleteTopicRecords({ topic, partitions });
  } finally {
    await admin.disconnect();
  }
  const after = await trace('t90');
  expect(after.findings).toEqual([]);
  expect(after.changes.map(({ source }) => source)).toEqual(['archive', 'log', 'log']);
  expect(after.changes[0]).toMatchObject({
    lsn: first?.lsn,
    transaction: first?.transaction,
    archive: { state: 'listed', equal: null },
  });
  expect(after.searched.find(({ where }) => where.startsWith('archive'))).toMatchObject({
    from: 0n,
    to: second?.offset,
    found: 1,
  });
  const id = { venue, symbol, interval: '5m', windowStart: parseTimestamp(`${day}T12:10:00Z`) };
  const candle = await traceCandle(sources, id, { trades: 0 });
  expect(candle.input).toMatchObject({ sources: ['archive', 'log'], different: [] });
  expect((await home.cli('replay', 'ohlcv')).errors).toContain('REPLAY_IMPOSSIBLE');
  const cold = await home.json<Replayed>('replay', 'ohlcv', '--from-cold');
  expect([cold.records, cold.beats, cold.topics]).toEqual([replayed.records, replayed.beats, replayed.topics]);
  expect(cold.topics.map(({ topic: output }) => output).sort()).toEqual(['market.candles', 'ohlcv.dead', 'ohlcv.late']);
  expect(cold.archived?.parts).toContainEqual(
    expect.objectContaining({ topic, partition: first?.partition, from: '0' }),
  );
});
