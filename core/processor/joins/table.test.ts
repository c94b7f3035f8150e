import { describe, expect, test } from '@jest/globals';
import fc from '../../../test/support/property.ts';
import type { TableRecord } from '../define.ts';
import { CapturedTable, type Mark, type RowChange } from './table.ts';

interface Key {
  readonly id: string;
}

interface Row extends Key {
  readonly name: string;
}

interface Fields {
  readonly op?: string;
  readonly row?: Row | null;
  readonly lsn?: number | null;
  readonly partition?: number;
}

function change({ op = 'u', row = null, lsn = 1, partition = 0 }: Fields): TableRecord<Key, RowChange<Row>> {
  const value = {
    op,
    before: op === 'd' ? row : null,
    after: op === 'd' ? null : row,
    source: { sequence: lsn === null ? null : `["${lsn}","${lsn}"]` },
  };
  return { topic: 'table', partition, offset: 0n, key: { id: row?.id ?? '' }, value };
}

function open(rows = new Map<string, Row>(), marks = new Map<string, Mark>()): CapturedTable<Key, Row> {
  return new CapturedTable<Key, Row>({ rows, marks, keyOf: ({ id }) => id });
}

const row = (id: string, name: string): Row => ({ id, name });

describe('a captured table', () => {
  test('has the newest row of a key, and none for a key that it does not know', () => {
    const table = open();
    table.apply(change({ op: 'c', row: row('a', 'first'), lsn: 1 }));
    table.apply(change({ op: 'u', row: row('a', 'second'), lsn: 2 }));
    expect([table.get({ id: 'a' })?.name, table.get({ id: 'b' }), table.size]).toEqual(['second', undefined, 1]);
  });

  test('has no row after a delete, nor after a tombstone', () => {
    const table = open();
    for (const id of ['a', 'b']) table.apply(change({ op: 'c', row: row(id, 'x'), lsn: 1 }));
    table.apply(change({ op: 'd', row: row('a', 'x'), lsn: 2 }));
    table.apply({ topic: 'table', partition: 0, offset: 1n, key: { id: 'b' }, value: null });
    expect([table.get({ id: 'a' }), table.get({ id: 'b' }), table.size]).toEqual([undefined, undefined, 0]);
  });

  test('does not go back to a row whose change is delivered again', () => {
    const table = open();
    const first = change({ op: 'c', row: row('a', 'first'), lsn: 1 });
    table.apply(first);
    table.apply(change({ op: 'u', row: row('a', 'second'), lsn: 2 }));
    expect(table.apply(first)).toBe(false);
    expect(table.get({ id: 'a' })?.name).toBe('second');
  });

  test('does not bring a deleted row back either', () => {
    const table = open();
    const created = change({ op: 'c', row: row('a', 'first'), lsn: 1 });
    table.apply(created);
    table.apply(change({ op: 'd', row: row('a', 'first'), lsn: 2 }));
    table.apply(created);
    expect(table.size).toBe(0);
  });

  test('takes every row of a statement that gave them one LSN, and compares within a partition only', () => {
    const table = open();
    table.apply(change({ row: row('a', 'x'), lsn: 9 }));
    table.apply(change({ row: row('b', 'x'), lsn: 9 }));
    expect(table.apply(change({ row: row('c', 'x'), lsn: 3, partition: 1 }))).toBe(true);
    expect(table.size).toBe(3);
  });

  test('takes the rows of a snapshot as they come', () => {
    const table = open();
    table.apply(change({ row: row('a', 'streamed'), lsn: 9 }));
    table.apply(change({ op: 'r', row: row('a', 'snapshot'), lsn: 3 }));
    table.apply(change({ op: 'r', row: row('b', 'snapshot'), lsn: null }));
    expect([table.get({ id: 'a' })?.name, table.size]).toEqual(['snapshot', 2]);
  });

  test('refuses a change without its row', () => {
    expect(() => open().apply(change({ op: 't' }))).toThrow('a change without its row');
  });

  test('is what the changes in their order give, whatever is delivered again and however often it starts anew', () => {
    const step = fc.record({
      id: fc.constantFrom('a', 'b'),
      op: fc.constantFrom('u', 'd'),
      again: fc.nat(3),
      restart: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const [rows, marks] = [new Map<string, Row>(), new Map<string, Mark>()];
        let table = open(rows, marks);
        const expected = new Map<string, Row>();
        const sent: TableRecord<Key, RowChange<Row>>[] = [];
        for (const [at, { id, op, again, restart }] of steps.entries()) {
          const next = change({ op, row: row(id, `${at}`), lsn: at + 1 });
          sent.push(next);
          table.apply(next);
          if (op === 'd') expected.delete(id);
          else expected.set(id, row(id, `${at}`));
          // A fault: the connector goes on from a few changes before.
          if (again > 0) for (const each of sent.slice(-again)) table.apply(each);
          if (restart) table = open(rows, marks);
          expect([...rows].sort()).toEqual([...expected].sort());
        }
      }),
    );
  });
});
