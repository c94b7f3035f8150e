/** Archived objects while the source table changes. */
import { describe, expect, test } from '@jest/globals';
import { queryParquet, type Row } from '../../core/archive/fixtures/read.ts';
import { AvroEncoder } from '../../core/avro/encoder.ts';
import { envelope, envelopeSchema, tradeFields, tradeRow } from '../../core/avro/fixtures/debezium.ts';
import { MillraceError } from '../../core/base/errors.ts';
import { captureRecordBytes } from '../../schemas/topics.ts';
import { Harness, trade } from './fixtures/harness.ts';

const topic = 'cdc.public.trades';
const optional = (name: string, type: unknown): object => ({ name, type: ['null', type], default: null });

/** The source table in one of its states. Schemas are registered as by Debezium, so later states have greater schema ids. */
async function table(harness: Harness, ...added: object[]): Promise<(row?: object, over?: object) => void> {
  return tableOf(harness, tradeFields, added);
}

async function tableOf(harness: Harness, fields: readonly object[], added: readonly object[] = []) {
  const schema = envelopeSchema(topic, [...fields, ...added]);
  const encoder = await AvroEncoder.open<object>(harness.schemas, `${topic}-value`, schema);
  const empty = Object.fromEntries(added.map((field) => [(field as { name: string }).name, null]));
  return (row: object = {}, over: object = {}): void =>
    void harness.send(topic, encoder.encode(envelope({ after: tradeRow({ ...empty, ...row }), ...over })));
}

async function archived(harness: Harness, sql = 'SELECT * FROM FILE ORDER BY _offset'): Promise<Row[]> {
  await harness.run(topic);
  const rows: Row[] = [];
  for (const { key } of await harness.listed(topic)) {
    rows.push(...(await queryParquet((await harness.store.get(key))?.bytes as Buffer, sql)));
  }
  return rows;
}

const described = 'SELECT column_name AS name, column_type AS type FROM (DESCRIBE SELECT * FROM FILE)';

async function types(harness: Harness): Promise<Record<string, string>> {
  const columns = await archived(harness, described);
  return Object.fromEntries(columns.map(({ name, type }) => [String(name), String(type)]));
}

describe('a cut over a change of the source table', () => {
  test('has a column that was added, null in the rows from before', async () => {
    const harness = await Harness.open();
    const [narrow, wide] = [await table(harness), await table(harness, optional('fee', 'long'))];
    narrow({ trade_id: 'a' });
    wide({ trade_id: 'b', fee: 9_007_199_254_740_993n });
    narrow({ trade_id: 'c' });
    expect(await archived(harness, 'SELECT trade_id, fee, typeof(fee) AS type FROM FILE ORDER BY _offset')).toEqual([
      { trade_id: 'a', fee: null, type: 'BIGINT' },
      { trade_id: 'b', fee: '9007199254740993', type: 'BIGINT' },
      { trade_id: 'c', fee: null, type: 'BIGINT' },
    ]);
    expect(await harness.listed(topic)).toMatchObject([{ writer_version: 2, rows: 3n }]);
  });

  test('has a document as large as a captured record may be, in every row of the cut', async () => {
    const harness = await Harness.open();
    const wide = await table(harness, optional('meta', 'string'));
    const length = captureRecordBytes - 10_000;
    for (const id of ['a', 'b', 'c']) wide({ trade_id: id, meta: id.repeat(length) });
    expect(
      await archived(harness, 'SELECT trade_id, length(meta) AS length, meta[1:2] AS start FROM FILE ORDER BY _offset'),
    ).toEqual(['a', 'b', 'c'].map((id) => ({ trade_id: id, length: `${length}`, start: id + id })));
    expect(await harness.dead()).toEqual([]);
  });

  test('keeps a dropped column where the cut still has rows with it, and no longer than that', async () => {
    const harness = await Harness.open();
    const [narrow, wide] = [await table(harness, optional('fee', 'long')), await table(harness)];
    narrow({ fee: 7n });
    wide();
    expect(await archived(harness, 'SELECT fee FROM FILE ORDER BY _offset')).toEqual([{ fee: '7' }, { fee: null }]);
    wide();
    const columns = await archived(harness, described);
    expect(columns.filter(({ name }) => name === 'fee')).toHaveLength(1);
  });

  test('has a renamed column under both names, each with the values written under it', async () => {
    const harness = await Harness.open();
    const [narrow, wide] = [
      await table(harness, optional('fee', 'long')),
      await table(harness, optional('cost', 'long')),
    ];
    narrow({ fee: 1n });
    wide({ cost: 2n });
    expect(await archived(harness, 'SELECT fee, cost FROM FILE ORDER BY _offset')).toEqual([
      { fee: '1', cost: null },
      { fee: null, cost: '2' },
    ]);
  });

  test.each([
    ['an integer that grew', ['int', 5], ['long', 2n ** 40n], 'BIGINT', ['5', '1099511627776']],
    ['an integer that became a float', ['int', 5], ['double', 0.5], 'DOUBLE', [5, 0.5]],
    ['a long that became a float', ['long', 2n ** 53n + 1n], ['double', 0.5], 'VARCHAR', ['9007199254740993', '0.5']],
    [
      'a decimal of another scale',
      [{ type: 'bytes', logicalType: 'decimal', precision: 10, scale: 2 }, 125n],
      [{ type: 'bytes', logicalType: 'decimal', precision: 12, scale: 6 }, 5n],
      'DECIMAL(14,6)',
      ['1.250000', '0.000005'],
    ],
    [
      'a decimal that no width holds',
      [{ type: 'bytes', logicalType: 'decimal', precision: 38, scale: 0 }, 7n],
      [{ type: 'bytes', logicalType: 'decimal', precision: 38, scale: 38 }, 5n],
      'VARCHAR',
      ['7', `0.${'5'.padStart(38, '0')}`],
    ],
    ['a flag that became text', ['boolean', true], ['string', 'maybe'], 'VARCHAR', ['true', 'maybe']],
  ] as const)(
    'gives %s the type that holds all values',
    async (_what, [oldType, old], [newType, value], type, read) => {
      const harness = await Harness.open();
      const [narrow, wide] = [
        await table(harness, optional('x', oldType)),
        await table(harness, optional('x', newType)),
      ];
      narrow({ x: old });
      wide({ x: value });
      const rows = await archived(harness, 'SELECT x, typeof(x) AS type FROM FILE ORDER BY _offset');
      expect(rows).toEqual(read.map((x) => ({ x, type })));
    },
  );

  test('names the schemas of its rows in the footer, with the newest as the registry has it', async () => {
    const harness = await Harness.open();
    const [narrow, wide] = [await table(harness), await table(harness, optional('fee', 'long'))];
    wide();
    narrow();
    const metadata = await archived(
      harness,
      'SELECT decode(key) AS key, decode(value) AS value FROM parquet_kv_metadata(FILE)',
    );
    const footer = Object.fromEntries(metadata.map(({ key, value }) => [String(key), String(value)]));
    const [{ schema_id: newest = 0 } = {}] = await harness.listed(topic);
    expect(footer).toMatchObject({
      'millrace.schema_id': String(newest),
      'millrace.schema_ids': `${newest - 1},${newest}`,
      'millrace.first_offset': '0',
      'millrace.last_offset': '1',
    });
    expect(JSON.parse(footer['millrace.avro_schema'] ?? '')).toEqual(await harness.schemas.byId(newest));
  });

  test('has columns by its own range alone: records that were read before change nothing', async () => {
    const make = async (...cuts: number[]) => {
      const harness = await Harness.open();
      const states = [await table(harness, optional('fee', 'long')), await table(harness)];
      for (const state of cuts) {
        states[state]?.();
        await harness.run(topic);
      }
      return [...harness.memory.objects.values()].at(-1)?.bytes.length;
    };
    expect(await make(1, 1)).toBe(await make(0, 1));
  });

  test('that was planned is made byte for byte by the next owner, after any change of the table', async () => {
    const harness = await Harness.open();
    const [narrow, wide] = [await table(harness), await table(harness, optional('fee', 'long'))];
    narrow();
    const owner = await harness.own(topic);
    await owner.drain();
    harness.memory.fault({ kind: 'after', error: new MillraceError('S3_UNREACHABLE', 'lost') });
    await expect(owner.flush()).rejects.toThrow('lost');
    wide();
    await harness.run(topic);
    expect(await harness.listed(topic)).toMatchObject([{ to_offset: 1n }, { from_offset: 1n, to_offset: 2n }]);
  });
});

describe('a column of the source that our schema does not have', () => {
  test('is archived with the type that the source gives it', async () => {
    const harness = await Harness.open();
    const send = await table(
      harness,
      optional('i', 'int'),
      optional('f', 'float'),
      optional('b', 'boolean'),
      optional('bin', 'bytes'),
      optional('list', { type: 'array', items: ['null', 'long'] }),
      optional('tags', { type: 'map', values: 'string' }),
      optional('wide', { type: 'bytes', logicalType: 'decimal', precision: 50, scale: 1 }),
      optional('any', {
        type: 'record',
        name: 'VariableScaleDecimal',
        namespace: 'io.debezium.data',
        fields: [
          { name: 'scale', type: 'int' },
          { name: 'value', type: 'bytes' },
        ],
      }),
      optional('other', 'io.debezium.data.VariableScaleDecimal'),
      optional('point', {
        type: 'record',
        name: 'Point',
        namespace: 'io.debezium.data.geometry',
        fields: [
          { name: 'x', type: 'double' },
          { name: 'wkb', type: ['null', 'bytes'] },
        ],
      }),
    );
    send({
      i: -1,
      f: 0.5,
      b: false,
      bin: Buffer.from([0, 255]),
      list: [1n, null, 2n ** 60n],
      tags: { a: 'b' },
      wide: 15n,
      any: { scale: 3, value: Buffer.from([0xff]) },
      other: { scale: -2, value: Buffer.from([7]) },
      point: { x: 1.5, wkb: null },
    });
    send();
    const [full, empty] = await archived(harness);
    expect(full).toMatchObject({
      i: -1,
      f: 0.5,
      b: false,
      bin: '\\x00ff',
      list: '["1",null,"1152921504606846976"]',
      tags: '{"a":"b"}',
      wide: '1.5',
      any: '-0.001',
      other: '700',
      point_x: 1.5,
      point_wkb: null,
    });
    expect(empty).toMatchObject({ i: null, f: null, b: null, list: null, any: null, point_x: null });
  });

  test('never takes the name of another one, not even in another case', async () => {
    const harness = await Harness.open();
    const send = await table(
      harness,
      optional('_offset', 'string'),
      optional('Price', 'string'),
      optional('year', 'int'),
    );
    send({ _offset: 'x', Price: 'y', year: 1 });
    expect(await types(harness)).toMatchObject({
      _offset: 'BIGINT',
      _offset_: 'VARCHAR',
      price: 'DECIMAL(20,8)',
      Price_: 'VARCHAR',
      year_: 'INTEGER',
    });
  });

  test('changes neither the other columns nor the row hash', async () => {
    const [plain, rich] = [await Harness.open(), await Harness.open()];
    (await table(plain))();
    (await table(rich, optional('fee', 'long')))({ fee: 3n });
    const sql = 'SELECT * EXCLUDE (_source_time) FROM FILE';
    const [[a], [b]] = [await archived(plain, sql), await archived(rich, sql)];
    expect(b).toEqual({ ...a, fee: '3' });
    const hashes = [...(await plain.listed(topic)), ...(await rich.listed(topic))].map(({ row_hash }) => row_hash);
    expect(new Set(hashes).size).toBe(1);
  });
});

describe('a column of our schema that the source dropped', () => {
  const without = (harness: Harness, name: string) =>
    tableOf(
      harness,
      tradeFields.filter((field) => (field as { name: string }).name !== name),
    );

  test('has the default of our schema from then on', async () => {
    const harness = await Harness.open();
    (await table(harness))({ conditions: 'x', side: 'buy' });
    (await without(harness, 'conditions'))({ side: 'buy' });
    (await without(harness, 'side'))();
    expect(await archived(harness, 'SELECT conditions, side FROM FILE ORDER BY _offset')).toMatchObject([
      { conditions: 'x', side: 'buy' },
      { conditions: null, side: 'buy' },
      { side: 'unknown' },
    ]);
  });

  test('stops the sink when our schema has none', async () => {
    const harness = await Harness.open();
    (await without(harness, 'price'))();
    await expect(harness.run(topic)).rejects.toMatchObject({
      code: 'SCHEMA_INCOMPATIBLE',
      message: expect.stringContaining('price is not written, and has no default'),
    });
    expect(await harness.listed(topic)).toEqual([]);
  });
});

describe('a change log', () => {
  const old = trade({ price: 1n }).after;

  test('has the row before each change beside the row after it', async () => {
    const harness = await Harness.open({ settings: { changeLogTopics: [topic] } });
    harness.send(topic, trade());
    harness.send(topic, { ...trade({ op: 'u', price: 2n }), before: old });
    harness.send(topic, trade({ op: 'd', price: 2n }));
    const sql = 'SELECT _op, price, before_price, before_trade_id FROM FILE ORDER BY _offset';
    expect(await archived(harness, sql)).toEqual([
      { _op: 'c', price: '850.12000000', before_price: null, before_trade_id: null },
      { _op: 'u', price: '0.00000002', before_price: '0.00000001', before_trade_id: '1' },
      { _op: 'd', price: '0.00000002', before_price: '0.00000002', before_trade_id: '1' },
    ]);
    expect(await harness.listed(topic)).toMatchObject([{ writer_version: 3 }]);
  });

  test('has columns of the source in both rows', async () => {
    const harness = await Harness.open({ settings: { changeLogTopics: [topic] } });
    const send = await table(harness, optional('fee', 'long'));
    send({ fee: 2n }, { op: 'u', before: tradeRow({ fee: 1n }) });
    expect(await archived(harness, 'SELECT fee, before_fee FROM FILE')).toEqual([{ fee: '2', before_fee: '1' }]);
  });

  test('that was planned as flattened rows is finished as such after the setting changed', async () => {
    const harness = await Harness.open();
    harness.send(topic, trade());
    const owner = await harness.own(topic);
    await owner.drain();
    harness.memory.fault({ kind: 'after', error: new MillraceError('S3_UNREACHABLE', 'lost') });
    await expect(owner.flush()).rejects.toThrow('lost');
    await harness.restart({ changeLogTopics: [topic] });
    harness.send(topic, trade());
    await harness.run(topic);
    expect(await harness.listed(topic)).toMatchObject([{ writer_version: 2 }, { writer_version: 3 }]);
  });

  test('is refused for a topic that has no changes', async () => {
    await expect(Harness.open({ settings: { changeLogTopics: ['market.candles'] } })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      remedy: expect.stringContaining(topic),
    });
  });
});

test('a cut that an older version planned is finished as that version would have: its columns, its footer', async () => {
  const harness = await Harness.open();
  (await table(harness, optional('fee', 'long')))({ fee: 1n });
  await harness.plan(topic, { end: 1n, schemaId: 1, writerVersion: 1 });
  const keys = (await archived(harness, 'SELECT decode(key) AS key FROM parquet_kv_metadata(FILE)')).map(
    ({ key }) => key,
  );
  expect(keys).not.toContain('millrace.avro_schema');
  expect(await types(harness)).not.toHaveProperty('_timestamp');
  expect(await types(harness)).not.toHaveProperty('fee');
  expect(await harness.listed(topic)).toMatchObject([{ writer_version: 1 }]);
});
