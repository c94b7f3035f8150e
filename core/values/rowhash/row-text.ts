import { formatDecimal } from '../decimal.ts';
import { type HalfDigest, MD5_PADDING, md5Half } from './md5.ts';

const nine = 1_000_000_000;
const zero = 48;
const point = 46;
const minus = 45;
/** Longer texts are written by Node's own encoder. */
const longestByHand = 40;

/** A row's canonical text in the making, as the UTF-8 bytes that are hashed: no text is made of it, nor of the numbers in it. */
export class RowText {
  #bytes = Buffer.alloc(1024);
  #view = viewOf(this.#bytes);
  #length = 0;
  readonly #digits = new Uint8Array(64);

  clear(): void {
    this.#length = 0;
  }

  byte(value: number): void {
    this.#reserve(1);
    this.#bytes[this.#length++] = value;
  }

  text(value: string): void {
    this.#reserve(value.length * 3);
    const bytes = this.#bytes;
    if (value.length <= longestByHand) {
      let at = 0;
      for (; at < value.length; at++) {
        const unit = value.charCodeAt(at);
        if (unit >= 0x80) break;
        bytes[this.#length + at] = unit;
      }
      if (at === value.length) {
        this.#length += at;
        return;
      }
    }
    this.#length += bytes.write(value, this.#length, 'utf8');
  }

  integer(value: number | bigint): void {
    const number = Number(value);
    if (Number.isSafeInteger(number)) this.#number(number, 0);
    else this.text(value.toString());
  }

  /** As `formatDecimal`. */
  decimal(units: bigint, scale: number): void {
    const number = Number(units);
    if (Number.isSafeInteger(number) && scale < 40) this.#number(number, scale);
    else this.text(formatDecimal(units, scale));
  }

  /** Digits from the last to the first, then as they are read. */
  #number(value: number, scale: number): void {
    const digits = this.#digits;
    let at = digits.length;
    let left = Math.abs(value);
    while (left >= nine) {
      const above = Math.floor(left / nine);
      let part = left - above * nine;
      left = above;
      for (let i = 0; i < 9; i++) {
        const tenth = (part / 10) | 0;
        digits[--at] = zero + part - tenth * 10;
        part = tenth;
      }
    }
    for (let part = left; part > 0; ) {
      const tenth = (part / 10) | 0;
      digits[--at] = zero + part - tenth * 10;
      part = tenth;
    }
    const split = digits.length - scale;
    while (at >= split) digits[--at] = zero;
    this.#reserve(digits.length + 2);
    const bytes = this.#bytes;
    let length = this.#length;
    if (value < 0) bytes[length++] = minus;
    for (; at < split; at++) bytes[length++] = digits[at] as number;
    if (scale > 0) bytes[length++] = point;
    for (; at < digits.length; at++) bytes[length++] = digits[at] as number;
    this.#length = length;
  }

  /** First 8 bytes of the MD5 of what was written. */
  hash(into: HalfDigest): void {
    this.#reserve(0);
    md5Half(this.#view, this.#length, into);
  }

  /** Keeps room for the digest's padding. */
  #reserve(more: number): void {
    const needed = this.#length + more + MD5_PADDING;
    if (needed <= this.#bytes.length) return;
    const roomy = Buffer.alloc(needed * 2);
    this.#bytes.copy(roomy, 0, 0, this.#length);
    this.#bytes = roomy;
    this.#view = viewOf(roomy);
  }
}

function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}
