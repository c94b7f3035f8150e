import { expect, test } from '@jest/globals';
import { offsetRetentionDays, offsetRetentionWarning } from './retention.ts';

const brokers = (...minutes: number[]) => ({
  brokerSetting: async () => new Map(minutes.map((each, id) => [id, `${each}`])),
});

test('the broker that keeps offsets for the shortest time decides', async () => {
  expect(await offsetRetentionDays(brokers(2_147_483_647, 10_080))).toBe(7);
});

test.each([
  [7, true],
  [89.9, true],
  [90, false],
  [1_491_308, false],
])('offsets that are kept for %p days are warned of: %p', (days, warned) => {
  const warning = offsetRetentionWarning(days);
  expect(warning !== undefined).toBe(warned);
  if (warned) expect(warning?.remedy).toContain('offsets.retention.minutes');
});
