import { expect, test } from '@jest/globals';
import { tables } from '../archive/rows/tables.ts';
import { unavailableValue, wholeRow } from './captured-row.ts';

test('a placeholder is refused in an update, in any column, and by the archive in both rows', () => {
  const row = { id: 'a', extra: unavailableValue };
  expect(() => wholeRow(row, 'u')).toThrow(expect.objectContaining({ code: 'BAD_RECORD', disposition: 'deadLetter' }));
  expect(() => wholeRow(row, 'u')).toThrow('does not tell extra');
  const table = tables['cdc.public.trades'];
  expect(() => table.row({ op: 'u', before: null, after: row })).toThrow('extra');
  expect(() => table.before?.({ op: 'u', before: row, after: { id: 'a' } })).toThrow('extra');
});

test('a text that only looks like it is a value where Postgres tells all of them', () => {
  const row = { id: unavailableValue };
  expect(wholeRow(row, 'c')).toBe(row);
  expect(wholeRow({ id: 'a', extra: null }, 'u')).toEqual({ id: 'a', extra: null });
});
