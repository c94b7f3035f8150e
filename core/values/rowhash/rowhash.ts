/**
 * The row hash, by which stores that share no format are compared: the sum, modulo 2^64, of the first 8 bytes (big endian) of the MD5 of
 * each row's canonical text. A sum does not depend on the order of rows, and differences of sums are sums of differences.
 *
 * Canonical text: the columns in schema order with U+001F between them; null is U+001E, which no value of ours is; decimals with exactly
 * their scale's fraction digits; timestamps and integers as decimal integers (timestamps in microseconds since 1970); booleans as `true` and
 * `false`; text as it is.
 *
 * MD5 because Postgres and DuckDB both have it. It finds accidents, not attacks.
 */

import { formatDecimal } from '../decimal.ts';
import { quoted } from '../sql.ts';
import { RowText } from './row-text.ts';

export type ColumnType =
  | { readonly kind: 'text' }
  /** 32 bits; `number` in JavaScript. */
  | { readonly kind: 'int' }
  /** 64 bits; `bigint` in JavaScript. */
  | { readonly kind: 'long' }
  /** `bigint` of units at `scale`. */
  | { readonly kind: 'decimal'; readonly precision: number; readonly scale: number }
  | { readonly kind: 'boolean' }
  /** `bigint` of microseconds since 1970, UTC. */
  | { readonly kind: 'timestamp' };

export interface TypedColumn {
  readonly name: string;
  readonly type: ColumnType;
}

export type ColumnValue = string | number | bigint | boolean | null;

const separator = '\u001f';
const nullToken = '\u001e';
const separatorByte = 0x1f;
const nullByte = 0x1e;
const modulus = 1n << 64n;

export function canonicalText(columns: readonly TypedColumn[], row: readonly ColumnValue[]): string {
  let text = '';
  for (let i = 0; i < columns.length; i++) {
    if (i > 0) text += separator;
    const value = row[i];
    const type = columns[i]?.type;
    if (value === null || value === undefined) text += nullToken;
    else if (type?.kind === 'decimal') text += formatDecimal(value as bigint, type.scale);
    else text += value;
  }
  return text;
}

const rowText = new RowText();
const digest = { high: 0, low: 0 };

/** Puts into `digest` what a row adds to the row hash: the hash of its canonical text, which is not made. */
function digestRow(columns: readonly TypedColumn[], row: readonly ColumnValue[]): void {
  rowText.clear();
  for (let i = 0; i < columns.length; i++) {
    if (i > 0) rowText.byte(separatorByte);
    const value = row[i];
    const type = columns[i]?.type;
    if (value === null || value === undefined) rowText.byte(nullByte);
    else if (type?.kind === 'decimal') rowText.decimal(value as bigint, type.scale);
    else if (typeof value === 'string') rowText.text(value);
    else if (typeof value === 'boolean') rowText.text(String(value));
    else rowText.integer(value);
  }
  rowText.hash(digest);
}

/** What a row adds to the row hash: the first 8 bytes of the MD5 of its canonical text, 0 to 2^64 - 1. */
export function hashRow(columns: readonly TypedColumn[], row: readonly ColumnValue[]): bigint {
  digestRow(columns, row);
  return join(digest.high, digest.low);
}

/** Adds up in two halves of 32 bits, which numbers hold exactly: a bigint per row would cost as much as the MD5 itself. */
export class RowHash {
  #high = 0;
  #low = 0;
  #rows = 0;

  add(columns: readonly TypedColumn[], row: readonly ColumnValue[]): void {
    digestRow(columns, row);
    const low = this.#low + digest.low;
    const carry = low >= two32 ? 1 : 0;
    this.#low = low - carry * two32;
    this.#high = (this.#high + digest.high + carry) % two32;
    this.#rows++;
  }

  get rows(): number {
    return this.#rows;
  }

  /** 0 to 2^64 - 1. */
  get value(): bigint {
    return join(this.#high, this.#low);
  }

  toString(): string {
    return formatRowHash(this.value);
  }
}

const two32 = 2 ** 32;

function join(high: number, low: number): bigint {
  return (BigInt(high) << 32n) | BigInt(low);
}

/** 16 hexadecimal digits. */
export function formatRowHash(value: bigint): string {
  return value.toString(16).padStart(16, '0');
}

/** The hash of all rows of two disjoint sets. */
export function addRowHashes(a: bigint, b: bigint): bigint {
  return (a + b) % modulus;
}

export interface SqlDialect {
  /** An SQL expression for the canonical text of one row. */
  text(columns: readonly TypedColumn[]): string;
  /**
   * An aggregate SQL expression for the row hash of all rows, as the decimal text of a number from 0 to 2^64 - 1; '0' for no rows.
   * Read it with `BigInt`.
   */
  sum(columns: readonly TypedColumn[]): string;
}

export const postgresHash: SqlDialect = {
  text(columns) {
    return parts(columns, ({ name, type }) => {
      const column = quoted(name);
      switch (type.kind) {
        case 'decimal':
          return `(${column})::numeric(${type.precision},${type.scale})::text`;
        case 'timestamp':
          return `trunc(extract(epoch from ${column}) * 1000000)::bigint::text`;
        case 'int':
        case 'long':
          return `(${column})::bigint::text`;
        case 'boolean':
        case 'text':
          return `(${column})::text`;
      }
    }).join(' || chr(31) || ');
  },
  sum(columns) {
    const bits = `('x' || substr(md5(convert_to(${this.text(columns)}, 'UTF8')), 1, 16))::bit(64)::bigint`;
    // bigint is signed: the remainder is brought back to 0 … 2^64 - 1 once, at the end.
    return `mod(mod(coalesce(sum((${bits})::numeric), 0), ${modulus}) + ${modulus}, ${modulus})::text`;
  },
};

export const duckdbHash: SqlDialect = {
  text(columns) {
    const texts = parts(columns, ({ name, type }) => {
      const column = quoted(name);
      switch (type.kind) {
        case 'decimal':
          return `(${column})::DECIMAL(${type.precision},${type.scale})::VARCHAR`;
        case 'timestamp':
          return `epoch_us(${column})::VARCHAR`;
        case 'int':
        case 'long':
          return `(${column})::BIGINT::VARCHAR`;
        case 'boolean':
        case 'text':
          return `(${column})::VARCHAR`;
      }
    });
    // One call: each of the operators in between would copy all that is before it.
    return `concat_ws(chr(31), ${texts.join(', ')})`;
  },
  sum(columns) {
    return duckdbSum(duckdbRowHash(this.text(columns)));
  },
};

/** In DuckDB: what a row of this canonical text adds to the row hash, as `hashRow`. UBIGINT. */
export function duckdbRowHash(text: string): string {
  return `('0x' || substr(md5(${text}), 1, 16))::UBIGINT`;
}

/** In DuckDB: an aggregate for the row hash of rows that are hashed already, as `SqlDialect.sum`. */
export function duckdbSum(hash: string): string {
  return `(coalesce(sum((${hash})::HUGEINT), 0) % ${modulus})::VARCHAR`;
}

/** The columns' texts, never null. Of no column the text is empty. */
function parts(columns: readonly TypedColumn[], text: (column: TypedColumn) => string): string[] {
  return columns.length === 0 ? ["''"] : columns.map((column) => `coalesce(${text(column)}, chr(30))`);
}
