import { expect, test } from '@jest/globals';
import { parkable, withoutTables } from './parking.ts';

const config = { 'table.include.list': 'public.instruments,public.trades,public.heartbeat', 'slot.name': 's' };

test('a parked table is not in the list of those that are captured, and nothing else differs', () => {
  expect(withoutTables({ name: 'c', config }, ['public.trades'])).toEqual({
    name: 'c',
    config: { ...config, 'table.include.list': 'public.instruments,public.heartbeat' },
  });
  expect(withoutTables({ name: 'c', config }, [])).toEqual({ name: 'c', config });
});

test('the heartbeat cannot be parked: an empty list would be all tables, and log time would stand still', () => {
  expect(parkable('trades')).toBe('public.trades');
  expect(parkable('public.instruments')).toBe('public.instruments');
  for (const table of ['heartbeat', 'public.capture_signals', 'nothing']) {
    expect(() => parkable(table)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
  }
});
