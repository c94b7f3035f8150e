import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { bugs } from './bugs.ts';
import { Copy } from './planting.ts';

/** As many schedules as each scenario has in schedules.test.ts. Each bug shows within far fewer. */
const seeds = 150;
const sound = 20;

describe('the simulation finds a planted bug', () => {
  let copy: Copy;
  beforeAll(() => {
    copy = new Copy();
  });
  afterAll(() => copy[Symbol.dispose]());

  test('and nothing where none is planted', async () => {
    const { runs, failures } = await copy.withBug(undefined, sound);
    expect({ runs, failures }).toEqual({ runs: sound, failures: [] });
  });

  test.each(bugs.map((bug) => [bug.name, bug] as const))(
    '%s',
    async (_, bug) => {
      const { failures } = await copy.withBug(bug, seeds);
      expect(failures).toHaveLength(1);
    },
    180_000,
  );
});
