import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ArchiveQuery, topicsToFetch } from '../../core/archive/reading/query.ts';
import { namings } from '../../core/archive/reading/views.ts';
import { columnsWithLineage, tables } from '../../core/archive/rows/tables.ts';
import { MillraceError } from '../../core/base/errors.ts';
import { type ArchivedTopic, archivedTopics } from '../../schemas/topics.ts';
import { makeArchive, writeArchive } from './archive.ts';

let dir: string;
let files: ReadonlyMap<ArchivedTopic, readonly string[]>;
let query: ArchiveQuery;

beforeAll(async () => {
  // A quote and a space: paths are texts of SQL.
  dir = await mkdtemp(join(tmpdir(), "millrace reader's-"));
  files = await writeArchive(await makeArchive(), dir);
  query = await ArchiveQuery.open({ files, scratchDir: join(dir, 'scratch') });
});

afterAll(async () => {
  await query[Symbol.asyncDispose]();
  await rm(dir, { recursive: true });
});

async function rows(sql: string, of = query): Promise<(string | null)[][]> {
  const found: (string | null)[][] = [];
  for await (const portion of (await of.run(sql)).cells()) found.push(...portion.map((row) => [...row]));
  return found;
}

async function failure(sql: string): Promise<MillraceError> {
  const caught: unknown = await rows(sql).catch((error: unknown) => error);
  expect(caught).toBeInstanceOf(MillraceError);
  expect(caught).toMatchObject({ code: 'QUERY_FAILED' });
  return caught as MillraceError;
}

describe('the views', () => {
  test.each(archivedTopics)(
    '%s can be read by its own name and by its short one, with the same columns',
    async (topic) => {
      const { all: short, newest } = namings[topic];
      const described = await rows(`DESCRIBE ${short}`);
      expect(described.map(([name]) => name)).toEqual([
        ...columnsWithLineage(tables[topic]).map(({ name }) => name),
        'year',
        'month',
        'day',
      ]);
      expect(await rows(`DESCRIBE ${topic}`)).toEqual(described);
      expect(await rows(`DESCRIBE "${topic}"`)).toEqual(described);
      expect(await rows(`DESCRIBE ${newest}`)).toEqual(described);
    },
  );

  test('have a type for each column that holds it exactly, with files and without', async () => {
    const types = new Map((await rows('DESCRIBE candles')).map(([name, type]) => [name, type]));
    expect([types.get('open'), types.get('volume'), types.get('notional')]).toEqual([
      'DECIMAL(20,8)',
      'DECIMAL(38,8)',
      'DECIMAL(38,16)',
    ]);
    await using without = await ArchiveQuery.open({
      files: new Map(archivedTopics.map((topic) => [topic, []])),
      scratchDir: dir,
    });
    for (const name of ['trades', 'candles', 'trades_now']) {
      expect(await rows(`DESCRIBE ${name}`, without)).toEqual(await rows(`DESCRIBE ${name}`));
      expect(await rows(`SELECT * FROM ${name}`, without)).toEqual([]);
    }
  });

  test('give decimals, 64-bit integers and microseconds with every digit, and null as null', async () => {
    expect(
      await rows(
        `SELECT open, high, low, close, volume, notional, trade_count, high_time, provenance_to_offset, provenance_from_lsn, _op
           FROM candles WHERE revision = 1`,
      ),
    ).toEqual([
      [
        '850.12000001',
        '999999999999.99999999',
        '-999999999999.99999999',
        null,
        '999999999999999999999999999999.99999999',
        '-9999999999999999999999.9999999999999999',
        '9007199254740993',
        '1969-12-31 23:59:59.999999+00',
        '9223372036854775807',
        '-9223372036854775808',
        null,
      ],
    ]);
  });

  test('trades has one row per change, trades_now one per trade that is there, as it is', async () => {
    expect(await rows('SELECT _offset, trade_id, _op FROM trades ORDER BY _offset')).toHaveLength(9);
    expect(await rows('SELECT trade_id, price, executed_at FROM trades_now ORDER BY trade_id')).toEqual([
      ['changed', '999999999999.99999999', '2013-11-25 23:59:59.123456+00'],
      ['empty', '850.12000000', '2013-11-25 23:59:59.123456+00'],
      ['moved', '850.12000000', '2013-11-26 00:00:00.000001+00'],
      ['plain', '850.12000000', '2013-11-25 23:59:59.123456+00'],
      ['text', '850.12000000', '2013-11-25 23:59:59.123456+00'],
    ]);
  });

  test('candles_newest has the greatest revision of each candle', async () => {
    expect(await rows('SELECT revision, close, provenance_to_lsn FROM candles_newest')).toEqual([
      ['2', '0.00000000', null],
    ]);
  });

  test('year, month and day are what the path says', async () => {
    expect(await rows('SELECT year, month, day, count(*) FROM trades GROUP BY ALL ORDER BY day')).toEqual([
      ['2013', '11', '25', '8'],
      ['2013', '11', '26', '1'],
    ]);
  });

  test('of a topic that was not fetched say so when they are read, instead of being empty', async () => {
    await using some = await ArchiveQuery.open({
      files: new Map([['market.candles', files.get('market.candles') ?? []]]),
      scratchDir: dir,
    });
    expect(await rows('SELECT count(*) FROM candles', some)).toEqual([['2']]);
    await expect(rows("SELECT * FROM query('SELECT count(*) FROM tra' || 'des')", some)).rejects.toMatchObject({
      code: 'QUERY_FAILED',
      message: expect.stringContaining('cdc.public.trades was not fetched'),
    });
    expect(await rows('DESCRIBE trades', some)).toEqual(await rows('DESCRIBE trades'));
  });
});

describe('what a statement may read', () => {
  test.each([
    ['SELECT * FROM trades', ['cdc.public.trades']],
    ['from Trades t join market.candles c using (symbol)', ['cdc.public.trades', 'market.candles']],
    ['SELECT * FROM "cdc.public.trades"', ['cdc.public.trades']],
    ['SELECT * FROM trades_now', ['cdc.public.trades']],
    ['WITH x AS (SELECT * FROM anomalies_newest) SELECT * FROM x', ['market.anomalies']],
    ['PIVOT trades ON side IN (buy, sell) USING sum(size)', ['cdc.public.trades']],
    ["SELECT * FROM query_table('candles')", ['market.candles']],
    ['SELECT 1 AS trades_of_mine', []],
    ['DESCRIBE trades', []],
    ['SHOW TABLES', []],
    ['SUMMARIZE trades', ['cdc.public.trades']],
  ])('%s: fetches %j', (sql, topics) => {
    expect(topicsToFetch(sql)).toEqual(topics);
  });
});

describe('only reading', () => {
  test.each([
    'FROM trades LIMIT 1',
    'SUMMARIZE trades',
    'SHOW TABLES',
    'VALUES (1)',
    "PIVOT trades ON side IN ('buy', 'sell') USING sum(size) GROUP BY symbol",
  ])('%s counts as a SELECT', async (sql) => {
    expect(await rows(sql)).not.toEqual([]);
  });

  test.each([
    ["COPY trades TO 'FILE'", 'Permission'],
    ["COPY (SELECT 1) TO 'FILE' (FORMAT parquet)", 'Permission'],
    ["EXPLAIN ANALYZE COPY trades TO 'FILE'", 'Permission'],
    ["ATTACH 'FILE' AS mine", 'ATTACH'],
    ["EXPORT DATABASE 'FILE'", ''],
    ['CREATE TABLE mine AS SELECT * FROM trades', 'CREATE'],
    ['DROP VIEW trades', 'DROP'],
    ['DELETE FROM trades', ''],
    ["SET memory_limit = '64GB'", ''],
    ['INSTALL httpfs', ''],
    ["LOAD 'FILE'", ''],
    ['PRAGMA memory_limit = 1', ''],
  ])('%s is refused, and leaves no file', async (sql, type) => {
    const target = join(dir, 'written');
    const { message } = await failure(sql.replace('FILE', target.replaceAll("'", "''")));
    expect(message).toContain(type);
    await expect(readFile(target)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test.each([
    ["COPY (SELECT 1) TO 'FILE'", ''],
    ["EXPLAIN ANALYZE COPY (SELECT 1) TO 'FILE' (USE_TMP_FILE false)", 'EXPLAIN is no SELECT'],
    ["COPY (SELECT 1) TO 'FILE' (USE_TMP_FILE false)", 'COPY is no SELECT'],
  ])('%s leaves a file of the archive as it is', async (sql, message) => {
    const file = files.get('market.candles')?.[0] ?? '';
    const before = await readFile(file);
    expect((await failure(sql.replace('FILE', file.replaceAll("'", "''")))).message).toContain(message);
    expect((await readFile(file)).equals(before)).toBe(true);
  });

  test.each(["read_text('FILE')", "read_csv('FILE')", "read_parquet('FILE')", "glob('FILE*')", "'FILE'"])(
    'SELECT * FROM %s reaches no file beside those of the archive',
    async (source) => {
      const other = join(dir, 'other.csv');
      await writeFile(other, 'secret\n');
      const sql = `SELECT * FROM ${source.replace('FILE', other.replaceAll("'", "''"))}`;
      const outcome: unknown = await rows(sql).catch((error: unknown) => error);
      expect(outcome).toBeInstanceOf(MillraceError);
    },
  );

  test.each([
    ['', 'there is no statement'],
    [' ; -- nothing\n /* at all */', 'there is no statement'],
    ['SELECT 1; SELECT 2', 'one SELECT at a time: these are 2 statements'],
    ['SELECT $1', 'a parameter has no value here'],
  ])('%j is refused: %s', async (sql, message) => {
    expect((await failure(sql)).message).toContain(message);
  });
});

describe('an error of the statement', () => {
  test('tells the place, and the tables there are when one is unknown', async () => {
    const error = await failure('SELECT *\n FROM trade');
    expect(error.message).toBe('Catalog Error: Table with name trade does not exist!');
    expect((error.cause as Error).message).toBe('LINE 2:  FROM trade\n              ^');
    expect(error.remedy).toContain(
      'trades, trades_now, instruments, instruments_now, candles, candles_newest, anomalies, anomalies_newest',
    );
  });

  test("of its grammar is the parser's", async () => {
    expect((await failure('SELEC 1')).message).toBe('Parser Error: syntax error at or near "SELEC"');
  });

  test('that only a row shows fails the statement', async () => {
    const { message } = await failure('SELECT CAST(trade_id AS INTEGER) FROM trades');
    expect(message).toMatch(/Could not convert string '\w+' to INT32/);
  });
});

test('an interrupt ends a statement that would take long, with its reason', async () => {
  const stop = new AbortController();
  const endless = query.run(
    'SELECT count(*) FROM range(10000000000) a, range(10000000000) b WHERE hash(a, b) = 7',
    stop.signal,
  );
  const outcome = endless.then(async (result) => {
    for await (const _rows of result.cells());
  });
  stop.abort(new MillraceError('INTERRUPTED', 'interrupted'));
  await expect(outcome).rejects.toMatchObject({ code: 'INTERRUPTED' });
});

test('JSON has decimals, times and 64-bit integers as text, and which columns are floats is told', async () => {
  const result = await query.run(
    'SELECT price, _offset, _partition, executed_at, avg(price) OVER () AS mean FROM trades_now LIMIT 1',
  );
  expect(result.columns.map(({ name, type, numeric, inexact }) => [name, type, numeric, inexact])).toEqual([
    ['price', 'DECIMAL(20,8)', true, false],
    ['_offset', 'BIGINT', true, false],
    ['_partition', 'INTEGER', true, false],
    ['executed_at', 'TIMESTAMP WITH TIME ZONE', false, false],
    ['mean', 'DOUBLE', true, true],
  ]);
  const found: unknown[] = [];
  for await (const portion of result.json()) found.push(...portion);
  expect(found).toEqual([
    [expect.stringMatching(/^\d+\.\d{8}$/), expect.any(String), 0, expect.stringMatching(/\+00$/), expect.any(Number)],
  ]);
});
