/**
 * Reads short strings through a small cache. A stream repeats its venues, symbols and sides in every record: found by their bytes,
 * they need no call into the decoder of UTF-8, take no new memory, and come with their hash for the map that they are looked up in.
 *
 * The cache is direct-mapped: strings that never repeat only displace each other.
 */

/** Longest string that is cached, bytes. */
const MAX_BYTES = 16;
/** Number of slots, a power of two. */
const SLOTS = 1_024;

const texts = new Array<string>(SLOTS).fill('');
const lengths = new Uint8Array(SLOTS);
const bytes = new Uint8Array(SLOTS * MAX_BYTES);

/** Buffer's own method under its `toString`; avsc calls it, too. */
export interface Utf8Buffer extends Buffer {
  utf8Slice(from: number, to: number): string;
}

/** The text of `buf` from `from` to `to`; both within the buffer. */
export function readText(buf: Utf8Buffer, from: number, to: number): string {
  const length = to - from;
  if (length > MAX_BYTES) return buf.utf8Slice(from, to);
  let hash = length;
  for (let at = from; at < to; at++) hash = (Math.imul(hash, 31) + (buf[at] ?? 0)) | 0;
  const slot = (hash ^ (hash >>> 10)) & (SLOTS - 1);
  const base = slot * MAX_BYTES;
  let same = lengths[slot] === length;
  for (let at = 0; same && at < length; at++) same = bytes[base + at] === buf[from + at];
  if (same) return texts[slot] ?? '';
  const text = buf.utf8Slice(from, to);
  for (let at = 0; at < length; at++) bytes[base + at] = buf[from + at] ?? 0;
  lengths[slot] = length;
  texts[slot] = text;
  return text;
}
