/** A checker is worth what it catches: every difference that is planted here has to be found and named. */
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { planOf } from '../../../core/archive/keys.ts';
import { listObjects } from '../../../core/archive/listing/objects.ts';
import { columnsWithLineage, lineageValues, tables } from '../../../core/archive/rows/tables.ts';
import { ParquetFile } from '../../../core/archive/writing/writer.ts';
import { AvroDecoder } from '../../../core/avro/decoder.ts';
import { AvroEncoder } from '../../../core/avro/encoder.ts';
import { groupOf } from '../../../core/runtime/runner.ts';
import { formatDecimal, PRICE_SCALE } from '../../../core/values/decimal.ts';
import { addRowHashes, type ColumnValue, formatRowHash } from '../../../core/values/rowhash/rowhash.ts';
import { checkArchive } from '../../../proof/archive/archive.ts';
import type { Check } from '../../../proof/report/report.ts';
import { differing, type TallyLine } from '../../../proof/report/tally.ts';
import type { ArchiveObject } from '../../../schemas/gen/archive_object.ts';
import type { ArchivePartition } from '../../../schemas/gen/archive_partition.ts';
import { schemas as contracts } from '../../../schemas/gen/index.ts';
import type { TradeChange, TradeRow } from '../../../schemas/gen/trade_change.ts';
import { objectsTopic } from '../../../schemas/topics.ts';
import { Compactor } from '../../../sinks/compaction/compactor.ts';
import { Harness, trade } from '../../../sinks/parquet/fixtures/harness.ts';
import { type TestDatabase, testDatabase } from '../../support/capture.ts';
import { testConfig } from '../../support/stack.ts';

const topic = 'cdc.public.trades';
let database: TestDatabase;
let harness: Harness;
let lsn = 0n;

beforeAll(async () => {
  database = await testDatabase(testConfig());
});
afterAll(async () => {
  await database?.[Symbol.asyncDispose]();
});

/** As capture does it: the change in the log, and what it does in Postgres. */
async function change(op: string, over: Partial<TradeRow> & { before?: Partial<TradeRow> }): Promise<TradeChange> {
  const { before, ...row } = over;
  const { source, ...made } = trade({ op, ...row });
  lsn += 1n;
  const old = trade({ ...row, ...before }).after;
  const value = { ...made, before: op === 'u' ? old : made.before, source: { ...source, lsn } };
  harness.send(topic, value);
  const { after } = value;
  const { client } = database;
  if (op === 'd') await client.query('DELETE FROM trades WHERE trade_id = $1', [row.trade_id]);
  if (after !== null) {
    await client.query(
      `INSERT INTO trades VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
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
        after.conditions,
      ],
    );
  }
  return value;
}

beforeEach(async () => {
  await database.client.query('DELETE FROM trades');
  harness = await Harness.open({ settings: { flushSize: 20 } });
  for (let i = 0; i < 50; i++) {
    const executed_at = `2013-11-2${5 + (i % 3)}T10:00:00.0000${String(i).padStart(2, '0')}Z`;
    await change('c', {
      trade_id: `t${i}`,
      executed_at,
      price: BigInt(i) * 12_345_678n - 7n,
      conditions: i % 7 === 0 ? `"q,\n'` : null,
    });
  }
  harness.send(topic, Buffer.from('poison'));
  await harness.run(topic);
});

async function check(day?: string): Promise<Check[]> {
  const { log, schemas, store } = harness;
  return (await checkArchive({ log, schemas, store, db: database.client }, topic, day)).checks;
}

async function found(): Promise<string[]> {
  return (await check()).flatMap(({ examples }) => examples);
}

/** By the places that are compared. */
async function tallies(day?: string): Promise<Map<string, readonly TallyLine[]>> {
  return new Map(
    (await check(day)).flatMap(({ tallies: found }) =>
      found === undefined ? [] : [[Object.keys(found.lines[0]?.places ?? {}).join(), found.lines] as const],
    ),
  );
}

/** Of the first of the places, on each line. */
const rowsOf = (lines: readonly TallyLine[] = []) =>
  lines.map(({ day, partition, places }) => [day, partition, Object.values(places)[0]?.rows]);

/** The days on which the places do not agree. */
const daysOf = (lines: readonly TallyLine[] = []) =>
  differing({ table: topic, columns: 'data', lines }).map(({ day }) => day);

async function list(object: ArchiveObject): Promise<void> {
  const encoder = await AvroEncoder.open<ArchiveObject>(harness.schemas, 'objects', contracts.archive_object);
  harness.log.append({
    topic: objectsTopic(topic),
    partition: 0,
    key: null,
    value: encoder.encode(object),
    timestamp: 0n,
  });
}

/** Writes an object anew with some rows changed, as a hand on the bucket would. */
async function rewrite(object: ArchiveObject, edit: (row: ColumnValue[]) => ColumnValue[]): Promise<Buffer> {
  const table = tables[topic];
  const file = new ParquetFile(columnsWithLineage(table));
  for (const record of harness.log.records(topic, 0)) {
    const { offset, value } = record;
    if (offset < object.first_offset || offset > object.last_offset || value === null || value[0] !== 0) continue;
    const decoder = new AvroDecoder<TradeChange>(harness.schemas, contracts.trade_change);
    await decoder.prepare(decoder.missing([value]));
    const decoded = decoder.decode(value);
    const row = table.columns.map((column) => column.read(decoded.after ?? {}));
    if (!decoded.after?.executed_at.startsWith(object.day)) continue;
    file.add(edit([...row, ...lineageValues(table, { topic, partition: 0 }, record, decoded)]));
  }
  return file.finish({});
}

async function objects(): Promise<[ArchiveObject, ArchiveObject, ...ArchiveObject[]]> {
  return (await harness.listed(topic)) as [ArchiveObject, ArchiveObject];
}

/** Compacts or gives up days, as the command does when they are complete. */
async function compactor(...days: readonly string[]): Promise<Compactor> {
  const { log, schemas, store } = harness;
  log.create('archive.replacements', 1);
  log.create('archive.partitions', 1);
  const encoder = await AvroEncoder.open<ArchivePartition>(schemas, 'days', contracts.archive_partition);
  for (const day of days) {
    const own = { epoch: 'cluster-1', topic, day, state: 'COMPLETE', revision: 1, manifest: 1 } as const;
    const keys = { manifest_key: '', manifest_sha256: '', success_key: null, passed: null };
    const counts = {
      files: 0n,
      rows: 0n,
      bytes: 0n,
      row_hash: '',
      partitions: [],
      covers: [],
      replacements: 0n,
      lost_rows: 0n,
      written: null,
    };
    const value = encoder.encode({ ...own, ...keys, ...counts });
    log.append({
      topic: 'archive.partitions',
      partition: 0,
      key: Buffer.from(`${topic}/${day}`),
      value,
      timestamp: 0n,
    });
  }
  return Compactor.open({
    ...{ log, schemas, store, signal: new AbortController().signal, prefix: '', epoch: 'cluster-1' },
    ...{ settings: { targetBytes: 1 << 20 }, scratchDir: join(tmpdir(), 'millrace-proof'), now: () => 0 },
  });
}

describe('the proof of the archive', () => {
  test('finds nothing where nothing is wrong', async () => {
    expect(await found()).toEqual([]);
    expect((await check()).map(({ subject }) => subject)).toContain('50 of 50 trades');
  });

  test('counts rows and adds up row hashes by day and partition, equal in every place', async () => {
    await change('u', { trade_id: 't1', price: 99n, executed_at: '2013-11-26T10:00:00.000001Z' });
    await change('d', { trade_id: 't2', executed_at: '2013-11-27T10:00:00.000002Z' });
    await harness.run(topic);
    const found = await tallies();
    const days = ['2013-11-25', '2013-11-26', '2013-11-27'];
    const rows = (...counts: number[]) => counts.map((count, i) => [days[i], 0, count]);
    expect([...found].map(([places, lines]) => [places, rowsOf(lines)])).toEqual([
      ['kafka,archive', rows(17, 18, 17)],
      ['objects,archive', rows(17, 18, 17)],
      ['postgres,archive', rows(17, 17, 15)],
    ]);
    for (const lines of found.values()) expect(daysOf(lines)).toEqual([]);
    const listed = await objects();
    const sum = listed
      .filter(({ day }) => day === days[1])
      .reduce((hash, { row_hash }) => addRowHashes(hash, BigInt(`0x${row_hash}`)), 0n);
    expect(found.get('objects,archive')?.[1]?.places.archive?.rowHash).toBe(formatRowHash(sum));
    const alone = await tallies(days[1]);
    for (const [places, lines] of found) expect(alone.get(places)).toEqual([lines[1]]);
  });

  test('a row that differs shows on its day, between the places that differ', async () => {
    await database.client.query(`UPDATE trades SET price = price + 0.00000001 WHERE trade_id = 't7'`);
    const planted = await tallies();
    expect(daysOf(planted.get('postgres,archive'))).toEqual(['2013-11-26']);
    expect(daysOf(planted.get('kafka,archive'))).toEqual([]);
    const [object] = (await objects()).filter(({ day }) => day === '2013-11-25');
    await harness.store.remove([object?.key ?? '']);
    const removed = await tallies();
    expect(daysOf(removed.get('objects,archive'))).toEqual(['2013-11-25']);
    expect(daysOf(removed.get('kafka,archive'))).toEqual(['2013-11-25']);
    expect(daysOf(removed.get('postgres,archive'))).toEqual(['2013-11-25', '2013-11-26']);
  });

  test('follows updates, deletes, rows that came back, and changes captured twice', async () => {
    await change('u', { trade_id: 't1', price: 99n, before: { price: 12_345_671n } });
    await change('d', { trade_id: 't2' });
    await change('d', { trade_id: 't3' });
    await change('c', { trade_id: 't3', price: 3n });
    const again = await change('c', { trade_id: 'twice' });
    harness.send(topic, again);
    await harness.run(topic);
    expect(await found()).toEqual([]);
    expect((await check()).map(({ subject }) => subject)).toContain('50 of 50 trades, 1 changes captured twice');
  });

  test('takes the files of a compaction for what they are, beside those that they replaced, and names one that is gone', async () => {
    await using own = await compactor('2013-11-25', '2013-11-26');
    const { done } = await own.compact([topic], () => true);
    expect(done).toHaveLength(2);
    expect(await found()).toEqual([]);
    expect((await check()).map(({ subject }) => subject)).toContain('50 of 50 trades');
    const listed = await listObjects(harness.log, harness.schemas, topic);
    const compacted = listed.find(({ key }) => planOf(key) !== undefined) as ArchiveObject;
    await harness.store.remove([compacted.key]);
    expect(await found()).toContain(`${compacted.key} is listed but not in the bucket`);
  });

  test('does not expect the rows that were given up with their day, and does expect those that came later', async () => {
    await using own = await compactor('2013-11-25');
    expect(await own.expire([{ topic, day: '2013-11-25' }])).toHaveLength(1);
    expect(await found()).toEqual([]);
    expect((await check()).map(({ subject }) => subject)).toContain('33 of 33 trades');
    await change('c', { trade_id: 'late', executed_at: '2013-11-25T11:00:00.000000Z' });
    await change('d', { trade_id: 't0', executed_at: '2013-11-25T10:00:00.000000Z' });
    await harness.run(topic);
    expect(await found()).toEqual([]);
    const [late] = (await listObjects(harness.log, harness.schemas, topic)).filter(({ day }) => day === '2013-11-25');
    await harness.store.remove([late?.key ?? '']);
    expect(await found()).toContain(`${late?.key} is listed but not in the bucket`);
    expect((await found()).join()).toContain('archived 0 times');
  });

  test('tells what is lost and given up, is not fooled by what the log has of it still, and names what Postgres has of it', async () => {
    const [object] = await objects();
    await harness.store.remove([object.key]);
    harness.log.trim({ topic, partition: 0 }, object.first_offset + 3n);
    const gone = (await found()).length;
    expect(gone).toBeGreaterThan(1);
    await using own = await compactor();
    await own.giveUp([object]);
    const checks = await check();
    const { first_offset: first, last_offset: last, key, partition, day, rows, row_hash: rowHash } = object;
    expect(checks[0]).toMatchObject({
      subject: expect.stringMatching(`objects, 1 more are lost with ${rows} rows$`),
      differences: 0,
      lost: [{ key, partition, day, offsets: { first, last }, rows, rowHash }],
    });
    expect(checks.find(({ name }) => name.includes('each record is archived once'))).toMatchObject({
      subject: expect.stringContaining(`, ${rows - 1n} lost that the log has still`),
      differences: 0,
    });
    const trades = checks.find(({ name }) => name.includes('each row of Postgres'));
    expect([trades?.differences, trades?.examples[0]]).toEqual([
      Number(rows),
      expect.stringContaining('in Postgres, not in the archive'),
    ]);
    expect((await check('2013-11-26'))[0]).toMatchObject({ lost: [] });
    // A row that is archived is compared with the log, also between the offsets of what is lost.
    const [, second] = await objects();
    expect(second.from_offset).toBe(object.from_offset);
    harness.memory.objects.set(second.key, {
      bytes: await rewrite(second, (row) => row.map((value, i) => (i === 4 ? 1n : value))),
      metadata: {},
    });
    expect((await found()).join()).toContain('price is 0.00000001, in the log');
  });

  test('after a loss judges only what nothing was lost of: a change or a deletion without the creation is no difference', async () => {
    await change('u', { trade_id: 't6', price: 5n, executed_at: '2013-11-25T10:00:00.000006Z' });
    await change('d', { trade_id: 't3', executed_at: '2013-11-25T10:00:00.000003Z' });
    await harness.run(topic);
    expect(await found()).toEqual([]);
    const [object] = await objects();
    expect([object.day, object.first_offset]).toEqual(['2013-11-25', 0n]);
    await using own = await compactor();
    await own.giveUp([object]);
    const checks = await check();
    const names = (checks.find(({ name }) => name.includes('each row of Postgres')) as Check).examples;
    expect(names.filter((each) => !each.includes('in Postgres, not in the archive'))).toEqual([]);
    expect(names.some((each) => / t[36]:/.test(each))).toBe(false);
  });

  test('names an object that is gone, and each offset that went with it', async () => {
    const [object] = await objects();
    await harness.store.remove([object.key]);
    const differences = await found();
    expect(differences).toContain(`${object.key} is listed but not in the bucket`);
    expect(differences).toContain(`${topic}/0 offset ${object.first_offset}: archived 0 times`);
  });

  test('names a trade whose price differs in the eighth decimal in Postgres', async () => {
    await database.client.query(`UPDATE trades SET price = price + 0.00000001 WHERE trade_id = 't7'`);
    expect(await found()).toEqual(['bitstamp BTC-USD t7: price is 0.86419739, in Postgres 0.86419740']);
  });

  test('names the offset and the column of a value that was changed in an object', async () => {
    const [object] = await objects();
    const bytes = await rewrite(object, (row) => {
      if (row[2] === 't3') row[4] = (row[4] as bigint) + 1n;
      return row;
    });
    harness.memory.objects.set(object.key, { bytes, metadata: {} });
    const differences = await found();
    const day = [object.day];
    expect([...(await tallies()).values()].map(daysOf)).toEqual([day, day, day]);
    expect(differences[0]).toMatch(/has SHA-256 [0-9a-f]{64}, its record says/);
    expect(differences).toContain(`${topic}/0 offset 3: price is 0.37037028, in the log 0.37037027`);
    expect(differences).toContain('bitstamp BTC-USD t3: price is 0.37037028, in Postgres 0.37037027');
    expect(differences.filter((each) => each.includes('row hash'))).toHaveLength(1);
  });

  test('of one day names what is wrong on it, also with a row that came from another day', async () => {
    await change('u', {
      trade_id: 't6',
      executed_at: '2013-11-26T01:00:00Z',
      before: { executed_at: '2013-11-25T10:00:00.000006Z' },
    });
    await harness.run(topic);
    await database.client.query(`UPDATE trades SET price = price + 1 WHERE trade_id = 't3'`);
    const [gone] = (await objects()).filter(({ day }) => day === '2013-11-27');
    await harness.store.remove([gone?.key ?? '']);
    const of = async (day: string) => (await check(day)).flatMap(({ examples }) => examples);
    const missing = `${gone?.key} is listed but not in the bucket`;
    expect(await of('2013-11-25')).toEqual([
      missing,
      'bitstamp BTC-USD t3: price is 0.37037027, in Postgres 1.37037027',
    ]);
    expect(await of('2013-11-26')).toEqual([missing]);
    expect((await of('2013-11-27')).filter((each) => each.endsWith('archived 0 times'))).not.toEqual([]);
    expect((await check('2013-11-26')).map(({ subject }) => subject)).toContain('18 of 18 trades');
  });

  test('names an object that is no Parquet file any more', async () => {
    const [object] = await objects();
    harness.memory.objects.set(object.key, { bytes: Buffer.from('PAR1 not'), metadata: {} });
    expect((await found()).some((each) => each.startsWith(`${object.key} cannot be read`))).toBe(true);
  });

  test('names a doubled row', async () => {
    const [object] = await objects();
    const key = object.key.replace('.parquet', '-copy.parquet');
    const stored = await harness.store.get(object.key);
    if (stored !== undefined) harness.memory.objects.set(key, stored);
    await list({ ...object, key });
    const differences = await found();
    expect(differences).toContain(`${topic}/0 offset ${object.first_offset}: archived 2 times`);
  });

  test('names an object that nobody lists', async () => {
    const [object] = await objects();
    const key = `${object.key.slice(0, object.key.lastIndexOf('/'))}/stray.parquet`;
    harness.memory.objects.set(key, { bytes: Buffer.from('x'), metadata: {} });
    expect(await found()).toEqual([`${key} is in the bucket, but no record lists it`]);
  });

  test('names a row that is missing in Postgres, and one that is missing in the archive', async () => {
    await database.client.query(`DELETE FROM trades WHERE trade_id = 't8'`);
    await database.client.query(
      `INSERT INTO trades VALUES ('bitstamp', 'BTC-USD', 'unseen', NULL, 1, 1, 'buy', '2013-11-25T00:00:00Z', NULL)`,
    );
    expect(await found()).toEqual([
      'bitstamp BTC-USD t8: archived, but not in Postgres',
      'bitstamp BTC-USD unseen: in Postgres, not in the archive',
    ]);
  });

  test('names records that a sink skipped', async () => {
    await change('c', { trade_id: 'skipped' });
    const [end = 0n] = await harness.log.ends(topic);
    const writer = await harness.log.writer('elsewhere');
    const positions = [{ topic, partition: 0, offset: end }];
    await writer.transact({ records: [], offsets: { group: groupOf('parquet'), positions } });
    const differences = await found();
    expect(differences).toContain(`${topic}/0 offset ${end - 1n}: archived 0 times`);
    expect(differences).toContain('bitstamp BTC-USD skipped: in Postgres, not in the archive');
  });

  test('names an object whose record counts other rows', async () => {
    const [object, second] = await objects();
    harness.log.append({ topic: objectsTopic(topic), partition: 0, key: null, value: null, timestamp: 0n });
    await list({ ...second, key: object.key, sha256: object.sha256, rows: 1n });
    const differences = await found();
    expect(differences).toContain(`${object.key} is listed twice`);
    expect(differences).toContain(`${object.key} has rows ${object.rows}, its record says 1`);
  });
});
