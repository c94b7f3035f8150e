import { describe, expect, test } from '@jest/globals';
import type { ArchiveObject } from '../../schemas/gen/archive_object.ts';
import { archiveObjectSchema } from '../../schemas/gen/archive_object.ts';
import { schemas as contracts } from '../../schemas/gen/index.ts';
import { archivedTopics, objectsTopic } from '../../schemas/topics.ts';
import { AvroEncoder } from '../avro/encoder.ts';
import { MemorySchemas } from '../avro/registry/memory.ts';
import { MemoryLog } from '../testing/memory-log.ts';
import { listObjects } from './listing/objects.ts';
import { columnsOf } from './rows/columns.ts';
import { lineageColumns, tables } from './rows/tables.ts';

describe('the columns of a record', () => {
  const schema = {
    type: 'record',
    name: 'R',
    fields: [
      { name: 'a', type: 'string' },
      { name: 'b', type: ['null', { type: 'bytes', logicalType: 'decimal', precision: 20, scale: 8 }] },
      { name: 'inner', type: ['null', { type: 'record', name: 'I', fields: [{ name: 'n', type: 'long' }] }] },
      { name: 'again', type: 'I' },
      { name: 'kind', type: { type: 'enum', name: 'E', symbols: ['X'] } },
      { name: 'many', type: { type: 'array', items: { type: 'long', logicalType: 'timestamp-micros' } } },
      { name: 'at', type: { type: 'long', logicalType: 'timestamp-micros' } },
      { name: 'count', type: 'int' },
    ],
  };
  const columns = columnsOf(schema);

  test('are in schema order, records in it flattened', () => {
    expect(columns.map(({ name, type }) => [name, type.kind])).toEqual([
      ['a', 'text'],
      ['b', 'decimal'],
      ['inner_n', 'long'],
      ['again_n', 'long'],
      ['kind', 'text'],
      ['many', 'text'],
      ['at', 'timestamp'],
      ['count', 'int'],
    ]);
  });

  test('read their values, null where a record or a field is null', () => {
    const value = {
      a: 'x',
      b: null,
      inner: null,
      again: { n: 2n },
      kind: 'X',
      many: [1n, 2n ** 60n],
      at: 5n,
      count: 1,
    };
    expect(columns.map((column) => column.read(value))).toEqual([
      'x',
      null,
      null,
      2n,
      'X',
      '[1,1152921504606846976]',
      5n,
      1,
    ]);
  });

  test.each(['float', 'double', 'bytes', ['string', 'long']])('has no silent guess for %j', (type) => {
    expect(() => columnsOf({ type: 'record', name: 'R', fields: [{ name: 'x', type }] })).toThrow(TypeError);
  });
});

describe('the tables of the archive', () => {
  test.each(archivedTopics)(
    '%s: no data column is called as a lineage column, and the event time is one of them',
    (topic) => {
      const names = tables[topic].columns.map(({ name }) => name);
      expect(names.filter((name) => lineageColumns.some((lineage) => lineage.name === name))).toEqual([]);
      expect(new Set(names).size).toBe(names.length);
      const { eventTime } = tables[topic];
      if (eventTime !== null) expect(names).toContain(eventTime);
    },
  );

  test('trades have the columns of the source table', () => {
    expect(tables['cdc.public.trades'].columns.map(({ name, type }) => `${name} ${type.kind}`)).toEqual([
      'venue text',
      'symbol text',
      'trade_id text',
      'venue_sequence long',
      'price decimal',
      'size decimal',
      'side text',
      'executed_at timestamp',
      'conditions text',
    ]);
  });
});

test('instruments have the columns of the source table and the day of their commit', () => {
  const { columns, eventTime } = tables['cdc.public.instruments'];
  expect(eventTime).toBeNull();
  expect(columns.map(({ name, type }) => `${name} ${type.kind}`)).toEqual([
    'venue text',
    'symbol text',
    'base text',
    'quote text',
    'tick_size decimal',
    'lot_size decimal',
    'active boolean',
  ]);
});

describe('the list of objects', () => {
  const object: ArchiveObject = {
    key: 'k',
    epoch: 'e',
    topic: 'market.candles',
    partition: 0,
    day: '2013-11-25',
    from_offset: 0n,
    to_offset: 9n,
    first_offset: 0n,
    last_offset: 8n,
    rows: 9n,
    row_hash: '0'.repeat(16),
    sha256: '0'.repeat(64),
    bytes: 1n,
    dead_letters: 0n,
    schema_id: 1,
    writer_version: 1,
  };

  test('is what was committed, of all partitions in order, and of one day if asked', async () => {
    const log = new MemoryLog();
    const schemas = new MemorySchemas();
    const topic = objectsTopic('market.candles');
    log.create(topic, 2);
    const encoder = await AvroEncoder.open<ArchiveObject>(schemas, `${topic}-value`, archiveObjectSchema);
    const list = (partition: number, key: string, day = object.day) =>
      log.append({
        topic,
        partition,
        key: null,
        value: encoder.encode({ ...object, partition, key, day }),
        timestamp: 0n,
      });
    list(1, 'c');
    list(0, 'a');
    log.appendMarker({ topic, partition: 0 });
    list(0, 'b', '2013-11-26');
    log.appendMarker({ topic, partition: 1 });
    const keys = async (options?: { day: string }) =>
      (await listObjects(log, schemas, 'market.candles', options)).map(({ key }) => key);
    expect(await keys()).toEqual(['a', 'b', 'c']);
    expect(await keys({ day: '2013-11-26' })).toEqual(['b']);
  });

  test('is empty for an archive without objects', async () => {
    const log = new MemoryLog();
    log.create(objectsTopic('market.candles'), 6);
    expect(await listObjects(log, new MemorySchemas(), 'market.candles')).toEqual([]);
  });
});

test('each archived topic has the schema that its table reads', () => {
  expect(Object.values(tables).map(({ schema }) => schema)).toEqual([
    contracts.trade_change,
    contracts.instrument_change,
    contracts.candle,
    contracts.anomaly,
  ]);
});
