import { expect, test } from '@jest/globals';
import { renderArchive, splitPage } from './page.ts';

const outcome = {
  ...{
    seed: 7,
    counts: { insert: 1_200, update: 500, delete: 300, transactions: 12 },
    kills: { broker: 2, processors: 1 },
  },
  ...{ trades: 900, files: 30, checks: 15, violations: [], peakBytes: 1024 ** 2, loadSeconds: 61, settleSeconds: 5 },
};

test('the section says what was done and what was found, and takes the place of the one before', () => {
  const section = renderArchive(outcome, new Date('2025-06-02T00:00:00Z'));
  expect(section).toContain('| changes committed | 2,000: 1,200 rows inserted, 500 updated, 300 deleted |');
  expect(section).toContain('| kill -9 | broker 2, processors 1 |');
  expect(section).toContain('| violations | none |');
  const bursts = '# Results\n\n| a | b |\n';
  const page = `${splitPage(bursts).bursts}${section}`;
  expect(splitPage(page)).toEqual({ bursts: `${bursts}\n`, archive: section });
});

test('a violation is in the page, whatever is in its text', () => {
  const violations = ['in Postgres a | b', 'two\nlines'];
  expect(renderArchive({ ...outcome, violations }, new Date())).toContain(
    '| violations | **in Postgres a / b; two lines** |',
  );
});
