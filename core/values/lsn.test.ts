import { expect, test } from '@jest/globals';
import { formatLsn, parseLsn } from './lsn.ts';

test.each([
  [0n, '0/0'],
  [23_803_720n, '0/16B3748'],
  [0x1_0000_0001n, '1/1'],
  [0xffff_ffff_ffff_ffffn, 'FFFFFFFF/FFFFFFFF'],
])('LSN %d is written as Postgres writes it, and read: %s', (lsn, text) => {
  expect(formatLsn(lsn)).toBe(text);
  expect(parseLsn(text)).toBe(lsn);
});
