/**
 * Parquet's encodings of integers, over typed arrays. Bytes are those of hyparquet-writer, which reads its values as boxed JavaScript values
 * and packs 64-bit ones as `bigint`; that took most of the time of writing a file.
 */

/** Bytes in the making. Its memory is used again: what is to stay is copied before the next `clear`. */
export class Scratch {
  bytes = new Uint8Array(1 << 12);
  view = new DataView(this.bytes.buffer);
  length = 0;

  clear(): void {
    this.length = 0;
  }

  /** Makes sure that `more` bytes fit behind those that are there. */
  reserve(more: number): void {
    if (this.length + more <= this.bytes.length) return;
    const grown = new Uint8Array(Math.max(this.bytes.length * 2, this.length + more));
    grown.set(this.bytes.subarray(0, this.length));
    this.bytes = grown;
    this.view = new DataView(grown.buffer);
  }

  /** What was written. Valid until the next change. */
  written(): Uint8Array {
    return this.bytes.subarray(0, this.length);
  }

  byte(value: number): void {
    this.reserve(1);
    this.bytes[this.length++] = value;
  }

  /** @param value an integer from 0 to 2^53 */
  varint(value: number): void {
    this.reserve(8);
    let left = value;
    while (left >= 0x80) {
      this.bytes[this.length++] = (left % 0x80) + 0x80;
      left = Math.floor(left / 0x80);
    }
    this.bytes[this.length++] = left;
  }

  append(bytes: Uint8Array): void {
    this.reserve(bytes.length);
    this.bytes.set(bytes, this.length);
    this.length += bytes.length;
  }
}

const groupValues = 8;

/** Runs of eight and more as runs, the rest in packed groups of eight. */
export function packHybrid(
  to: Scratch,
  values: Int32Array | Uint8Array,
  from: number,
  end: number,
  bitWidth: number,
): void {
  let groups = 0;
  let groupsFrom = 0;
  let at = from;
  while (at < end) {
    const value = values[at] as number;
    let next = at + 1;
    while (next < end && values[next] === value) next++;
    if (next - at < groupValues) {
      if (groups++ === 0) groupsFrom = at;
      at += groupValues;
      continue;
    }
    if (groups > 0) packGroups(to, values, groupsFrom, end, groups, bitWidth);
    groups = 0;
    packRun(to, value, next - at, bitWidth);
    at = next;
  }
  if (groups > 0) packGroups(to, values, groupsFrom, end, groups, bitWidth);
}

export function packRun(to: Scratch, value: number, count: number, bitWidth: number): void {
  to.varint(count * 2);
  for (let shift = 0; shift < bitWidth; shift += 8) to.byte((value >> shift) & 0xff);
}

function packGroups(
  to: Scratch,
  values: Int32Array | Uint8Array,
  from: number,
  end: number,
  groups: number,
  bitWidth: number,
): void {
  to.varint(groups * 2 + 1);
  to.reserve(groups * bitWidth);
  const { bytes } = to;
  let position = to.length;
  let pending = 0;
  let bits = 0;
  for (let i = 0; i < groups * groupValues; i++) {
    const at = from + i;
    if (at < end) pending |= (values[at] as number) << bits;
    bits += bitWidth;
    while (bits >= 8) {
      bytes[position++] = pending;
      pending >>>= 8;
      bits -= 8;
    }
  }
  to.length = position;
}

const blockValues = 128;
const miniblocks = 4;
const miniblockValues = blockValues / miniblocks;
/** Differences up to it, and differences of these, are exact in a `number`. */
const widestDelta = 2 ** 52;
const two32 = 2 ** 32;

const deltas = new Float64Array(blockValues);

/**
 * DELTA_BINARY_PACKED of integers, each exact.
 *
 * @returns false when a difference is not exact in a `number`; then nothing was written.
 */
export function packDeltas(to: Scratch, values: Float64Array, from: number, end: number): boolean {
  const start = to.length;
  to.varint(blockValues);
  to.varint(miniblocks);
  to.varint(end - from);
  const first = end > from ? (values[from] as number) : 0;
  if (first > widestDelta || first < -widestDelta) {
    to.length = start;
    return false;
  }
  zigzag(to, first);
  for (let at = from + 1; at < end; at += blockValues) {
    if (packBlock(to, values, at, Math.min(blockValues, end - at))) continue;
    to.length = start;
    return false;
  }
  return true;
}

function packBlock(to: Scratch, values: Float64Array, from: number, count: number): boolean {
  let least = Number.POSITIVE_INFINITY;
  let greatest = Number.NEGATIVE_INFINITY;
  let previous = values[from - 1] as number;
  for (let i = 0; i < count; i++) {
    const value = values[from + i] as number;
    const delta = value - previous;
    previous = value;
    deltas[i] = delta;
    if (delta < least) least = delta;
    if (delta > greatest) greatest = delta;
  }
  if (least < -widestDelta || greatest > widestDelta) return false;
  zigzag(to, least);
  to.reserve(miniblocks + blockValues * 8);
  const widths = to.length;
  to.length += miniblocks;
  for (let miniblock = 0; miniblock < miniblocks; miniblock++) {
    const begin = miniblock * miniblockValues;
    const stop = Math.min(begin + miniblockValues, count);
    const width = least === greatest ? 0 : widthOf(begin, stop, least);
    to.bytes[widths + miniblock] = width;
    if (width > 0) packMiniblock(to, begin, stop, least, width);
  }
  return true;
}

/** Bits of the greatest difference from the least delta. */
function widthOf(from: number, end: number, least: number): number {
  let most = 0;
  for (let i = from; i < end; i++) {
    const above = (deltas[i] as number) - least;
    if (above > most) most = above;
  }
  return most < two32 ? 32 - Math.clz32(most) : 64 - Math.clz32(Math.floor(most / two32));
}

function packMiniblock(to: Scratch, from: number, end: number, least: number, width: number): void {
  const { bytes } = to;
  let position = to.length;
  let pending = 0;
  let bits = 0;
  for (let i = 0; i < miniblockValues; i++) {
    let left = from + i < end ? (deltas[from + i] as number) - least : 0;
    // At most 24 bits at a time fit beside the seven that may be pending.
    for (let open = width; open > 0; open -= 24) {
      const part = open > 24 ? left % 0x1000000 : left;
      if (open > 24) left = Math.floor(left / 0x1000000);
      pending |= part << bits;
      bits += Math.min(open, 24);
      while (bits >= 8) {
        bytes[position++] = pending;
        pending >>>= 8;
        bits -= 8;
      }
    }
  }
  to.length = position;
}

function zigzag(to: Scratch, value: number): void {
  to.varint(value < 0 ? -value * 2 - 1 : value * 2);
}
