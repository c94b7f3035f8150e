import { Writable } from 'node:stream';
import type { Json } from '@duckdb/node-api';
import { describe, expect, test } from '@jest/globals';
import type { QueryResult, QueryValue, ResultColumn } from '../../../core/archive/reading/query.ts';
import { type Format, printResult } from './output.ts';
import { notes } from './sql.ts';

class Sink extends Writable {
  text = '';
  /** Chunks written so far. */
  taken = 0;

  constructor() {
    super({ highWaterMark: 1, decodeStrings: false });
  }

  override _write(chunk: string, _encoding: string, done: () => void): void {
    this.text += chunk;
    this.taken++;
    setImmediate(done);
  }
}

const text = (name: string): ResultColumn => ({ name, type: 'VARCHAR', numeric: false, inexact: false });
const number = (name: string): ResultColumn => ({ name, type: 'DECIMAL(20,8)', numeric: true, inexact: false });

function result(columns: readonly ResultColumn[], ...portions: (readonly (readonly QueryValue[])[])[]): QueryResult {
  async function* each() {
    yield* portions;
  }
  return { columns, cells: each, json: each as () => AsyncIterable<readonly (readonly Json[])[]> };
}

async function print(of: QueryResult, format: Format, limit?: number) {
  const out = new Sink();
  const printed = await printResult(of, format, limit, out);
  return { ...printed, text: out.text };
}

const sample = (): QueryResult =>
  result(
    [text('symbol'), number('price')],
    [
      ['BTC-USD', '850.12000000'],
      ['', null],
    ],
    [['a,"b"\n\u001b[2J', '-1.00000000']],
  );

describe('a result', () => {
  test('as a table: numbers to the right, nulls visible, control characters as escapes', async () => {
    expect((await print(sample(), 'table')).text).toBe(
      [
        'symbol                   price',
        'BTC-USD           850.12000000',
        '                          NULL',
        'a,"b"\\n\\u001b[2J   -1.00000000',
        '',
      ].join('\n'),
    );
  });

  test('as CSV: null is an empty cell, an empty text is quoted', async () => {
    expect((await print(sample(), 'csv')).text).toBe(
      'symbol,price\nBTC-USD,850.12000000\n"",\n"a,""b""\n\u001b[2J",-1.00000000\n',
    );
  });

  test('as JSON: an array of objects', async () => {
    expect(JSON.parse((await print(sample(), 'json')).text)).toEqual([
      { symbol: 'BTC-USD', price: '850.12000000' },
      { symbol: '', price: null },
      { symbol: 'a,"b"\n\u001b[2J', price: '-1.00000000' },
    ]);
  });

  test('as JSON keeps columns of the same name', async () => {
    const twice = result([text('a'), text('a'), text('a_1')], [['1', '2', '3']]);
    expect(JSON.parse((await print(twice, 'json')).text)).toEqual([{ a: '1', a_1: '2', a_1_1: '3' }]);
  });

  test.each([
    ['table', 'symbol\n'],
    ['csv', 'symbol\n'],
    ['json', '[]\n'],
  ] as const)('without rows is whole as %s', async (format, expected) => {
    expect(await print(result([text('symbol')]), format)).toEqual({ rows: 0, more: false, text: expected });
  });

  test.each(['table', 'csv', 'json'] as const)(
    'as %s ends at the limit and says whether there was more',
    async (format) => {
      const at = async (limit: number) => {
        const { rows, more } = await print(sample(), format, limit);
        return [rows, more];
      };
      expect(await at(1)).toEqual([1, true]);
      expect(await at(2)).toEqual([2, true]);
      expect(await at(3)).toEqual([3, false]);
      expect(await at(0)).toEqual([0, true]);
    },
  );

  test('that is long is written as it arrives, and waits for a slow reader', async () => {
    let produced = 0;
    const out = new Sink();
    let ahead = 0;
    async function* portions() {
      for (; produced < 50; produced++) {
        ahead = Math.max(ahead, produced - out.taken);
        yield Array.from({ length: 1000 }, () => ['x']);
      }
    }
    const { rows } = await printResult(
      { columns: [text('a')], cells: portions, json: portions },
      'table',
      undefined,
      out,
    );
    expect(rows).toBe(50_000);
    expect(ahead).toBeLessThanOrEqual(2);
    expect(out.text.split('\n')).toHaveLength(50_002);
  });
});

describe('the notes on standard error', () => {
  const printed = { rows: 1, more: false };
  const files = new Map([['market.candles', ['a', 'b']]] as const);

  test('tell rows and files', () => {
    expect(notes('', { columns: [] }, printed, files, {})).toEqual(['1 row from 2 files of market.candles']);
    expect(notes('', { columns: [] }, { rows: 5, more: true }, new Map(), {})).toEqual([
      '5 rows, and there are more (--limit)',
    ]);
  });

  test('tell which columns the statement made inexact', () => {
    const columns = [number('price'), { name: 'mean', type: 'DOUBLE', numeric: true, inexact: true }];
    expect(notes('', { columns }, printed, files, {})[1]).toContain('mean is binary floating point');
  });

  test('tell that an update may have moved a trade to another day', () => {
    const sql = 'SELECT * FROM Trades_Now';
    expect(notes(sql, { columns: [] }, printed, files, { day: '2013-11-25' })).toHaveLength(2);
    expect(notes(sql, { columns: [] }, printed, files, {})).toHaveLength(1);
    expect(notes('SELECT * FROM trades', { columns: [] }, printed, files, { from: '2013-11-25' })).toHaveLength(1);
  });
});
