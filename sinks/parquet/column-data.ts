import type { ColumnSource } from 'hyparquet-writer/src/types.js';
import type { ColumnValue, TypedColumn } from '../../core/rowhash.ts';

/** One column of the row group in the making. */
export interface ColumnData {
  add(value: ColumnValue): void;
  /** What the writer is given. */
  readonly source: Omit<ColumnSource, 'name'>;
  /** Set when the writer cannot make them from what it is given. */
  readonly statistics?: Statistics;
}

export interface Statistics {
  readonly min_value?: bigint;
  readonly max_value?: bigint;
  readonly null_count: bigint;
}

export const decimalBytes = 16;

export function columnData({ type }: TypedColumn): ColumnData {
  return type.kind === 'decimal' ? new DecimalData() : new PlainData();
}

class PlainData implements ColumnData {
  readonly #values: ColumnValue[] = [];

  add(value: ColumnValue): void {
    this.#values.push(value);
  }

  get source(): Omit<ColumnSource, 'name'> {
    return { data: this.#values };
  }
}

const valuesPerSlab = 1024;

/**
 * Decimals as the 16 bytes that Parquet wants, two's complement, big endian. The writer would make them itself, one byte at a time,
 * which took a tenth of all time; its statistics of such bytes would compare without sign, so they are made here.
 */
class DecimalData implements ColumnData {
  readonly #values: (Uint8Array | null)[] = [];
  #slab = Buffer.alloc(0);
  #used = 0;
  #min: bigint | undefined;
  #max: bigint | undefined;
  #nulls = 0;

  add(value: ColumnValue): void {
    if (typeof value !== 'bigint') {
      this.#nulls++;
      this.#values.push(null);
      return;
    }
    if (this.#used === this.#slab.length) {
      this.#slab = Buffer.allocUnsafeSlow(valuesPerSlab * decimalBytes);
      this.#used = 0;
    }
    this.#slab.writeBigInt64BE(BigInt.asIntN(64, value >> 64n), this.#used);
    this.#slab.writeBigUInt64BE(BigInt.asUintN(64, value), this.#used + 8);
    this.#values.push(this.#slab.subarray(this.#used, this.#used + decimalBytes));
    this.#used += decimalBytes;
    if (this.#min === undefined || value < this.#min) this.#min = value;
    if (this.#max === undefined || value > this.#max) this.#max = value;
  }

  get source(): Omit<ColumnSource, 'name'> {
    return { data: this.#values, statistics: false };
  }

  get statistics(): Statistics {
    const null_count = BigInt(this.#nulls);
    if (this.#min === undefined || this.#max === undefined) return { null_count };
    return { min_value: this.#min, max_value: this.#max, null_count };
  }
}
