/** What was lost of the archive comes again from Postgres: exactly what is missing, whatever stops it, and what Postgres never says any more, too. */
import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { ConnectClient } from '../../../connectors/client.ts';
import { type Refilled, type RefillOptions, refill } from '../../../connectors/refill/refill.ts';
import { listObjects } from '../../../core/archive/listing/objects.ts';
import { Copies } from '../../../core/archive/reading/copies.ts';
import { AvroEncoder } from '../../../core/avro/encoder.ts';
import { noMasks } from '../../../core/capture/masks.ts';
import { partitionOf } from '../../../core/capture/routing.ts';
import { formatDecimal, PRICE_SCALE } from '../../../core/values/decimal.ts';
import { addRowHashes, formatRowHash } from '../../../core/values/rowhash/rowhash.ts';
import { checkArchive } from '../../../proof/archive/archive.ts';
import type { ArchiveObject } from '../../../schemas/gen/archive_object.ts';
import type { ArchivePartition } from '../../../schemas/gen/archive_partition.ts';
import { schemas as contracts } from '../../../schemas/gen/index.ts';
import type { TradeChange, TradeRow } from '../../../schemas/gen/trade_change.ts';
import { Compactor } from '../../../sinks/compaction/compactor.ts';
import { Harness, trade } from '../../../sinks/parquet/fixtures/harness.ts';
import { type TestDatabase, testDatabase } from '../../support/capture.ts';
import { testConfig } from '../../support/stack.ts';

const topic = 'cdc.public.trades';
const partitions = 2;
const days = ['2013-11-25', '2013-11-26'] as const;
/** Of the other partition. */
const other = ['ETH-USD', 'SOL-USD', 'XRP-USD', 'LTC-USD', 'ADA-USD'].find(
  (symbol) => partitionOf(['bitstamp', symbol], partitions) !== partitionOf(['bitstamp', 'BTC-USD'], partitions),
) as string;
const signal = new AbortController().signal;
const scratchDir = mkdtempSync(join(tmpdir(), 'millrace-refill-test-'));
let database: TestDatabase;
let harness: Harness;
let lsn = 0n;
let position: { lsn: bigint; unfinished: boolean } | undefined;

beforeAll(async () => {
  database = await testDatabase(testConfig());
});
afterAll(async () => {
  await database?.[Symbol.asyncDispose]();
  await rm(scratchDir, { recursive: true, force: true });
});

const at = (day: string, second: number) => `${day}T10:00:00.${String(second).padStart(6, '0')}Z`;
const placeOf = ({ venue, symbol }: { venue: string; symbol: string }) => partitionOf([venue, symbol], partitions);

/** In Postgres alone: it will be captured, or was. */
async function commit(op: string, { after, before }: Pick<TradeChange, 'after' | 'before'>): Promise<void> {
  const { client } = database;
  if (op === 'd') await client.query('DELETE FROM trades WHERE trade_id = $1', [before?.trade_id]);
  if (after === null) return;
  await client.query(
    `INSERT INTO trades VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
     ON CONFLICT (venue, symbol, trade_id) DO UPDATE SET price = excluded.price, executed_at = excluded.executed_at`,
    [
      ...[after.venue, after.symbol, after.trade_id, after.venue_sequence, formatDecimal(after.price, PRICE_SCALE)],
      ...[formatDecimal(after.size, PRICE_SCALE), after.side, after.executed_at, after.conditions],
    ],
  );
}

function changeOf(op: string, row: Partial<TradeRow>): TradeChange {
  lsn += 8n;
  const made = trade({ op, ...row });
  const before = op === 'u' ? made.after : made.before;
  return { ...made, before, source: { ...made.source, lsn, sequence: `["${lsn}","${lsn}"]` } };
}

function capture(change: TradeChange): void {
  harness.send(topic, change, placeOf((change.after ?? change.before) as TradeRow));
}

async function change(op: string, row: Partial<TradeRow>): Promise<void> {
  const made = changeOf(op, row);
  await commit(op, made);
  capture(made);
}

async function archive(): Promise<void> {
  for (let partition = 0; partition < partitions; partition++) await harness.run(topic, { partition });
}

const listed = () => listObjects(harness.log, harness.schemas, topic);

/** They are gone, and nothing can make them again. */
async function lose(wanted: (object: ArchiveObject) => boolean): Promise<readonly ArchiveObject[]> {
  const { log, store } = harness;
  const lost = (await listed()).filter(wanted);
  await store.remove(lost.map(({ key }) => key));
  for (let partition = 0; partition < partitions; partition++) {
    log.trim({ topic, partition }, (await log.ends(topic))[partition] ?? 0n);
  }
  await using compactor = await open();
  await compactor.giveUp(lost);
  return lost;
}

function open(): Promise<Compactor> {
  const { log, schemas, store } = harness;
  return Compactor.open({
    ...{ log, schemas, store, signal, prefix: '', epoch: 'cluster-1', scratchDir },
    ...{ settings: { targetBytes: 1 << 20 }, now: () => 0 },
  });
}

/** @param resting what happens when the connector has come to rest */
function again(resting: () => Promise<void> = async () => undefined): Promise<Refilled> {
  const { log, schemas, store } = harness;
  const key = {
    type: 'record',
    name: 'Key',
    fields: ['venue', 'symbol'].map((name) => ({ name, type: 'string' })),
  };
  const client = {
    status: async () => ({}),
    config: async () => ({}),
    stop: async () => undefined,
    fence: resting,
    position: async () => position,
  } as unknown as ConnectClient;
  return refill({
    ...{ client, definition: { name: 'trades', config: {} }, log, signal, scratchDir, masks: noMasks },
    ...{ postgresUrl: database.url, slot: 'refill_test', prefix: 'cdc' },
    copies: new Copies({ store, dir: join(scratchDir, 'copies') }),
    schemas: {
      register: (subject, schema) => schemas.register(subject, schema),
      byId: (id) => schemas.byId(id),
      // Trades alone are captured.
      latest: async (subject) =>
        subject.startsWith(`${topic}-`)
          ? { subject, id: 1, version: 1, schema: subject.endsWith('-key') ? key : contracts.trade_change }
          : undefined,
    } as RefillOptions['schemas'],
  });
}

async function differences(): Promise<string[]> {
  const { log, schemas, store } = harness;
  const { checks } = await checkArchive({ log, schemas, store, db: database.client }, topic);
  return checks.flatMap(({ examples }) => examples);
}

/** Ten trades of each day, in both partitions, archived; then what `more` does, archived in objects of its own. */
async function tenADay(more: () => Promise<void> = async () => undefined): Promise<ReadonlySet<string>> {
  for (const day of days) {
    for (let i = 0; i < 10; i++) {
      const symbol = i % 2 === 0 ? 'BTC-USD' : other;
      await change('c', { trade_id: `${day}-${i}`, symbol, executed_at: at(day, i), price: BigInt(i) * 7n });
    }
  }
  await archive();
  const before = new Set((await listed()).map(({ key }) => key));
  await more();
  await archive();
  position = { lsn, unfinished: false };
  return before;
}

beforeEach(async () => {
  await database.client.query('DELETE FROM trades');
  harness = await Harness.open({ partitions });
  harness.log.create('archive.replacements', 1);
  harness.log.create('archive.partitions', 1);
});

describe('what was lost', () => {
  test('comes again with the row hash that it had, and nothing else does', async () => {
    await tenADay();
    const [lost] = await lose(({ day, partition }) => day === days[0] && partition === 0);
    expect((await differences()).length).toBeGreaterThan(0);
    const { days: refilled, deleted } = await again();
    expect(deleted).toBe(0);
    const { rows, row_hash: rowHash } = lost as ArchiveObject;
    expect(refilled).toEqual([
      { topic, partition: 0, day: days[0], lost: { rows, rowHash }, again: { rows, rowHash }, same: true },
    ]);
    await archive();
    expect(await differences()).toEqual([]);
    const day = (await listed()).filter((object) => object.day === days[0] && object.partition === 0);
    expect(formatRowHash(day.reduce((sum, each) => addRowHashes(sum, BigInt(`0x${each.row_hash}`)), 0n))).toBe(rowHash);
  });

  test('comes no second time, neither before it is archived nor after it', async () => {
    await tenADay();
    await lose(({ day }) => day === days[0]);
    await again();
    const ends = await harness.log.ends(topic);
    for (const archived of [false, true]) {
      if (archived) await archive();
      const { days: refilled } = await again();
      expect(refilled.map((each) => each.again.rows)).toEqual([0n, 0n]);
      expect(await harness.log.ends(topic)).toEqual(ends);
    }
    expect(await differences()).toEqual([]);
  });

  test('of changes and deletions is how the rows are now: the last value, and no row that Postgres has no more', async () => {
    const before = await tenADay(async () => {
      await change('u', { trade_id: `${days[0]}-0`, symbol: 'BTC-USD', executed_at: at(days[0], 0), price: 5n });
      await change('u', { trade_id: `${days[0]}-0`, symbol: 'BTC-USD', executed_at: at(days[0], 0), price: 9n });
      await change('d', { trade_id: `${days[0]}-2`, symbol: 'BTC-USD', executed_at: at(days[0], 2) });
      await change('c', { trade_id: 'short', symbol: other, executed_at: at(days[1], 77) });
      await change('d', { trade_id: 'short', symbol: other, executed_at: at(days[1], 77) });
      // It is on the other day now, and the archive knows it on the first.
      await change('u', { trade_id: `${days[0]}-4`, symbol: 'BTC-USD', executed_at: at(days[1], 4), price: 3n });
    });
    await lose(({ key }) => !before.has(key));
    const named = (await differences()).join('\n');
    expect(named).toContain(`${days[0]}-0: price is`);
    expect(named).toContain(`${days[0]}-2: archived, but not in Postgres`);
    const { deleted, days: refilled } = await again();
    expect(deleted).toBe(1);
    expect(refilled.reduce((sum, each) => sum + each.again.rows, 0n)).toBe(2n);
    expect(refilled.filter(({ day }) => day === days[0]).map(({ same }) => same)).toEqual([false]);
    await archive();
    expect(await differences()).toEqual([]);
  });

  test('is told of nothing that differs for another reason', async () => {
    await tenADay();
    await lose(({ day, partition }) => day === days[0] && partition === 0);
    const { client } = database;
    await client.query('UPDATE trades SET price = 1 WHERE trade_id = ANY($1)', [[`${days[1]}-0`, `${days[1]}-1`]]);
    await client.query('DELETE FROM trades WHERE trade_id = $1', [`${days[1]}-3`]);
    const { days: refilled, deleted } = await again();
    expect([refilled.length, refilled[0]?.same, deleted]).toEqual([1, true, 0]);
    await archive();
    expect((await differences()).length).toBe(3);
  });

  test('of a day that was given up as a whole does not come again', async () => {
    await tenADay();
    await lose(({ partition }) => partition === 0);
    const { log, schemas } = harness;
    const encoder = await AvroEncoder.open<ArchivePartition>(schemas, 'days', contracts.archive_partition);
    const own = { epoch: 'cluster-1', topic, day: days[0], state: 'COMPLETE', revision: 1, manifest: 1 } as const;
    const keys = { manifest_key: '', manifest_sha256: '', success_key: null, passed: null };
    const counts = { files: 0n, rows: 0n, bytes: 0n, row_hash: '', partitions: [], covers: [] };
    const value = encoder.encode({ ...own, ...keys, ...counts, replacements: 0n, lost_rows: 0n, written: null });
    log.append({ topic: 'archive.partitions', partition: 0, key: Buffer.from(days[0]), value, timestamp: 0n });
    await using compactor = await open();
    expect(await compactor.expire([{ topic, day: days[0] }])).toHaveLength(1);
    const { days: refilled, deleted } = await again();
    expect(refilled).toMatchObject([{ partition: 0, day: days[1], again: { rows: 5n }, same: true }]);
    expect(deleted).toBe(0);
    await archive();
    expect(await differences()).toEqual([]);
  });

  test('beside writers ends as Postgres does: what was committed meanwhile comes first as it is, and then by its own change', async () => {
    const before = await tenADay(async () => {
      for (let i = 0; i < 3; i++)
        await change('c', { trade_id: `new${i}`, symbol: 'BTC-USD', executed_at: at(days[0], 100 + i) });
    });
    await lose(({ key }) => !before.has(key));
    const meanwhile = [
      changeOf('c', { trade_id: 'during', symbol: 'BTC-USD', executed_at: at(days[0], 200) }),
      changeOf('u', { trade_id: 'new0', symbol: 'BTC-USD', executed_at: at(days[0], 100), price: 4n }),
      changeOf('d', { trade_id: 'new1', symbol: 'BTC-USD', executed_at: at(days[0], 101) }),
      changeOf('d', { trade_id: `${days[0]}-0`, symbol: 'BTC-USD', executed_at: at(days[0], 0) }),
      changeOf('u', { trade_id: 'during', symbol: 'BTC-USD', executed_at: at(days[0], 200), price: 6n }),
    ];
    await again(async () => {
      for (const each of meanwhile) await commit(each.op, each);
    });
    const later = changeOf('u', { trade_id: 'new2', symbol: 'BTC-USD', executed_at: at(days[0], 102), price: 8n });
    await commit('u', later);
    for (const each of [...meanwhile, later]) capture(each);
    await archive();
    expect(await differences()).toEqual([]);
  });
});

describe('reading again that is stopped', () => {
  test.each(['before', 'after'] as const)(
    '%s it has written leaves nothing that the next one does not mend',
    async (kind) => {
      await tenADay();
      await lose(({ day }) => day === days[0]);
      const { log } = harness;
      const writer = log.writer.bind(log);
      let killed = false;
      log.writer = async (id) => {
        const own = await writer(id);
        const transact: typeof own.transact = async (transaction) => {
          if (kind === 'before') throw new Error('killed');
          await own.transact(transaction);
          throw new Error('killed');
        };
        killed = true;
        return { transact, [Symbol.asyncDispose]: () => own[Symbol.asyncDispose]() };
      };
      await expect(again()).rejects.toThrow('killed');
      expect(killed).toBe(true);
      log.writer = writer;
      const { days: refilled } = await again();
      expect(new Set(refilled.map((each) => each.again.rows > 0n))).toEqual(new Set([kind === 'before']));
      await archive();
      expect(await differences()).toEqual([]);
      expect((await listed()).reduce((sum, { rows }) => sum + rows, 0n)).toBe(20n);
    },
  );

  test('is not begun without a position, nor beside a first snapshot that is not finished', async () => {
    await tenADay();
    await lose(({ day }) => day === days[0]);
    const ends = await harness.log.ends(topic);
    for (const at of [undefined, { lsn: 1n, unfinished: true }]) {
      position = at;
      await expect(again()).rejects.toMatchObject({ code: 'POSITION_LOST' });
    }
    expect(await harness.log.ends(topic)).toEqual(ends);
  });
});
