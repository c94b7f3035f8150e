import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from '../../../test/support/property.ts';
import { formatDecimal } from '../decimal.ts';
import {
  addRowHashes,
  type ColumnValue,
  canonicalText,
  duckdbHash,
  formatRowHash,
  hashRow,
  RowHash,
  type TypedColumn,
} from './rowhash.ts';

const columns: readonly TypedColumn[] = [
  { name: 'name', type: { kind: 'text' } },
  { name: 'count', type: { kind: 'int' } },
  { name: 'big "one"', type: { kind: 'long' } },
  { name: 'price', type: { kind: 'decimal', precision: 20, scale: 8 } },
  { name: 'notional', type: { kind: 'decimal', precision: 38, scale: 16 } },
  { name: 'at', type: { kind: 'timestamp' } },
];

const bounded = (digits: number) => fc.bigInt({ min: -(10n ** BigInt(digits)) + 1n, max: 10n ** BigInt(digits) - 1n });
const orNull = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: null });
const aRow: fc.Arbitrary<ColumnValue[]> = fc
  .tuple(
    orNull(fc.string({ unit: fc.constantFrom('a', '', '\\', "'", 'é', '🎉', '\u001f', '\n', 'N') })),
    orNull(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })),
    orNull(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })),
    orNull(bounded(20)),
    orNull(bounded(38)),
    orNull(fc.bigInt({ min: -62_135_596_800_000_000n, max: 253_402_300_799_999_999n })),
  )
  .map((row) => [...row]);

/** Rows as a SQL table, written from the values alone. */
function valuesOf(rows: readonly (readonly ColumnValue[])[]): string {
  const cell = (value: ColumnValue | undefined, i: number): string => {
    const { type } = columns[i] as TypedColumn;
    if (value === null || value === undefined) return type.kind === 'timestamp' ? 'NULL::TIMESTAMPTZ' : 'NULL';
    switch (type.kind) {
      case 'text':
        return `'${String(value).replaceAll("'", "''")}'`;
      case 'decimal':
        return `'${formatDecimal(value as bigint, type.scale)}'::DECIMAL(${type.precision},${type.scale})`;
      case 'timestamp':
        return `make_timestamptz('${value}'::BIGINT)`;
      default:
        return `'${value}'::BIGINT`;
    }
  };
  const names = columns.map(({ name }) => `"${name.replaceAll('"', '""')}"`).join(', ');
  return `(VALUES ${rows.map((row) => `(${columns.map((_, i) => cell(row[i], i)).join(', ')})`).join(', ')}) AS t(${names})`;
}

function hashOf(rows: readonly (readonly ColumnValue[])[]): RowHash {
  const hash = new RowHash();
  for (const row of rows) hash.add(columns, row);
  return hash;
}

describe('the row hash', () => {
  test('of a known row is known, so that it never changes unnoticed', () => {
    const row = ['é', -1, 9_007_199_254_740_993n, -1n, 1n, 1_385_337_600_000_001n];
    expect(canonicalText(columns, row)).toBe(
      'é\u001f-1\u001f9007199254740993\u001f-0.00000001\u001f0.0000000000000001\u001f1385337600000001',
    );
    expect(hashRow([{ name: 'name', type: { kind: 'text' } }], ['abc'])).toBe(0x900150983cd24fb0n);
    expect(hashOf([row]).toString()).toMatch(/^[0-9a-f]{16}$/);
  });

  test('tells a null from an empty text, and one column from another', () => {
    const distinct = [
      [null, null, null, null, null, null],
      ['', null, null, null, null, null],
      [null, 0, null, null, null, null],
      [null, null, 0n, null, null, null],
      [null, null, null, 0n, null, null],
    ];
    expect(new Set(distinct.map((row) => hashOf([row]).toString())).size).toBe(distinct.length);
  });

  test('does not depend on the order of rows, and counts a doubled row twice', () => {
    fc.assert(
      fc.property(fc.array(aRow, { minLength: 1, maxLength: 6 }), (rows) => {
        const all = hashOf(rows);
        expect(hashOf([...rows].reverse()).value).toBe(all.value);
        const [first = []] = rows;
        expect(hashOf([...rows, first]).value).toBe(addRowHashes(all.value, hashOf([first]).value));
      }),
    );
  });

  test('stays below 2^64 over many rows', () => {
    const hash = new RowHash();
    for (let i = 0; i < 1_000; i++) hash.add(columns, [`r${i}`, i, null, null, null, null]);
    expect(hash.value).toBeLessThan(1n << 64n);
    expect(formatRowHash(hash.value)).toBe(hash.toString());
    expect(hash.rows).toBe(1_000);
  });
});

describe('in DuckDB', () => {
  let db: DuckDBConnection;
  beforeAll(async () => {
    db = await (await DuckDBInstance.create(':memory:')).connect();
  });
  afterAll(() => db.closeSync());

  test('the same rows have the same canonical text and the same hash', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(aRow, { minLength: 1, maxLength: 20 }), async (rows) => {
        const table = valuesOf(rows);
        const texts = await db.runAndReadAll(`SELECT ${duckdbHash.text(columns)} FROM ${table}`);
        expect(texts.getRows().map(([text]) => text)).toEqual(rows.map((row) => canonicalText(columns, row)));
        const sums = await db.runAndReadAll(`SELECT ${duckdbHash.sum(columns)} FROM ${table}`);
        expect(BigInt(sums.getRows()[0]?.[0] as string)).toBe(hashOf(rows).value);
      }),
      { numRuns: 60 },
    );
  });

  test('a boolean is the same text in DuckDB as here', async () => {
    const flag: readonly TypedColumn[] = [{ name: 'active', type: { kind: 'boolean' } }];
    for (const value of [true, false, null]) {
      const table = `(VALUES (${value}::BOOLEAN)) AS t(active)`;
      const [[text] = []] = (await db.runAndReadAll(`SELECT ${duckdbHash.text(flag)} FROM ${table}`)).getRows();
      expect(text).toBe(canonicalText(flag, [value]));
      const hash = new RowHash();
      hash.add(flag, [value]);
      const sums = await db.runAndReadAll(`SELECT ${duckdbHash.sum(flag)} FROM ${table}`);
      expect(sums.getRows()).toEqual([[String(hash.value)]]);
    }
  });

  test('no rows have the hash 0', async () => {
    const sums = await db.runAndReadAll(`SELECT ${duckdbHash.sum(columns)} FROM ${valuesOf([[]])} WHERE false`);
    expect(sums.getRows()).toEqual([['0']]);
    expect(hashOf([]).value).toBe(0n);
  });
});
