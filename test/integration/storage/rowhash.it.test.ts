/** The row hash in Postgres: the twin of core/values/rowhash/rowhash.test.ts, which holds JavaScript and DuckDB equal. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Client } from 'pg';
import { connectPostgres } from '../../../core/base/postgres.ts';
import { formatDecimal } from '../../../core/values/decimal.ts';
import {
  type ColumnValue,
  canonicalText,
  formatRowHash,
  postgresHash,
  RowHash,
  type TypedColumn,
} from '../../../core/values/rowhash/rowhash.ts';
import { formatTimestamp } from '../../../core/values/time.ts';
import { testConfig } from '../../support/stack.ts';

const columns: readonly TypedColumn[] = [
  { name: 'te"xt', type: { kind: 'text' } },
  { name: 'small', type: { kind: 'int' } },
  { name: 'large', type: { kind: 'long' } },
  { name: 'price', type: { kind: 'decimal', precision: 20, scale: 8 } },
  { name: 'exact', type: { kind: 'decimal', precision: 38, scale: 16 } },
  { name: 'at', type: { kind: 'timestamp' } },
];

const rows: readonly (readonly ColumnValue[])[] = [
  ['plain', 1, 2n, 85_012_000_000n, 10n ** 38n - 1n, 1_385_423_999_123_456n],
  ['', -1, -(2n ** 63n), -1n, -(10n ** 38n - 1n), -1n],
  ['é 😀 \\ \' "', 2_147_483_647, 2n ** 63n - 1n, 0n, 0n, 253_402_300_799_999_999n],
  [null, null, null, null, null, null],
  ['a', null, 9_007_199_254_740_993n, null, -7n, 946_684_800_000_000n],
];

describe('the row hash in Postgres', () => {
  let db: Client;

  beforeAll(async () => {
    db = await connectPostgres({ url: testConfig().postgres.url, name: 'millrace test' });
    await db.query(
      `CREATE TEMPORARY TABLE hashed (n int, "te""xt" text, small int, large bigint, price numeric(20,8), exact numeric(38,16), at timestamptz)`,
    );
    for (const [n, row] of rows.entries()) {
      const values = row.map((value, i) => parameter(columns[i] as TypedColumn, value));
      await db.query('INSERT INTO hashed VALUES ($1, $2, $3, $4, $5, $6, $7)', [n, ...values]);
    }
  });

  afterAll(() => db.end());

  test.each(['UTC', 'Asia/Kathmandu'])('sees the same canonical text, whatever the time zone: %s', async (zone) => {
    await db.query(`SET TIME ZONE '${zone}'`);
    const { rows: found } = await db.query(`SELECT ${postgresHash.text(columns)} AS text FROM hashed ORDER BY n`);
    expect(found.map(({ text }) => text)).toEqual(rows.map((row) => canonicalText(columns, row)));
  });

  test('is the same sum', async () => {
    const { rows: found } = await db.query(`SELECT ${postgresHash.sum(columns)} AS hash FROM hashed`);
    expect(formatRowHash(BigInt(found[0].hash))).toBe(hashOf(rows).toString());
  });

  test('is the same sum of many rows, beyond 2^64', async () => {
    const many = Array.from({ length: 500 }, (_, i): ColumnValue[] => [`${i}`]);
    const one = [{ name: 'text', type: { kind: 'text' } }] as const;
    const { rows: found } = await db.query(
      `SELECT ${postgresHash.sum(one)} AS hash FROM (SELECT i::text AS text FROM generate_series(0, 499) AS i) AS s`,
    );
    const hash = new RowHash();
    for (const row of many) hash.add(one, row);
    expect(BigInt(found[0].hash)).toBe(hash.value);
  });

  test('of no rows is 0', async () => {
    const { rows: found } = await db.query(`SELECT ${postgresHash.sum(columns)} AS hash FROM hashed WHERE false`);
    expect(found[0].hash).toBe('0');
  });
});

function hashOf(all: typeof rows): RowHash {
  const hash = new RowHash();
  for (const row of all) hash.add(columns, row);
  return hash;
}

function parameter({ type }: TypedColumn, value: ColumnValue): string | null {
  if (value === null) return null;
  if (type.kind === 'decimal') return formatDecimal(value as bigint, type.scale);
  if (type.kind === 'timestamp') return formatTimestamp(value as bigint);
  return String(value);
}
