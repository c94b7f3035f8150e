/** Keys of objects in two parts: texts that many keys share, and a number. */

/** `head` + `offset` in 20 digits + `tail` is the key. */
export interface KeyParts {
  /** `<prefix><epoch>/<topic>/year=YYYY/month=MM/day=DD/<topic>+<partition>+` */
  readonly head: string;
  /** Offset of the first row. */
  readonly offset: number;
  /** `.parquet`, of a compacted object `+r<plan>+<number>.parquet`. */
  readonly tail: string;
}

const digits = 20;
const extension = '.parquet';
const zero = 48;

/** Undefined for a key that `objectKey` and `compactedKey` do not make, or whose offset is not exact in a number. */
export function nameOf(key: string): KeyParts | undefined {
  if (!key.endsWith(extension)) return undefined;
  const mark = key.lastIndexOf('+r');
  const end = mark < 0 || mark < key.lastIndexOf('/') ? key.length - extension.length : mark;
  const start = end - digits;
  if (start < 1 || key[start - 1] !== '+') return undefined;
  let offset = 0;
  for (let at = start; at < end; at++) {
    const digit = key.charCodeAt(at) - zero;
    if (digit < 0 || digit > 9) return undefined;
    offset = offset * 10 + digit;
  }
  if (!Number.isSafeInteger(offset)) return undefined;
  return {
    head: key.slice(0, start),
    offset,
    tail: end === key.length - extension.length ? extension : key.slice(end),
  };
}

/** The inverse of `nameOf`. */
export function keyOf({ head, offset, tail }: KeyParts): string {
  return `${head}${String(offset).padStart(digits, '0')}${tail}`;
}
