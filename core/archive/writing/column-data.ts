import { ByteWriter } from 'hyparquet-writer';
import { deltaBinaryPack } from 'hyparquet-writer/src/delta.js';
import { type Dictionary, dictionaryOf } from './dictionary.ts';
import { packDeltas, packHybrid, type Scratch } from './packing.ts';
import type { FileColumn, FileValue } from './source-columns.ts';
import { TextData } from './text-data.ts';
import { roomier, type Statistics, Vector } from './vector.ts';

export const decimalBytes = 16;

export function columnData({ type }: FileColumn): Vector {
  switch (type.kind) {
    case 'decimal':
      return new DecimalData();
    case 'text':
      return new TextData();
    case 'int':
      return new IntData();
    case 'boolean':
      return new BooleanData();
    case 'double':
      return new DoubleData();
    case 'long':
    case 'timestamp':
      return new LongData();
  }
}

const two32 = 2 ** 32;
const maxLong = 2n ** 63n - 1n;
const minLong = -(2n ** 63n);

/** 64-bit integers as differences: offsets, times and LSNs grow steadily, and it takes half of an object's size away. */
export class LongData extends Vector {
  readonly type = 'INT64';
  readonly encoding = 'DELTA_BINARY_PACKED';
  #values = new BigInt64Array(0);

  add(value: FileValue): void {
    if (value === null) {
      this.addNull();
      return;
    }
    const place = this.nextPlace();
    if (place === this.#values.length) this.#values = roomier(BigInt64Array, this.#values);
    this.#values[place] = value as bigint;
  }

  sizeOf(from: number, end: number): number {
    return (end - from) * 8;
  }

  write(to: Scratch, from: number, end: number): void {
    const numbers = exactNumbers(this.#values, from, end);
    if (numbers !== undefined && packDeltas(to, numbers, 0, end - from)) return;
    const packed = new ByteWriter();
    deltaBinaryPack(packed, this.#values.subarray(from, end), 'INT64');
    to.append(packed.getBytes());
  }

  get statistics(): Statistics {
    const { count } = this;
    const null_count = BigInt(this.nulls);
    if (count === 0) return { null_count };
    const numbers = exactNumbers(this.#values, 0, count);
    const [min, max] = numbers === undefined ? bounds(this.#values, count) : bounds(numbers, count);
    return { min_value: BigInt(min), max_value: BigInt(max), null_count };
  }
}

let numbers = new Float64Array(0);
/** Upper halves of numbers below 2^53. */
const exactHigh = 2 ** 21;

/**
 * The integers as numbers, undefined unless each is below 2^53, which microseconds are until 2255. Valid until the next call.
 */
function exactNumbers(values: BigInt64Array, from: number, end: number): Float64Array | undefined {
  if (numbers.length < end - from) numbers = new Float64Array(end - from);
  const halves = new Int32Array(values.buffer, values.byteOffset, values.length * 2);
  for (let place = from; place < end; place++) {
    const high = halves[place * 2 + highHalf] as number;
    if (high >= exactHigh || high < -exactHigh) return undefined;
    numbers[place - from] = high * two32 + ((halves[place * 2 + 1 - highHalf] as number) >>> 0);
  }
  return numbers;
}

/** 1 where the lower half of a 64-bit integer comes first in memory. */
const highHalf = new Uint8Array(Int32Array.of(1).buffer)[0] === 1 ? 1 : 0;

function bounds<T extends number | bigint>(values: { readonly [place: number]: T }, count: number): [T, T] {
  let min = values[0] as T;
  let max = min;
  for (let place = 1; place < count; place++) {
    const value = values[place] as T;
    if (value < min) min = value;
    else if (value > max) max = value;
  }
  return [min, max];
}

export class IntData extends Vector {
  readonly type = 'INT32';
  readonly encoding = 'PLAIN';
  #values = new Int32Array(0);

  add(value: FileValue): void {
    if (value === null) {
      this.addNull();
      return;
    }
    const number = value as number;
    if (number !== (number | 0)) throw new RangeError(`${number} is no 32-bit integer`);
    const place = this.nextPlace();
    if (place === this.#values.length) this.#values = roomier(Int32Array, this.#values);
    this.#values[place] = number;
  }

  sizeOf(from: number, end: number): number {
    return (end - from) * 4;
  }

  write(to: Scratch, from: number, end: number): void {
    to.reserve((end - from) * 4);
    for (let place = from; place < end; place++, to.length += 4) {
      to.view.setInt32(to.length, this.#values[place] as number, true);
    }
  }

  override dictionary(): Dictionary | undefined {
    const values = this.#values;
    return dictionaryOf({
      rows: this.rows,
      count: this.count,
      places: this.placesOfRows(),
      size: this.count * 4,
      prefix: 0,
      sizeOf: () => 4,
      sampleKey: (place) => values[place] as number,
      hash: (place) => Math.imul(values[place] as number, 0x9e3779b1) >>> 7,
      equal: (a, b) => values[a] === values[b],
      repeats: (place) => values[place] === values[place - 1],
    });
  }

  get statistics(): Statistics {
    const null_count = BigInt(this.nulls);
    if (this.count === 0) return { null_count };
    const [min, max] = bounds(this.#values, this.count);
    return { min_value: min, max_value: max, null_count };
  }
}

/** Decimals as the 16 bytes that Parquet wants: two's complement, big endian. */
export class DecimalData extends Vector {
  readonly type = 'FIXED_LEN_BYTE_ARRAY';
  readonly encoding = 'PLAIN';
  #bytes = new Uint8Array(0);
  #view = new DataView(this.#bytes.buffer);
  #min = Number.POSITIVE_INFINITY;
  #max = Number.NEGATIVE_INFINITY;
  /** Of the values that are not exact in a number. */
  #wideMin: bigint | undefined;
  #wideMax: bigint | undefined;

  add(value: FileValue): void {
    if (value === null) {
      this.addNull();
      return;
    }
    const units = value as bigint;
    const at = this.#room();
    const view = this.#view;
    if (units > maxLong || units < minLong) {
      view.setBigInt64(at, units >> 64n);
      view.setBigInt64(at + 8, units);
      this.#noteWide(units);
      return;
    }
    view.setBigInt64(at + 8, units);
    const high = view.getInt32(at + 8);
    view.setInt32(at, high >> 31);
    view.setInt32(at + 4, high >> 31);
    if (high >= exactHigh || high < -exactHigh) {
      this.#noteWide(units);
      return;
    }
    const number = high * two32 + view.getUint32(at + 12);
    if (number < this.#min) this.#min = number;
    if (number > this.#max) this.#max = number;
  }

  #noteWide(units: bigint): void {
    if (this.#wideMin === undefined || units < this.#wideMin) this.#wideMin = units;
    if (this.#wideMax === undefined || units > this.#wideMax) this.#wideMax = units;
  }

  #room(): number {
    const at = this.nextPlace() * decimalBytes;
    if (at + decimalBytes > this.#bytes.length) {
      this.#bytes = roomier(Uint8Array, this.#bytes);
      this.#view = new DataView(this.#bytes.buffer);
    }
    return at;
  }

  override clear(): void {
    super.clear();
    this.#min = Number.POSITIVE_INFINITY;
    this.#max = Number.NEGATIVE_INFINITY;
    this.#wideMin = undefined;
    this.#wideMax = undefined;
  }

  sizeOf(from: number, end: number): number {
    return (end - from) * decimalBytes;
  }

  write(to: Scratch, from: number, end: number): void {
    to.append(this.#bytes.subarray(from * decimalBytes, end * decimalBytes));
  }

  override dictionary(): Dictionary | undefined {
    const bytes = this.#bytes;
    const view = this.#view;
    const low = (place: number): number => view.getInt32(place * decimalBytes + 12);
    const middle = (place: number): number => view.getInt32(place * decimalBytes + 8);
    const equal = (a: number, b: number): boolean =>
      low(a) === low(b) &&
      middle(a) === middle(b) &&
      view.getInt32(a * decimalBytes) === view.getInt32(b * decimalBytes) &&
      view.getInt32(a * decimalBytes + 4) === view.getInt32(b * decimalBytes + 4);
    return dictionaryOf({
      rows: this.rows,
      count: this.count,
      places: this.placesOfRows(),
      size: this.count * decimalBytes,
      prefix: 0,
      sizeOf: () => decimalBytes,
      sampleKey: (place) => fnv(bytes, place * decimalBytes),
      hash: (place) => mixed(low(place) ^ Math.imul(middle(place), 0x85ebca6b)),
      equal,
      repeats: (place) => equal(place, place - 1),
    });
  }

  get statistics(): Statistics {
    const null_count = BigInt(this.nulls);
    if (this.count === 0) return { null_count };
    const all = [this.#wideMin, this.#wideMax].filter((each) => each !== undefined);
    if (this.#min <= this.#max) all.push(BigInt(this.#min), BigInt(this.#max));
    const [min_value, max_value] = bounds(all, all.length);
    return { min_value, max_value, null_count };
  }
}

function mixed(value: number): number {
  const hash = Math.imul(value, 0x9e3779b1);
  return hash ^ (hash >>> 15);
}

/** By which hyparquet-writer tells byte arrays of its sample apart. */
function fnv(bytes: Uint8Array, from: number): number {
  let hash = 0x811c9dc5;
  for (let at = from; at < from + decimalBytes; at++) hash = Math.imul(hash ^ (bytes[at] as number), 0x01000193);
  return hash;
}

/** Values without bounds, which would say little. */
class BooleanData extends Vector {
  readonly type = 'BOOLEAN';
  #values = new Uint8Array(0);

  get encoding(): 'RLE' | 'PLAIN' {
    return this.rows > 16 ? 'RLE' : 'PLAIN';
  }

  add(value: FileValue): void {
    if (value === null) {
      this.addNull();
      return;
    }
    const place = this.nextPlace();
    if (place === this.#values.length) this.#values = roomier(Uint8Array, this.#values);
    this.#values[place] = value === true ? 1 : 0;
  }

  sizeOf(from: number, end: number): number {
    return (end - from) / 8;
  }

  write(to: Scratch, from: number, end: number): void {
    if (this.encoding === 'RLE') {
      const at = to.length;
      to.reserve(4);
      to.length += 4;
      packHybrid(to, this.#values, from, end, 1);
      to.view.setUint32(at, to.length - at - 4, true);
      return;
    }
    for (let place = from; place < end; place += 8) {
      let byte = 0;
      for (let bit = 0; bit < 8 && place + bit < end; bit++) byte |= (this.#values[place + bit] as number) << bit;
      to.byte(byte);
    }
  }

  get statistics(): Statistics {
    return { null_count: BigInt(this.nulls) };
  }
}

/** Values without bounds, which would need rules for NaN and zero. */
class DoubleData extends Vector {
  readonly type = 'DOUBLE';
  readonly encoding = 'PLAIN';
  #values = new Float64Array(0);

  add(value: FileValue): void {
    if (value === null) {
      this.addNull();
      return;
    }
    const place = this.nextPlace();
    if (place === this.#values.length) this.#values = roomier(Float64Array, this.#values);
    this.#values[place] = value as number;
  }

  sizeOf(from: number, end: number): number {
    return (end - from) * 8;
  }

  write(to: Scratch, from: number, end: number): void {
    to.reserve((end - from) * 8);
    for (let place = from; place < end; place++, to.length += 8) {
      to.view.setFloat64(to.length, this.#values[place] as number, true);
    }
  }

  override dictionary(): Dictionary | undefined {
    const values = this.#values;
    // As a Map has keys: NaN is itself, and both zeros are one.
    const same = (a: number, b: number): boolean => a === b || (Number.isNaN(a) && Number.isNaN(b));
    const bits = new DataView(new ArrayBuffer(8));
    return dictionaryOf({
      rows: this.rows,
      count: this.count,
      places: this.placesOfRows(),
      size: this.count * 8,
      prefix: 0,
      sizeOf: () => 8,
      sampleKey: (place) => values[place] as number,
      hash: (place) => {
        const value = values[place] as number;
        bits.setFloat64(0, Number.isNaN(value) ? Number.NaN : value + 0);
        return mixed(bits.getInt32(0) ^ bits.getInt32(4));
      },
      equal: (a, b) => same(values[a] as number, values[b] as number),
      repeats: () => false,
    });
  }

  get statistics(): Statistics {
    return { null_count: BigInt(this.nulls) };
  }
}
