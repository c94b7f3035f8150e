import type { Encoding, ParquetType } from 'hyparquet';
import type { Dictionary } from './dictionary.ts';
import type { Scratch } from './packing.ts';
import type { FileValue } from './source-columns.ts';

export interface Statistics {
  readonly min_value?: FileValue & {};
  readonly max_value?: FileValue & {};
  readonly null_count: bigint;
}

/** Values that the first memory of a column has room for: a sink with hundreds of open days has thousands of columns. */
export const firstRoom = 32;

interface Growable<T> {
  readonly length: number;
  set(values: T): void;
}

/** The same values with twice the room. */
export function roomier<T extends Growable<T>>(make: new (length: number) => T, values: T): T {
  const more = new make(Math.max(values.length * 2, firstRoom));
  more.set(values);
  return more;
}

/**
 * One column of the row group in the making: which rows have a value, and the values that are not null, one after the other, in typed arrays.
 * A place is the number of a value among those that are not null.
 */
export abstract class Vector {
  abstract readonly type: ParquetType;
  #rows = 0;
  #nulls = 0;
  /** 1 for each row with a value; undefined while all have one, or none has. */
  #present: Uint8Array | undefined;

  get rows(): number {
    return this.#rows;
  }

  get nulls(): number {
    return this.#nulls;
  }

  /** Values that are not null. */
  get count(): number {
    return this.#rows - this.#nulls;
  }

  get present(): Uint8Array | undefined {
    return this.#present;
  }

  abstract add(value: FileValue): void;

  addNull(): void {
    if (this.#rows > this.#nulls) {
      this.#present ??= new Uint8Array(this.#rows * 2).fill(1, 0, this.#rows);
      this.#mark(this.#present, 0);
    }
    this.#nulls++;
    this.#rows++;
  }

  /** Counts a value, and gives its place. */
  protected nextPlace(): number {
    const place = this.#rows - this.#nulls;
    if (this.#nulls > 0) {
      this.#present ??= new Uint8Array(Math.max(this.#rows * 2, firstRoom));
      this.#mark(this.#present, 1);
    }
    this.#rows++;
    return place;
  }

  #mark(present: Uint8Array, value: 0 | 1): void {
    const roomy = this.#rows < present.length ? present : roomier(Uint8Array, present);
    roomy[this.#rows] = value;
    this.#present = roomy;
  }

  /** Empty again, for the next row group; the memory is kept. */
  clear(): void {
    this.#rows = 0;
    this.#nulls = 0;
    this.#present = undefined;
  }

  /** How the values are written without a dictionary. */
  abstract readonly encoding: Encoding;

  /** Bytes that the values from one place to another are taken for when pages are divided. */
  abstract sizeOf(from: number, end: number): number;

  abstract write(to: Scratch, from: number, end: number): void;

  /** The values that get a dictionary, if it is worth one. */
  dictionary(): Dictionary | undefined {
    return undefined;
  }

  /** Writes single values plainly, as a dictionary has them. */
  writePlain(to: Scratch, places: Int32Array): void {
    for (const place of places) this.write(to, place, place + 1);
  }

  /** The rows' places; undefined when they are the rows' own numbers. */
  protected placesOfRows(): Int32Array | undefined {
    const { present } = this;
    if (this.#nulls === 0) return undefined;
    const places = new Int32Array(this.#rows).fill(-1);
    if (present === undefined) return places;
    for (let row = 0, place = 0; row < this.#rows; row++) if (present[row] === 1) places[row] = place++;
    return places;
  }

  abstract get statistics(): Statistics;
}
