import { describe, expect, test } from '@jest/globals';
import fc from '../../../test/support/property.ts';
import type { ColumnValue, TypedColumn } from '../../values/rowhash/rowhash.ts';
import { queryParquet } from '../fixtures/read.ts';
import { columnData } from './column-data.ts';
import { ParquetFile } from './writer.ts';

const long = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const decimal = fc.bigInt({ min: -(10n ** 38n - 1n), max: 10n ** 38n - 1n });
const int = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const text = fc.string({ unit: 'grapheme', maxLength: 40 });

const columns: readonly TypedColumn[] = [
  { name: 'l', type: { kind: 'long' } },
  { name: 'd', type: { kind: 'decimal', precision: 38, scale: 0 } },
  { name: 'i', type: { kind: 'int' } },
  { name: 't', type: { kind: 'text' } },
];

const orNull = <T>(of: fc.Arbitrary<T>) => fc.option(of, { nil: null });

describe('a column', () => {
  test('gives DuckDB back any value in any order, and finds it through its statistics', async () => {
    const row = fc.tuple(orNull(long), orNull(decimal), orNull(int), orNull(text));
    await fc.assert(
      fc.asyncProperty(fc.array(row, { minLength: 1, maxLength: 300 }), fc.nat(), async (rows, pick) => {
        const file = new ParquetFile(columns);
        for (const each of rows) file.add(each);
        const bytes = file.finish({});
        const read = await queryParquet(bytes, 'SELECT l::VARCHAR AS l, d::VARCHAR AS d, i, t FROM FILE');
        expect(read).toEqual(
          rows.map(([l, d, i, t]) => ({ l: l?.toString() ?? null, d: d?.toString() ?? null, i, t })),
        );
        const [l, d] = rows[pick % rows.length] ?? [];
        const count = async (condition: string) =>
          Number((await queryParquet(bytes, `SELECT count(*) AS n FROM FILE WHERE ${condition}`))[0]?.['n']);
        if (l !== null && l !== undefined) expect(await count(`l = (${l})::BIGINT`)).toBeGreaterThan(0);
        if (d !== null && d !== undefined) expect(await count(`d = '${d}'::DECIMAL(38,0)`)).toBeGreaterThan(0);
      }),
      { numRuns: 15 },
    );
  });

  test('keeps differences of 64-bit extremes', async () => {
    const file = new ParquetFile(columns);
    const extremes = [-(2n ** 63n), 2n ** 63n - 1n, -(2n ** 63n), 0n, 2n ** 63n - 1n];
    for (const value of extremes) file.add([value, null, null, null]);
    const read = await queryParquet(file.finish({}), 'SELECT l FROM FILE');
    expect(read.map(({ l }) => l)).toEqual(extremes.map(String));
  });

  test.each<[TypedColumn['type'], ColumnValue[], object]>([
    [{ kind: 'long' }, [3n, null, -1n, 2n], { min_value: -1n, max_value: 3n, null_count: 1n }],
    [{ kind: 'decimal', precision: 38, scale: 2 }, [0n, -5n], { min_value: -5n, max_value: 0n, null_count: 0n }],
    [{ kind: 'text' }, ['b', 'a', 'a', 'c', null], { min_value: 'a', max_value: 'c', null_count: 1n }],
    [{ kind: 'int' }, [null, null], { null_count: 2n }],
  ])('of %j with %j has the statistics %j', (type, values, statistics) => {
    const data = columnData({ name: 'x', type });
    for (const value of values) data.add(value);
    expect(data.statistics).toEqual(statistics);
  });
});
