import { Writable } from 'node:stream';
import { expect, test } from '@jest/globals';
import type { Client } from 'pg';
import { writeBatch } from './batch.ts';
import type { TradeRow } from './rows/row.ts';

/** Accepts statements and the rows of a COPY, and inserts all of them. */
class FakeClient {
  copied = '';
  readonly statements: string[] = [];

  query(statement: string | object): unknown {
    if (typeof statement !== 'string') {
      const write = (chunk: Buffer, _encoding: string, done: () => void) => {
        this.copied += chunk.toString();
        done();
      };
      return new Writable({ write });
    }
    this.statements.push(statement);
    return Promise.resolve({ rowCount: this.copied.split('\n').length - 1, rows: [] });
  }
}

test('rows are inserted in the given order, not in line order: otherwise a sorted file would lose its order', async () => {
  const client = new FakeClient();
  const rows = [9, 3, 5].map((line) => ({ line, venue: 'v', symbol: 's', tradeId: `${line}` }) as TradeRow);
  expect(await writeBatch(client as unknown as Client, rows)).toEqual({ inserted: 3, present: 0, different: [] });
  const cells = client.copied.trimEnd().split('\n');
  expect(cells.map((line) => line.split('\t').slice(0, 2))).toEqual([
    ['0', '9'],
    ['1', '3'],
    ['2', '5'],
  ]);
  expect(client.statements.find((statement) => statement.startsWith('INSERT'))).toContain('ORDER BY place');
});
