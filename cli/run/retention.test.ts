import { expect, test } from '@jest/globals';
import { offsetRetentionDays, offsetRetentionWarning, shortfallOf } from './retention.ts';

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

const hour = 3_600_000;
const week = { 'cleanup.policy': 'delete', 'retention.ms': String(168 * hour), 'retention.bytes': '-1' };

test.each([
  ['long enough', week],
  ['without an end', { ...week, 'retention.ms': '-1' }],
  [
    'compacted late enough',
    { 'cleanup.policy': 'compact', 'min.compaction.lag.ms': String(hour), 'retention.bytes': '5' },
  ],
])('a topic that keeps its records %s will do', (_, settings) => {
  expect(shortfallOf(settings, hour)).toBeUndefined();
});

test.each([
  ['retention.ms', { ...week, 'retention.ms': String(hour - 1) }],
  ['retention.bytes', { ...week, 'retention.bytes': '1073741824' }],
  ['retention.bytes', { ...week, 'retention.ms': '-1', 'retention.bytes': '1073741824' }],
  ['min.compaction.lag.ms', { ...week, 'cleanup.policy': 'compact', 'min.compaction.lag.ms': '0' }],
  [
    'retention.bytes',
    { ...week, 'cleanup.policy': 'compact,delete', 'min.compaction.lag.ms': String(hour), 'retention.bytes': '9' },
  ],
])('a topic that may drop what a window needs is refused, and %s is named', (setting, settings) => {
  const short = shortfallOf(settings, hour);
  expect(short?.why).toContain(setting);
  expect(short?.remedy).toContain(setting);
});
