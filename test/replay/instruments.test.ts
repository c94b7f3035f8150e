/** Instruments in the archive: a captured table without event times, on a compacted topic. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import type { Client } from 'pg';
import { type ListedObject, listObjects } from '../../core/archive/listing/objects.ts';
import { ArchiveQuery } from '../../core/archive/reading/query.ts';
import { tables } from '../../core/archive/rows/tables.ts';
import { RowHash } from '../../core/values/rowhash/rowhash.ts';
import { checkArchive } from '../../proof/archive/archive.ts';
import type { InstrumentRow } from '../../schemas/gen/instrument_change.ts';
import { CompactionHarness } from '../../sinks/compaction/fixtures/harness.ts';
import { Harness, instrument } from '../../sinks/parquet/fixtures/harness.ts';
import { LogRebuild } from '../../sinks/parquet/repair/rebuild.ts';
import { writeArchive } from '../readers/archive.ts';

const topic = 'cdc.public.instruments';
const history = [
  instrument({ lsn: 1n }),
  instrument({ lsn: 2n, op: 'u', tick_size: 2_000_000n }),
  instrument({ lsn: 3n, op: 'u', lot_size: 200n }),
  instrument({ lsn: 4n, op: 'u', active: false }),
];

async function archived(...changes: readonly ReturnType<typeof instrument>[]): Promise<Harness> {
  const harness = await Harness.open({ settings: { changeLogTopics: [topic] } });
  harness.log.create('archive.replacements', 1);
  for (const change of changes) harness.send(topic, change);
  await harness.run(topic);
  return harness;
}

/** The answers of a Postgres that holds these rows. */
function holding(...rows: readonly InstrumentRow[]): Client {
  const sums = rows.map((row) => {
    const hash = new RowHash();
    const { columns } = tables[topic];
    hash.add(
      columns,
      columns.map((column) => column.read(row)),
    );
    return { day: '', venue: row.venue, symbol: row.symbol, rows: '1', hash: String(hash.value) };
  });
  return { query: async () => ({ rows: sums }) } as unknown as Client;
}

async function checked(harness: Pick<Harness, 'log' | 'schemas' | 'store'>, db: Client, day?: string) {
  const { checks } = await checkArchive(
    { log: harness.log, schemas: harness.schemas, store: harness.store, db },
    topic,
    day,
  );
  return checks.map(({ name, subject, differences, examples }) => ({
    name: name.slice(topic.length + 2),
    subject,
    differences,
    examples,
  }));
}

const newest = history.at(-1)?.after as InstrumentRow;

test('five changes of an instrument are five rows, in order, with operation, LSN and the row before, on the day of the commit', async () => {
  const harness = await archived(...history, instrument({ lsn: 5n, op: 'd' }));
  const dir = await mkdtemp(join(tmpdir(), 'millrace-test-'));
  try {
    const objects = new Map([[topic, await harness.listed(topic)]] as const);
    const files = await writeArchive({ store: harness.memory, objects }, dir);
    await using query = await ArchiveQuery.open({ files, scratchDir: dir });
    const { cells } = await query.run(
      `SELECT _op, _lsn, tick_size, lot_size, active, before_tick_size, before_active, concat(year, month, day)
         FROM instruments WHERE venue = 'bitstamp' ORDER BY _lsn`,
    );
    const rows: unknown[] = [];
    for await (const portion of cells()) rows.push(...portion);
    expect(rows).toEqual([
      ['c', '1', '0.01000000', '0.00000100', 'true', null, null, '20231114'],
      ['u', '2', '0.02000000', '0.00000100', 'true', '0.01000000', 'true', '20231114'],
      ['u', '3', '0.01000000', '0.00000200', 'true', '0.01000000', 'true', '20231114'],
      ['u', '4', '0.01000000', '0.00000100', 'false', '0.01000000', 'true', '20231114'],
      ['d', '5', '0.01000000', '0.00000100', 'true', '0.01000000', 'true', '20231114'],
    ]);
    const now = await query.run('SELECT * FROM instruments_now');
    for await (const portion of now.cells()) expect(portion).toEqual([]);
  } finally {
    await rm(dir, { recursive: true });
  }
});

describe('verify', () => {
  test('compares the archive with the log and with Postgres', async () => {
    const harness = await archived(...history);
    const checks = await checked(harness, holding(newest));
    expect(checks.map(({ name, differences }) => [name, differences])).toEqual([
      ['objects are what their records say', 0],
      ['each record is archived once, with equal values', 0],
      ['rows, ranges and hashes by DuckDB', 0],
      ['the archive holds each row of Postgres once, with equal values', 0],
    ]);
    expect(checks.at(-1)?.subject).toBe('1 of 1 instruments');
  });

  test('of one day compares the log only: a row of Postgres has no day', async () => {
    const checks = await checked(await archived(...history), holding(), '2023-11-14');
    expect(checks.map(({ differences }) => differences)).toEqual([0, 0, 0]);
  });

  test('takes what compaction removed for no difference, also what was created before the archive began', async () => {
    const harness = await archived(...history);
    for (const offset of [0n, 1n, 2n]) harness.log.remove({ topic, partition: 0, offset });
    const checks = await checked(harness, holding(newest));
    expect(checks.flatMap(({ examples }) => examples)).toEqual([]);
    expect(checks[1]?.subject).toBe('1 records, 3 archived ones that compaction removed from the log');
    const later = await archived(...history.slice(2));
    expect((await checked(later, holding(newest))).flatMap(({ examples }) => examples)).toEqual([]);
  });

  test('tells a record that is missing from the log before compaction could have removed it', async () => {
    const harness = await archived();
    const timestamp = BigInt(Date.now());
    for (const change of history) harness.send(topic, change, 0, timestamp);
    await harness.run(topic);
    harness.log.remove({ topic, partition: 0, offset: 1n });
    const checks = await checked(harness, holding(newest));
    expect(checks.flatMap(({ examples }) => examples)).toEqual([
      `${topic}/0 offset 1: archived, but not a committed record of the log`,
    ]);
  });

  test('tells a record of the log that the archive lacks', async () => {
    const harness = await archived(...history);
    const [object] = await harness.listed(topic);
    await harness.store.remove([object?.key ?? '']);
    const [present, logged] = await checked(harness, holding());
    expect([present?.differences, logged?.differences]).toEqual([1, 4]);
  });
});

test('files are compacted into one with the same rows; once the day has expired Postgres is not compared', async () => {
  await using harness = await CompactionHarness.open();
  const { archive } = harness.manifests;
  for (const change of history) {
    archive.send(topic, { ...change, source: { ...change.source, ts_us: 1_385_337_600_000_000n } });
    await archive.run(topic);
  }
  await harness.settle();
  const { done, failed } = await harness.compact();
  expect([done.length, failed]).toEqual([1, []]);
  const compacted = await checked(archive, holding(newest));
  expect(compacted.flatMap(({ examples }) => examples)).toEqual([]);
  expect(compacted.map(({ subject }) => subject)).toEqual([
    '1 objects',
    '4 records',
    '1 objects',
    '1 of 1 instruments',
  ]);
  await harness.expire('2014-01-01');
  const expired = await checked(archive, holding(newest));
  expect(expired.map(({ subject, differences }) => [subject, differences])).toEqual([
    ['0 objects', 0],
    ['0 records, 4 given up with their days', 0],
    ['0 objects', 0],
  ]);
});

test('a file is made again from the log, unless compaction removed one of its records', async () => {
  const harness = await archived(...history);
  const { log, schemas } = harness;
  const [object] = await listObjects(log, schemas, topic);
  const rebuild = () => {
    const signal = new AbortController().signal;
    return new LogRebuild({ log, schemas, store: harness.store, signal }).bytesOf(object as ListedObject);
  };
  const stored = harness.memory.objects.get(object?.key ?? '')?.bytes;
  expect((await rebuild()).equals(stored as Buffer)).toBe(true);
  log.remove({ topic, partition: 0, offset: 1n });
  await expect(rebuild()).rejects.toMatchObject({
    code: 'REPAIR_IMPOSSIBLE',
    message: expect.stringContaining('is compacted, and the log has not all rows'),
  });
});
