import type { ColumnSource } from 'hyparquet-writer/src/types.js';
import { compareUtf8 } from '../../utf8.ts';
import type { FileColumn, FileValue } from './source-columns.ts';

/**
 * One column of the row group in the making. Statistics are made here, while values pass: the writer would go over them again, and of
 * decimals, which it is given as bytes, it would compare the bytes without sign.
 */
export interface ColumnData {
  add(value: FileValue): void;
  /** What the writer is given. */
  readonly source: Omit<ColumnSource, 'name'>;
  readonly statistics: Statistics;
}

export interface Statistics {
  readonly min_value?: FileValue & {};
  readonly max_value?: FileValue & {};
  readonly null_count: bigint;
}

export const decimalBytes = 16;

export function columnData({ type }: FileColumn): ColumnData {
  switch (type.kind) {
    case 'decimal':
      return new DecimalData();
    case 'text':
      return new TextData();
    case 'int':
      return new NumberData({});
    case 'boolean':
    case 'double':
      return new PlainData();
    case 'long':
    case 'timestamp':
      // Offsets, times and LSNs grow steadily: as differences they take half of the object's size away.
      return new NumberData({ encoding: 'DELTA_BINARY_PACKED' });
  }
}

abstract class Data<T extends FileValue & {}> implements ColumnData {
  protected readonly values: unknown[] = [];
  #min: T | undefined;
  #max: T | undefined;
  #nulls = 0;

  abstract add(value: FileValue): void;

  get source(): Omit<ColumnSource, 'name'> {
    return { data: this.values, statistics: false };
  }

  get statistics(): Statistics {
    const null_count = BigInt(this.#nulls);
    if (this.#min === undefined || this.#max === undefined) return { null_count };
    return { min_value: this.#min, max_value: this.#max, null_count };
  }

  protected addNull(): void {
    this.#nulls++;
    this.values.push(null);
  }

  protected note(value: T): void {
    if (this.#min === undefined || this.#max === undefined) {
      this.#min = value;
      this.#max = value;
    } else if (this.less(value, this.#min)) {
      this.#min = value;
    } else if (this.less(this.#max, value)) {
      this.#max = value;
    }
  }

  protected less(a: T, b: T): boolean {
    return a < b;
  }
}

/** Values without bounds: of doubles they would need rules for NaN and zero, and of booleans they say little. */
class PlainData extends Data<boolean | number> {
  add(value: FileValue): void {
    if (value === null) this.addNull();
    else this.values.push(value);
  }
}

class NumberData extends Data<number | bigint> {
  readonly #options: Pick<ColumnSource, 'encoding'>;

  constructor(options: Pick<ColumnSource, 'encoding'>) {
    super();
    this.#options = options;
  }

  add(value: FileValue): void {
    if (value === null) {
      this.addNull();
      return;
    }
    this.values.push(value);
    this.note(value as number | bigint);
  }

  override get source(): Omit<ColumnSource, 'name'> {
    return { ...super.source, ...this.#options };
  }
}

class TextData extends Data<string> {
  #last: string | undefined;

  add(value: FileValue): void {
    if (value === null) {
      this.addNull();
      return;
    }
    this.values.push(value);
    if (value === this.#last) return;
    this.#last = value as string;
    this.note(this.#last);
  }

  protected override less(a: string, b: string): boolean {
    return compareUtf8(a, b) < 0;
  }
}

const valuesPerSlab = 1024;

/** Decimals as the 16 bytes that Parquet wants: two's complement, big endian. The writer would make them one byte at a time. */
class DecimalData extends Data<bigint> {
  #slab = new DataView(new ArrayBuffer(0));
  #used = 0;

  add(value: FileValue): void {
    if (value === null) {
      this.addNull();
      return;
    }
    if (this.#used === this.#slab.byteLength) {
      this.#slab = new DataView(new ArrayBuffer(valuesPerSlab * decimalBytes));
      this.#used = 0;
    }
    const units = value as bigint;
    this.#slab.setBigInt64(this.#used, units >> 64n);
    this.#slab.setBigInt64(this.#used + 8, units);
    this.values.push(new Uint8Array(this.#slab.buffer, this.#used, decimalBytes));
    this.#used += decimalBytes;
    this.note(units);
  }
}
