import { describe, expect, test } from '@jest/globals';
import type { ColumnValue } from '../../../core/values/rowhash/rowhash.ts';
import { allColumns, textsOf, tradeColumns } from '../texts.ts';
import { agreement } from './agreement.ts';
import { repeated, type TracedChange } from './changes.ts';

const topic = 'cdc.public.trades';
const data = (price: bigint): ColumnValue[] => ['v', 'A/B', 't1', null, price, 1n, 'buy', 0n, null];

function change(offset: bigint, op: string, price: bigint, txId: bigint, lsn = offset): TracedChange {
  const values = [...data(price), topic, 0, offset, lsn, op, 0n, txId];
  const texts = textsOf(allColumns(topic), values);
  return { offset, source: 'log', texts, before: null, recordTime: 0n, schemaId: 1, redriven: null };
}

const row = (price: bigint, xmin: bigint) => ({ texts: textsOf(tradeColumns, data(price)), xmin });
const gone = { texts: null, xmin: null };

function verdict(postgres: Parameters<typeof agreement>[0], ...changes: TracedChange[]) {
  return agreement(postgres, changes, repeated(changes));
}

describe('Postgres and the log agree', () => {
  test('when the row has the values of the change of its transaction', () => {
    expect(verdict(row(5n, 8n), change(1n, 'c', 4n, 7n), change(2n, 'u', 5n, 8n))).toEqual({
      problem: undefined,
      writtenBy: 2n,
    });
  });

  test('also when the log has moved on since the row was read', () => {
    expect(verdict(row(4n, 7n), change(1n, 'c', 4n, 7n), change(2n, 'd', 4n, 8n))).toEqual({
      problem: undefined,
      writtenBy: 1n,
    });
  });

  test('when the row came by a snapshot, whose transaction is another', () => {
    expect(verdict(row(4n, 7n), change(1n, 'r', 4n, 900n))).toEqual({ problem: undefined, writtenBy: null });
  });

  test('when the transaction has more bits than Postgres keeps in the row', () => {
    expect(verdict(row(4n, 7n), change(1n, 'c', 4n, 7n + 2n ** 32n)).writtenBy).toBe(1n);
  });

  test('when the last change is a delete and the row is gone, or there never was one', () => {
    expect(verdict(gone, change(1n, 'c', 4n, 7n), change(2n, 'd', 4n, 8n)).problem).toBeUndefined();
    expect(verdict(gone).problem).toBeUndefined();
  });

  test('when an old change is delivered once more', () => {
    const changes = [change(1n, 'c', 4n, 7n, 10n), change(2n, 'u', 5n, 8n, 11n), change(3n, 'c', 4n, 7n, 10n)];
    expect(verdict(row(5n, 8n), ...changes).problem).toBeUndefined();
    expect(repeated(changes)).toEqual(new Map([[3n, 1n]]));
  });
});

describe('a finding says', () => {
  test('that a value differs, with both, in the eighth decimal', () => {
    expect(verdict(row(5n, 7n), change(1n, 'c', 4n, 7n)).problem).toBe(
      'in Postgres price is 0.00000005, at offset 1 of the log 0.00000004',
    );
  });

  test('that the transaction which wrote the row is not in the log', () => {
    expect(verdict(row(5n, 99n), change(1n, 'c', 4n, 7n)).problem).toContain(
      'transaction 99, which wrote it, is not in the log',
    );
  });

  test('that the row is in Postgres, and the log has none or a delete', () => {
    expect(verdict(row(5n, 99n)).problem).toContain('the log has no change of it');
    expect(verdict(row(5n, 99n), change(1n, 'd', 5n, 7n)).problem).toContain('after the delete at offset 1');
  });

  test('that the row is gone from Postgres without a delete', () => {
    expect(verdict(gone, change(1n, 'c', 4n, 7n)).problem).toBe(
      'the row is gone from Postgres, and the log has no delete after offset 1',
    );
  });
});
