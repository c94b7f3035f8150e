import { describe, expect, test } from '@jest/globals';
import { candle } from '../../../core/archive/fixtures/candle.ts';
import { queryParquet } from '../../../core/archive/fixtures/read.ts';
import { tables } from '../../../core/archive/rows/tables.ts';
import { TableDecoder } from '../../../core/archive/writing/decoder.ts';
import type { LogRecord } from '../../../core/log/log.ts';
import { duckdbHash } from '../../../core/values/rowhash/rowhash.ts';
import type { Anomaly } from '../../../schemas/gen/anomaly.ts';
import { schemas as contracts } from '../../../schemas/gen/index.ts';
import type { ArchivedTopic } from '../../../schemas/topics.ts';
import { Harness, trade } from '../fixtures/harness.ts';
import { RecordBuffer } from './buffer.ts';
import { type Built, buildObjects } from './build.ts';

const trades = 'cdc.public.trades';

const anomaly: Anomaly = {
  venue: 'bitstamp',
  symbol: 'BTC-USD',
  interval: '1m',
  window_start: 1_385_423_940_000_000n,
  type: 'volume_spike',
  severity: 'HIGH',
  status: 'RAISED',
  revision: 0,
  volume: 1n,
  mean_volume: 2n,
  volume_ratio: 3n,
  open: 4n,
  close: 5n,
  price_change: -6_000_000n,
  thresholds: { volume_multiple: 300_000_000n, price_change: 5_000_000n, lookback: 20, direction: 'BOTH' },
  candle: { venue: 'bitstamp', symbol: 'BTC-USD', interval: '1m', window_start: 1_385_423_940_000_000n },
  baseline: [1_385_423_880_000_001n, 1_385_423_820_000_000n],
  rule: 'volume_spike',
  rule_version: -1n,
  event: '',
  explanation: 'volume 3 × the mean',
  figures: [{ name: 'volume_ratio', value: '3', limit: '"2"' }],
  causes: [{ topic: 'market.candles', offset: 2n ** 63n - 1n, id: 'é' }],
};

async function build(topic: ArchivedTopic, records: readonly LogRecord[], harness: Harness): Promise<Built> {
  const table = tables[topic];
  const decoder = new TableDecoder(harness.schemas, table);
  const buffer = new RecordBuffer();
  for (const record of records) buffer.push(record);
  return buildObjects(table, { topic, partition: 3 }, buffer, decoder, { signal: new AbortController().signal });
}

async function buildOne(topic: ArchivedTopic, ...values: Parameters<Harness['send']>[1][]) {
  const harness = await Harness.open();
  for (const value of values) harness.send(topic, value);
  const { objects, refused } = await build(topic, harness.log.records(topic), harness);
  expect(refused).toEqual([]);
  expect(objects).toHaveLength(1);
  return objects[0] as Built['objects'][number];
}

describe('an archive object', () => {
  test('gives DuckDB each field of a trade exactly, with its lineage', async () => {
    const object = await buildOne(trades, trade({ venue_sequence: 9_007_199_254_740_993n, conditions: 'é\u0000 "x"' }));
    expect(await queryParquet(object.bytes, 'SELECT * FROM FILE')).toEqual([
      {
        venue: 'bitstamp',
        symbol: 'BTC-USD',
        trade_id: '1',
        venue_sequence: '9007199254740993',
        price: '850.12000000',
        size: '0.01250000',
        side: 'buy',
        executed_at: '2013-11-25 23:59:59.123456+00',
        conditions: 'é\u0000 "x"',
        _topic: 'cdc.public.trades',
        _partition: 3,
        _offset: '0',
        _lsn: '4611686018427387905',
        _op: 'c',
        _source_time: '2023-11-14 22:13:20.000001+00',
        _tx_id: '7',
        _timestamp: '2023-11-14 22:13:20+00',
        _commit_lsn: null,
        _snapshot: 'false',
        _rest: null,
      },
    ]);
  });

  test('keeps decimals of 38 digits, negative values, nulls and 64-bit extremes', async () => {
    const object = await buildOne('market.candles', candle, { ...candle, provenance: null, close: 0n });
    const [first, second] = await queryParquet(object.bytes, 'SELECT * FROM FILE ORDER BY _offset');
    expect(first).toMatchObject({
      open: '850.12000001',
      high: '999999999999.99999999',
      low: '-999999999999.99999999',
      close: null,
      vwap: '-0.00000001',
      volume: '999999999999999999999999999999.99999999',
      notional: '-9999999999999999999999.9999999999999999',
      trade_count: '9007199254740993',
      high_time: '1969-12-31 23:59:59.999999+00',
      low_time: null,
      status: 'CLOSED',
      revision: 2147483647,
      provenance_to_offset: '9223372036854775807',
      provenance_from_lsn: '-9223372036854775808',
      _lsn: '4611686018427387905',
      _op: null,
    });
    expect(second).toMatchObject({ provenance_processor_version: null, provenance_to_lsn: null, close: '0.00000000' });
  });

  test('has statistics that agree with the values, also for negative decimals and nulls', async () => {
    const values = [candle, { ...candle, vwap: 5n }, { ...candle, vwap: -7n }, { ...candle, vwap: null }];
    const { bytes } = await buildOne('market.candles', ...values);
    const statistics = await queryParquet(
      bytes,
      'SELECT path_in_schema AS name, stats_min_value AS min, stats_max_value AS max, stats_null_count AS nulls FROM parquet_metadata(FILE)',
    );
    const of = (name: string) => statistics.find((each) => each['name'] === name);
    expect(of('vwap')).toMatchObject({ min: '-0.00000007', max: '0.00000005', nulls: '1' });
    expect(of('close')).toMatchObject({ min: null, max: null, nulls: '4' });
    expect(of('high_time')).toMatchObject({ nulls: '0', min: '1969-12-31 23:59:59.999999+00' });
    // Wrong statistics could make this filter skip rows.
    expect(await queryParquet(bytes, 'SELECT count(*) AS n FROM FILE WHERE vwap < 0')).toEqual([{ n: '2' }]);
    expect(await queryParquet(bytes, 'SELECT count(*) AS n FROM FILE WHERE low_time IS NULL')).toEqual([{ n: '4' }]);
  });

  test('flattens an anomaly and keeps its baseline, figures and causes as JSON', async () => {
    const { bytes } = await buildOne('market.anomalies', anomaly);
    const [row] = await queryParquet(bytes, 'SELECT *, baseline::JSON::BIGINT[] AS starts FROM FILE');
    expect(row).toMatchObject({
      thresholds_volume_multiple: '3.00000000',
      thresholds_direction: 'BOTH',
      candle_window_start: '2013-11-25 23:59:00+00',
      baseline: '[1385423880000001,1385423820000000]',
      figures: '[{"name":"volume_ratio","value":"3","limit":"\\"2\\""}]',
      causes: '[{"topic":"market.candles","offset":"9223372036854775807","id":"é"}]',
      starts: ['1385423880000001', '1385423820000000'],
      price_change: '-0.06000000',
    });
  });

  test.each([
    [trades, [trade(), trade({ op: 'd', conditions: '' }), trade({ price: -1n, venue_sequence: -5n })]],
    ['market.candles', [candle, { ...candle, provenance: null }]],
    ['market.anomalies', [anomaly, { ...anomaly, baseline: [] }]],
  ] as const)('has the row hash that DuckDB computes from the file: %s', async (topic, values) => {
    const object = await buildOne(topic, ...values);
    const sql = `SELECT ${duckdbHash.sum(tables[topic].columns)} AS hash FROM FILE`;
    const [row] = await queryParquet(object.bytes, sql);
    expect(
      BigInt(row?.['hash'] as string)
        .toString(16)
        .padStart(16, '0'),
    ).toBe(object.rowHash);
  });

  test('is compressed with zstd, and beyond 50,000 rows in several groups, each with its own statistics', async () => {
    const harness = await Harness.open();
    const records = Array.from({ length: 50_002 }, (_, i) => ({
      offset: BigInt(i),
      timestamp: 0n,
      key: null,
      value: harness.encode(trades, trade({ price: BigInt(25_000 - i) })),
    }));
    const { objects } = await build(trades, records, harness);
    const bytes = objects[0]?.bytes as Buffer;
    const sql = `SELECT row_group_id AS id, row_group_num_rows AS n, compression, stats_min_value AS min, stats_max_value AS max
      FROM parquet_metadata(FILE) WHERE path_in_schema = 'price' ORDER BY id`;
    expect(await queryParquet(bytes, sql)).toEqual([
      { id: '0', n: '50000', compression: 'ZSTD', min: '-0.00024999', max: '0.00025000' },
      { id: '1', n: '2', compression: 'ZSTD', min: '-0.00025001', max: '-0.00025000' },
    ]);
    const totals = 'SELECT count(*) AS n, sum(price)::VARCHAR AS price, sum(_offset)::VARCHAR AS offsets FROM FILE';
    expect(await queryParquet(bytes, totals)).toEqual([{ n: '50002', price: '-0.00025001', offsets: '1250075001' }]);
  });

  test('names its range, schema and writer in the footer, and nothing of when and where it was written', async () => {
    const { bytes, rowHash } = await buildOne(trades, trade(), trade());
    const metadata = await queryParquet(
      bytes,
      'SELECT decode(key) AS key, decode(value) AS value FROM parquet_kv_metadata(FILE)',
    );
    expect(Object.fromEntries(metadata.map(({ key, value }) => [key, value]))).toEqual({
      'millrace.topic': trades,
      'millrace.partition': '3',
      'millrace.first_offset': '0',
      'millrace.last_offset': '1',
      'millrace.schema_id': '1',
      'millrace.schema_ids': '1',
      'millrace.avro_schema': JSON.stringify(contracts.trade_change),
      'millrace.writer_version': '2',
      'millrace.row_hash': rowHash,
    });
    const [file] = await queryParquet(bytes, 'SELECT created_by FROM parquet_file_metadata(FILE)');
    expect(file).toEqual({ created_by: 'millrace parquet writer 2' });
  });

  test('has the same bytes for the same rows', async () => {
    const values = [trade(), trade({ trade_id: '2' })];
    const [a, b] = [await buildOne(trades, ...values), await buildOne(trades, ...values)];
    expect(a.sha256).toBe(b.sha256);
    expect(a.bytes.equals(b.bytes)).toBe(true);
  });
});

describe('a record that is no row', () => {
  const refusals: readonly [string, string, (harness: Harness) => Partial<LogRecord>][] = [
    ['has no header', 'BAD_MAGIC', () => ({ value: Buffer.from('x') })],
    ['is cut off', 'BAD_AVRO', (harness) => ({ value: harness.encode(trades, trade()).subarray(0, 20) })],
    ['has no value', 'BAD_RECORD', () => ({ value: null })],
    ['has no commit time', 'BAD_RECORD', (harness) => ({ value: harness.encode(trades, noCommitTime()) })],
    [
      'has a day that no calendar has',
      'BAD_RECORD',
      (harness) => ({ value: harness.encode(trades, trade({ executed_at: '2013-02-30T00:00:00Z' })) }),
    ],
  ];

  test.each(refusals)('because it %s is refused with %s, alone', async (_why, code, make) => {
    const harness = await Harness.open();
    const good = { offset: 0n, timestamp: 0n, key: null, value: harness.encode(trades, trade()) };
    const { objects, refused } = await build(trades, [good, { ...good, offset: 1n, ...make(harness) }], harness);
    expect(objects).toMatchObject([{ rows: 1 }]);
    expect(refused).toMatchObject([{ record: { offset: 1n }, error: { code } }]);
  });

  test('because it is far in time is refused, and does not stop the others', async () => {
    const harness = await Harness.open();
    harness.send('market.candles', { ...candle, window_start: 2n ** 62n });
    const { refused } = await build('market.candles', harness.log.records('market.candles'), harness);
    expect(refused).toMatchObject([{ error: { code: 'BAD_RECORD' } }]);
  });

  test('unless it is a change without a row: that is archived under its commit day', async () => {
    const harness = await Harness.open();
    harness.send(trades, { ...trade({ op: 't' }), after: null });
    const { objects } = await build(trades, harness.log.records(trades), harness);
    expect(objects).toMatchObject([{ day: '2023-11-14', rows: 1 }]);
  });
});

function noCommitTime() {
  const change = trade();
  return { ...change, source: { ...change.source, ts_us: null } };
}
