import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { lineageColumns, tables } from '../../core/archive/tables.ts';
import { duckdbHash } from '../../core/rowhash.ts';
import type { Anomaly } from '../../schemas/gen/anomaly.ts';
import type { Candle } from '../../schemas/gen/candle.ts';
import type { ArchivedTopic } from '../../schemas/topics.ts';
import { Harness, trade } from './fixtures/harness.ts';
import { ParquetFile } from './writer.ts';

let db: DuckDBConnection;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'millrace-readback-'));
  db = await (await DuckDBInstance.create(':memory:')).connect();
});
afterAll(async () => {
  db.closeSync();
  await rm(folder, { recursive: true });
});

async function select(sql: string): Promise<Record<string, unknown>[]> {
  const rows = (await db.runAndReadAll(sql)).getRowObjectsJson();
  return rows as Record<string, unknown>[];
}

/** Archives what was sent and gives the only object as a file. */
async function archived(
  harness: Harness,
  topic: ArchivedTopic,
): Promise<{ path: string; rowHash: string; sha256: string }> {
  await harness.run(topic);
  const [object, ...others] = await harness.listed(topic);
  if (object === undefined || others.length > 0) throw new Error('the test expects one object');
  const path = join(folder, `${object.sha256}.parquet`);
  await writeFile(path, (await harness.store.get(object.key))?.bytes ?? Buffer.alloc(0));
  return { path, rowHash: object.row_hash, sha256: object.sha256 };
}

const candle: Candle = {
  venue: 'bitstamp',
  symbol: 'BTC/USD',
  interval: '1m',
  window_start: 1_385_337_600_000_000n,
  window_end: 1_385_337_660_000_000n,
  open: 80_517_000_000n,
  high: 99_999_999_999_999_999_999n,
  low: -99_999_999_999_999_999_999n,
  close: -1n,
  vwap: 1n,
  volume: 10n ** 37n,
  notional: -(10n ** 37n) - 1n,
  trade_count: 9_223_372_036_854_775_807n,
  first_trade_id: 'é🎉\u001f',
  last_trade_id: '',
  open_time: -1n,
  high_time: 1_385_337_600_000_001n,
  low_time: null,
  close_time: 253_402_300_799_999_999n,
  status: 'CLOSED',
  revision: 2_147_483_647,
  reason: 'WATERMARK',
  provenance: { processor_version: '1', from_offset: 9_007_199_254_740_993n, to_offset: 1n, from_lsn: -5n, to_lsn: 0n },
};

const anomaly: Anomaly = {
  venue: 'bitstamp',
  symbol: 'BTC/USD',
  interval: '5m',
  window_start: 1_385_337_600_000_000n,
  type: 'volume_spike',
  severity: 'HIGH',
  status: 'RAISED',
  revision: 1,
  volume: 3n,
  mean_volume: 2n,
  volume_ratio: 150_000_000n,
  open: 1n,
  close: 2n,
  price_change: -50_000_000n,
  thresholds: { volume_multiple: 300_000_000n, price_change: 5_000_000n, lookback: 20, direction: 'BOTH' },
  candle: { venue: 'bitstamp', symbol: 'BTC/USD', interval: '5m', window_start: 1_385_337_600_000_000n },
  baseline: [1_385_337_000_000_000n, 1_385_337_300_000_000n],
};

describe('an object read by DuckDB', () => {
  test('has the exact values of trades, with their lineage', async () => {
    const harness = await Harness.open();
    harness.send(
      'cdc.public.trades',
      trade({ trade_id: 'a', price: -1n, size: 99_999_999_999_999_999_999n, venue_sequence: 9_007_199_254_740_993n }),
    );
    harness.send(
      'cdc.public.trades',
      trade({ trade_id: 'b', op: 'd', executed_at: '2013-11-25T01:00:00.000001+01:00', conditions: 'x' }),
    );
    const { path } = await archived(harness, 'cdc.public.trades');
    expect(
      await select(
        `SELECT * EXCLUDE (executed_at, _source_time), epoch_us(executed_at) AS executed_us, epoch_us(_source_time) AS source_us FROM '${path}'`,
      ),
    ).toEqual([
      {
        venue: 'bitstamp',
        symbol: 'BTC-USD',
        trade_id: 'a',
        venue_sequence: '9007199254740993',
        price: '-0.00000001',
        size: '999999999999.99999999',
        side: 'buy',
        conditions: null,
        _topic: 'cdc.public.trades',
        _partition: 0,
        _offset: '0',
        _lsn: '4611686018427387905',
        _op: 'c',
        _tx_id: '7',
        executed_us: '1385423999123456',
        source_us: '1700000000000001',
      },
      expect.objectContaining({
        trade_id: 'b',
        _op: 'd',
        _offset: '1',
        conditions: 'x',
        executed_us: '1385337600000001',
      }),
    ]);
    expect(
      await select(
        `SELECT column_name, column_type FROM (DESCRIBE SELECT price, executed_at, venue_sequence, _partition FROM '${path}')`,
      ),
    ).toEqual([
      { column_name: 'price', column_type: 'DECIMAL(20,8)' },
      { column_name: 'executed_at', column_type: 'TIMESTAMP WITH TIME ZONE' },
      { column_name: 'venue_sequence', column_type: 'BIGINT' },
      { column_name: '_partition', column_type: 'INTEGER' },
    ]);
  });

  test('has the exact values of candles at the ends of their ranges, provenance flattened', async () => {
    const harness = await Harness.open();
    harness.send('market.candles', candle);
    harness.send('market.candles', {
      ...candle,
      open: null,
      high: null,
      low: null,
      close: null,
      vwap: null,
      provenance: null,
    });
    const { path } = await archived(harness, 'market.candles');
    const [first, second] = await select(
      `SELECT *, epoch_us(open_time) AS open_us, epoch_us(close_time) AS close_us FROM '${path}' ORDER BY _offset`,
    );
    expect(first).toMatchObject({
      high: '999999999999.99999999',
      low: '-999999999999.99999999',
      close: '-0.00000001',
      volume: '100000000000000000000000000000.00000000',
      notional: '-1000000000000000000000.0000000000000001',
      trade_count: '9223372036854775807',
      first_trade_id: 'é🎉\u001f',
      last_trade_id: '',
      low_time: null,
      open_us: '-1',
      close_us: '253402300799999999',
      revision: 2_147_483_647,
      provenance_from_offset: '9007199254740993',
      provenance_from_lsn: '-5',
      _op: null,
      _lsn: '0',
    });
    expect(second).toMatchObject({
      open: null,
      vwap: null,
      provenance_processor_version: null,
      _lsn: null,
      _offset: '1',
    });
  });

  test('has an anomaly with the rule, the candle and the baseline it was compared with', async () => {
    const harness = await Harness.open();
    harness.send('market.anomalies', anomaly);
    const { path } = await archived(harness, 'market.anomalies');
    const [row] = await select(`SELECT *, epoch_us(candle_window_start) AS candle_us FROM '${path}'`);
    expect(row).toMatchObject({
      severity: 'HIGH',
      price_change: '-0.50000000',
      thresholds_volume_multiple: '3.00000000',
      thresholds_lookback: 20,
      candle_symbol: 'BTC/USD',
      candle_us: '1385337600000000',
      baseline: '[1385337000000000,1385337300000000]',
    });
  });

  test('has the row hash that its record says', async () => {
    const harness = await Harness.open();
    harness.send('market.candles', candle);
    harness.send('market.candles', { ...candle, open: null, last_trade_id: null, provenance: null });
    const { path, rowHash } = await archived(harness, 'market.candles');
    const [row] = await select(`SELECT ${duckdbHash.sum(tables['market.candles'].columns)} AS hash FROM '${path}'`);
    expect(
      BigInt(row?.['hash'] as string)
        .toString(16)
        .padStart(16, '0'),
    ).toBe(rowHash);
  });
});

describe('statistics', () => {
  test('hold the least and the greatest value of each row group, also of negative decimals and of nulls', async () => {
    const harness = await Harness.open();
    const prices = [-5n, 3n, -99_999_999_999_999_999_999n, 0n, 12_345_678_901_234_567_890n];
    for (const [i, price] of prices.entries()) {
      harness.send(
        'cdc.public.trades',
        trade({ trade_id: `t${i}`, price, venue_sequence: i === 2 ? null : BigInt(i) - 2n }),
      );
    }
    const { path } = await archived(harness, 'cdc.public.trades');
    const statistics = await select(
      `SELECT path_in_schema AS name, stats_min_value AS least, stats_max_value AS greatest, stats_null_count AS nulls FROM parquet_metadata('${path}')`,
    );
    const of = (name: string) => statistics.find((each) => each['name'] === name);
    expect(of('price')).toMatchObject({
      least: '-999999999999.99999999',
      greatest: '123456789012.34567890',
      nulls: '0',
    });
    expect(of('venue_sequence')).toMatchObject({ least: '-2', greatest: '2', nulls: '1' });
    expect(of('conditions')).toMatchObject({ nulls: '5' });
    // What a reader does with them: a filter that only one value passes must not skip its row group.
    for (const price of prices) {
      const text =
        (Number(price) < 0 ? '-' : '') +
        String(price < 0n ? -price : price)
          .padStart(9, '0')
          .replace(/(\d{8})$/, '.$1');
      expect(await select(`SELECT count(*)::INT AS n FROM '${path}' WHERE price = '${text}'::DECIMAL(20,8)`)).toEqual([
        { n: 1 },
      ]);
    }
    expect(await select(`SELECT count(*)::INT AS n FROM '${path}' WHERE price < 0`)).toEqual([{ n: 2 }]);
  });

  test('every group of rows has its own', async () => {
    const { columns } = tables['cdc.public.trades'];
    const file = new ParquetFile([...columns, ...lineageColumns]);
    const rows = 120_000;
    for (let i = 0; i < rows; i++) {
      const price = BigInt(i - 60_000) * 10n ** 8n;
      file.add([
        'v',
        's',
        `t${i}`,
        BigInt(i),
        price,
        1n,
        'buy',
        BigInt(i),
        null,
        'topic',
        0,
        BigInt(i),
        null,
        'c',
        0n,
        null,
      ]);
    }
    const path = join(folder, 'groups.parquet');
    await writeFile(path, file.finish({}));
    const groups = await select(
      `SELECT row_group_id::INT AS id, row_group_num_rows::INT AS rows, stats_min_value AS least, stats_max_value AS greatest
         FROM parquet_metadata('${path}') WHERE path_in_schema = 'price' ORDER BY id`,
    );
    expect(groups.length).toBeGreaterThan(1);
    expect(groups.reduce((sum, { rows: each }) => sum + (each as number), 0)).toBe(rows);
    let from = -60_000;
    for (const { rows: each, least, greatest } of groups) {
      expect([least, greatest]).toEqual([`${from}.00000000`, `${from + (each as number) - 1}.00000000`]);
      from += each as number;
    }
    expect(
      await select(
        `SELECT count(*)::INT AS n, sum(price)::VARCHAR AS price, sum(_offset)::VARCHAR AS offsets FROM '${path}'`,
      ),
    ).toEqual([{ n: rows, price: '-60000.00000000', offsets: String((BigInt(rows) * BigInt(rows - 1)) / 2n) }]);
  });
});

describe('bytes', () => {
  test('are the same for the same rows, however they arrived', async () => {
    const hashes = new Set<string>();
    for (const chunk of [1, 7, 1_000]) {
      const harness = await Harness.open();
      for (let i = 0; i < 50; i++) harness.send('cdc.public.trades', trade({ trade_id: `t${i}`, price: BigInt(i) }));
      await harness.run('cdc.public.trades', { chunk });
      hashes.add((await harness.listed('cdc.public.trades')).map(({ sha256 }) => sha256).join());
    }
    expect(hashes.size).toBe(1);
  });

  test('name the range, the schema and the writer, and nothing of when and where they were written', async () => {
    const harness = await Harness.open();
    harness.send('cdc.public.trades', trade());
    const { path } = await archived(harness, 'cdc.public.trades');
    const metadata = await select(
      `SELECT decode(key) AS key, decode(value) AS value FROM parquet_kv_metadata('${path}') ORDER BY key`,
    );
    expect(Object.fromEntries(metadata.map(({ key, value }) => [key, value]))).toMatchObject({
      'millrace.topic': 'cdc.public.trades',
      'millrace.partition': '0',
      'millrace.first_offset': '0',
      'millrace.last_offset': '0',
      'millrace.writer_version': '1',
    });
    const [file] = await select(`SELECT created_by, num_rows::INT AS rows FROM parquet_file_metadata('${path}')`);
    expect(file).toEqual({ created_by: 'millrace parquet writer 1', rows: 1 });
  });
});
