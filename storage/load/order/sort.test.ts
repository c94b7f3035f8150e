import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { formatTimestamp } from '../../../core/values/time.ts';
import fc from '../../../test/support/property.ts';
import type { ParsedRow } from '../rows/row.ts';
import { Sorter, type SortOptions } from './sort.ts';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'millrace-'));
});
afterAll(() => rm(dir, { recursive: true }));

async function sorted(times: readonly number[], options: SortOptions): Promise<(readonly [number, number])[]> {
  await using sorter = new Sorter({ dir, ...options });
  for (const [index, at] of times.entries()) {
    const executedAt = formatTimestamp(BigInt(at));
    await sorter.add({ row: { executedAt, line: index, symbol: '\u2028"\n' } as ParsedRow, raw: `a\u2029${at}` });
  }
  const read = async () => {
    const found: (readonly [number, number])[] = [];
    for await (const { row, raw } of sorter.sorted()) {
      expect(row.symbol).toBe('\u2028"\n');
      found.push([Number(raw.slice(2)), row.line]);
    }
    return found;
  };
  const once = await read();
  expect(await read()).toEqual(once);
  return once;
}

test('rows are sorted by time and then by line for any runs; with reverse, by descending line', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(5), { maxLength: 30 }), fc.integer({ min: 1, max: 8 }), async (times, runRows) => {
      const expected = times.map((at, line) => [at, line] as const).toSorted(([a, i], [b, j]) => a - b || i - j);
      expect(await sorted(times, { runRows })).toEqual(expected);
      const reversed = times.map((at, line) => [at, line] as const).toSorted(([a, i], [b, j]) => a - b || j - i);
      expect(await sorted(times, { runRows, reverse: true })).toEqual(reversed);
    }),
    { numRuns: 20 },
  );
});

test('runs are gone when the sorter is disposed of, also when it was read in part', async () => {
  {
    await using sorter = new Sorter({ dir, runRows: 2 });
    for (let line = 0; line < 9; line++)
      await sorter.add({ row: { executedAt: formatTimestamp(0n), line } as ParsedRow, raw: '' });
    for await (const { row } of sorter.sorted()) if (row.line === 3) break;
    expect(await readdir(dir)).toHaveLength(1);
  }
  expect(await readdir(dir)).toEqual([]);
});
