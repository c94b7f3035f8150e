import { describe, expect, test } from '@jest/globals';
import type { SchemaElement } from 'hyparquet';
import { ByteWriter, ParquetWriter } from 'hyparquet-writer';
import fc from '../../../test/support/property.ts';
import type { FileColumn, FileValue } from './source-columns.ts';
import { ParquetFile } from './writer.ts';
import { zstd } from './zstd.ts';

const columns: readonly FileColumn[] = [
  { name: 'long', type: { kind: 'long' } },
  { name: 'time', type: { kind: 'timestamp' } },
  { name: 'decimal', type: { kind: 'decimal', precision: 38, scale: 4 } },
  { name: 'int', type: { kind: 'int' } },
  { name: 'text', type: { kind: 'text' } },
  { name: 'boolean', type: { kind: 'boolean' } },
  { name: 'double', type: { kind: 'double' } },
];

const optional = { repetition_type: 'OPTIONAL' } as const;

const elements: readonly SchemaElement[] = [
  { name: 'root', num_children: columns.length },
  { ...optional, name: 'long', type: 'INT64' },
  {
    ...optional,
    name: 'time',
    type: 'INT64',
    converted_type: 'TIMESTAMP_MICROS',
    logical_type: { type: 'TIMESTAMP', isAdjustedToUTC: true, unit: 'MICROS' },
  },
  {
    ...optional,
    name: 'decimal',
    type: 'FIXED_LEN_BYTE_ARRAY',
    type_length: 16,
    precision: 38,
    scale: 4,
    logical_type: { type: 'DECIMAL', precision: 38, scale: 4 },
  },
  { ...optional, name: 'int', type: 'INT32' },
  { ...optional, name: 'text', type: 'BYTE_ARRAY', converted_type: 'UTF8', logical_type: { type: 'STRING' } },
  { ...optional, name: 'boolean', type: 'BOOLEAN' },
  { ...optional, name: 'double', type: 'DOUBLE' },
];

/** The bytes before the footer: what hyparquet-writer makes of the same rows. */
function pagesOf(rows: readonly (readonly FileValue[])[]): Buffer {
  const writer = new ByteWriter();
  const file = new ParquetWriter({
    writer,
    schema: [...elements],
    codec: 'ZSTD',
    compressors: { ZSTD: zstd },
    statistics: false,
  });
  for (let from = 0; from < rows.length; from += rowGroupRows) {
    const group = rows.slice(from, from + rowGroupRows);
    file.write({
      columnData: columns.map(({ name, type }, i) => {
        const data = group.map((row) => plain(type, row[i] ?? null));
        const delta = type.kind === 'long' || type.kind === 'timestamp';
        return { name, data, ...(delta ? { encoding: 'DELTA_BINARY_PACKED' as const } : {}) };
      }),
      rowGroupSize: rowGroupRows,
      pageSize: 1 << 20,
    });
  }
  return Buffer.from(writer.getBytes());
}

const rowGroupRows = 50_000;

function plain({ kind }: FileColumn['type'], value: FileValue): unknown {
  if (kind !== 'decimal' || value === null) return value;
  return Buffer.from(
    BigInt.asUintN(128, value as bigint)
      .toString(16)
      .padStart(32, '0'),
    'hex',
  );
}

function expectSameBytes(rows: readonly (readonly FileValue[])[]): void {
  const file = new ParquetFile(columns);
  for (const row of rows) file.add(row);
  const expected = pagesOf(rows);
  const bytes = file.finish({});
  expect(Buffer.compare(bytes.subarray(0, expected.length), expected)).toBe(0);
}

/** Any value of it, one of a few, or null. */
function column<T>(any: fc.Arbitrary<T>): fc.Arbitrary<(rows: number) => readonly (T | null)[]> {
  const choice = fc.record({
    values: fc.array(any, { minLength: 1, maxLength: 40 }),
    nulls: fc.constantFrom(0, 0, 1, 3, 10),
    run: fc.constantFrom(1, 1, 5, 30),
    from: fc.nat(40),
  });
  return choice.map(({ values, nulls, run, from }) => (rows) => {
    return Array.from({ length: rows }, (_, row) => {
      if (nulls > 0 && (row + from) % (nulls * 4) < nulls) return null;
      return values[(Math.floor(row / run) * 7 + from) % values.length] as T;
    });
  });
}

const wide = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const near = fc.bigInt({ min: -(2n ** 53n), max: 2n ** 53n });
const small = fc.bigInt({ min: -1_000n, max: 100_000n });
const generated = fc.tuple(
  column(fc.oneof(small, near, wide)),
  column(fc.oneof({ weight: 5, arbitrary: small }, { weight: 1, arbitrary: near })),
  column(fc.oneof(small, near, fc.bigInt({ min: -(10n ** 38n - 1n), max: 10n ** 38n - 1n }))),
  column(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })),
  column(fc.string({ unit: 'grapheme', maxLength: 60 })),
  column(fc.boolean()),
  column(fc.double()),
);

describe('a file', () => {
  test('has the pages that hyparquet-writer makes of the same values', () => {
    fc.assert(
      fc.property(generated, fc.integer({ min: 1, max: 700 }), (makers, rows) => {
        const made = makers.map((make) => make(rows));
        expectSameBytes(Array.from({ length: rows }, (_, row) => made.map((values) => values[row] as FileValue)));
      }),
      { numRuns: 60 },
    );
  });

  test('has them also in several row groups, with large dictionaries, and with columns without a value', () => {
    const rows = Array.from({ length: 50_100 }, (_, row): FileValue[] => [
      BigInt(row) * 3n + BigInt((row * 7_919) % 1_000),
      1_385_423_940_000_000n + BigInt(row) * 250_000n,
      BigInt((row * 104_729) % 9_000),
      row % 11 === 0 ? (row * 31) % 5_000 : 7,
      `symbol-${(row * 7) % 3_000}`,
      row % 3 === 0,
      null,
    ]);
    expectSameBytes(rows);
  });

  test('has them also where a column takes several pages', () => {
    const rows = Array.from({ length: 3_000 }, (_, row): FileValue[] => [
      row % 2 === 0 ? 2n ** 62n - BigInt(row) : null,
      null,
      null,
      null,
      row % 5 === 0 ? null : `${row} ${'é'.repeat(row % 977)}`,
      null,
      row / 7,
    ]);
    rows[100]?.splice(4, 1, 'x'.repeat(1_500_000));
    rows[101]?.splice(4, 1, null);
    expectSameBytes(rows);
  });
});
