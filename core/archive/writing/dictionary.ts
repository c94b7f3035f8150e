/**
 * Whether a column's values go into a dictionary, and which. The rule is hyparquet-writer's, because files are compared byte for byte: a
 * thousand values spread over the column must repeat, and the dictionary with its indexes must take half of the plain values or less.
 */

const sampleValues = 1_000;
const sampleLimit = 0.9;

/** What the rule needs to know of a column. A place is the number of a value among those that are not null. */
export interface Distinguishable {
  readonly rows: number;
  /** Values that are not null. */
  readonly count: number;
  /** The place of each row's value, -1 for null. Undefined when all rows have one. */
  readonly places: Int32Array | undefined;
  /** Bytes that the rule takes for all values, and for one. */
  readonly size: number;
  sizeOf(place: number): number;
  /** Bytes in front of each plain value. */
  readonly prefix: number;
  /** Equal for equal values. */
  sampleKey(place: number): number | string;
  /** 32 bits, signed. */
  hash(place: number): number;
  equal(a: number, b: number): boolean;
  /** Whether the value is known to be that of the place before: a shortcut, false is always right. */
  repeats(place: number): boolean;
}

export interface Dictionary {
  /** Of each distinct value, the first place. */
  readonly places: Int32Array;
  readonly size: number;
  /** By place. */
  readonly indexes: Int32Array;
}

export function dictionaryOf(column: Distinguishable): Dictionary | undefined {
  return repeatsEnough(column) ? build(column) : undefined;
}

function repeatsEnough(column: Distinguishable): boolean {
  const { rows, places, prefix } = column;
  const count = Math.min(rows, sampleValues);
  const seen = new Set<number | string>();
  let distinct = 0;
  let total = 0;
  for (let i = 0; i < count; i++) {
    const row = count === 1 ? 0 : Math.floor((i * (rows - 1)) / (count - 1));
    const place = places === undefined ? row : (places[row] as number);
    if (place < 0) continue;
    const size = column.sizeOf(place) + prefix;
    total += size;
    const key = column.sampleKey(place);
    if (seen.has(key)) continue;
    seen.add(key);
    distinct += size;
  }
  return total > 0 && distinct / total <= sampleLimit;
}

function build(column: Distinguishable): Dictionary | undefined {
  const { count, prefix } = column;
  const plain = column.size + count * prefix;
  const indexes = new Int32Array(count);
  let slots = new Int32Array(256).fill(-1);
  let places = new Int32Array(64);
  let hashes = new Int32Array(64);
  let size = 0;
  let values = 0;
  for (let place = 0; place < count; place++) {
    if (place > 0 && column.repeats(place)) {
      indexes[place] = indexes[place - 1] as number;
      continue;
    }
    const hash = column.hash(place);
    let slot = hash & (slots.length - 1);
    let index = slots[slot] as number;
    while (index >= 0 && !(hashes[index] === hash && column.equal(places[index] as number, place))) {
      slot = (slot + 1) & (slots.length - 1);
      index = slots[slot] as number;
    }
    if (index < 0) {
      values += column.sizeOf(place) + prefix;
      // It can only grow from here.
      if (2 * values > plain) return undefined;
      if (size === places.length) {
        places = grown(places);
        hashes = grown(hashes);
      }
      index = size++;
      places[index] = place;
      hashes[index] = hash;
      slots[slot] = index;
      if (size * 2 > slots.length) slots = rehashed(slots.length * 4, hashes, size);
    }
    indexes[place] = index;
  }
  const bitWidth = Math.ceil(Math.log2(size));
  const packed = Math.ceil((count * bitWidth) / 8);
  return 2 * (values + packed) > plain ? undefined : { places, size, indexes };
}

function rehashed(length: number, hashes: Int32Array, size: number): Int32Array<ArrayBuffer> {
  const slots = new Int32Array(length).fill(-1);
  for (let index = 0; index < size; index++) {
    let slot = (hashes[index] as number) & (length - 1);
    while ((slots[slot] as number) >= 0) slot = (slot + 1) & (length - 1);
    slots[slot] = index;
  }
  return slots;
}

function grown(values: Int32Array): Int32Array<ArrayBuffer> {
  const more = new Int32Array(values.length * 2);
  more.set(values);
  return more;
}
