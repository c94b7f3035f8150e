import { type Dictionary, dictionaryOf } from './dictionary.ts';
import type { Scratch } from './packing.ts';
import type { FileValue } from './source-columns.ts';
import { firstRoom, roomier, type Statistics, Vector } from './vector.ts';

const longestByHand = 40;

/** Text as UTF-8, one after the other; of equal texts that follow one another only one is kept. */
export class TextData extends Vector {
  readonly type = 'BYTE_ARRAY';
  readonly encoding = 'PLAIN';
  #bytes = Buffer.alloc(0);
  #used = 0;
  #starts = new Int32Array(0);
  #lengths = new Int32Array(0);
  #last: string | undefined;
  /** UTF-16 units of all values: what the dictionary's rule counts. */
  #units = 0;
  #allUnits = 0;
  #ascii = true;

  add(value: FileValue): void {
    if (value === null) {
      this.addNull();
      return;
    }
    const text = value as string;
    const place = this.nextPlace();
    if (place === this.#starts.length) {
      this.#starts = roomier(Int32Array, this.#starts);
      this.#lengths = roomier(Int32Array, this.#lengths);
    }
    if (text === this.#last) {
      this.#starts[place] = this.#starts[place - 1] as number;
      this.#lengths[place] = this.#lengths[place - 1] as number;
    } else {
      this.#starts[place] = this.#used;
      this.#lengths[place] = this.#append(text);
      this.#last = text;
      this.#units = text.length;
    }
    this.#allUnits += this.#units;
  }

  /** @returns how many bytes it has */
  #append(text: string): number {
    const from = this.#used;
    this.#reserve(text.length * 3);
    const bytes = this.#bytes;
    if (text.length <= longestByHand) {
      let at = 0;
      for (; at < text.length; at++) {
        const unit = text.charCodeAt(at);
        if (unit >= 0x80) break;
        bytes[from + at] = unit;
      }
      if (at === text.length) {
        this.#used = from + at;
        return at;
      }
    }
    const length = bytes.write(text, from, 'utf8');
    if (length > text.length) this.#ascii = false;
    this.#used = from + length;
    return length;
  }

  #reserve(more: number): void {
    if (this.#used + more <= this.#bytes.length) return;
    const room = Math.max(this.#bytes.length * 2, this.#used + more, firstRoom * 8);
    const roomy = Buffer.allocUnsafeSlow(room);
    this.#bytes.copy(roomy, 0, 0, this.#used);
    this.#bytes = roomy;
  }

  override clear(): void {
    super.clear();
    this.#used = 0;
    this.#last = undefined;
    this.#allUnits = 0;
    this.#ascii = true;
  }

  sizeOf(from: number, end: number): number {
    let size = 0;
    for (let place = from; place < end; place++) size += this.#lengths[place] as number;
    return size;
  }

  write(to: Scratch, from: number, end: number): void {
    for (let place = from; place < end; place++) {
      const start = this.#starts[place] as number;
      const length = this.#lengths[place] as number;
      to.reserve(4 + length);
      to.view.setUint32(to.length, length, true);
      to.length += 4;
      const { bytes } = to;
      if (length > longestByHand) bytes.set(this.#bytes.subarray(start, start + length), to.length);
      else for (let at = 0; at < length; at++) bytes[to.length + at] = this.#bytes[start + at] as number;
      to.length += length;
    }
  }

  override dictionary(): Dictionary | undefined {
    return dictionaryOf({
      rows: this.rows,
      count: this.count,
      places: this.placesOfRows(),
      size: this.#allUnits,
      prefix: 4,
      sizeOf: (place) => this.#unitsOf(place),
      sampleKey: (place) => this.#bytes.toString('latin1', this.#starts[place], this.#end(place)),
      hash: (place) => this.#hash(place),
      equal: (a, b) => this.#compare(a, b) === 0,
      repeats: (place) => this.#repeats(place),
    });
  }

  #end(place: number): number {
    return (this.#starts[place] as number) + (this.#lengths[place] as number);
  }

  #repeats(place: number): boolean {
    return this.#starts[place] === this.#starts[place - 1] && this.#lengths[place] === this.#lengths[place - 1];
  }

  #unitsOf(place: number): number {
    if (this.#ascii) return this.#lengths[place] as number;
    let units = 0;
    for (let at = this.#starts[place] as number; at < this.#end(place); at++) {
      const byte = this.#bytes[at] as number;
      if (byte < 0x80 || byte >= 0xc0) units += byte >= 0xf0 ? 2 : 1;
    }
    return units;
  }

  #hash(place: number): number {
    const end = this.#end(place);
    let hash = 0x811c9dc5;
    for (let at = this.#starts[place] as number; at < end; at++) {
      hash = Math.imul(hash ^ (this.#bytes[at] as number), 0x01000193);
    }
    return hash ^ (hash >>> 15);
  }

  /** By bytes, as Parquet's statistics are to be. */
  #compare(a: number, b: number): number {
    const bytes = this.#bytes;
    let left = this.#starts[a] as number;
    let right = this.#starts[b] as number;
    const least = Math.min(this.#lengths[a] as number, this.#lengths[b] as number);
    for (const end = left + least; left < end; left++, right++) {
      const difference = (bytes[left] as number) - (bytes[right] as number);
      if (difference !== 0) return difference;
    }
    return (this.#lengths[a] as number) - (this.#lengths[b] as number);
  }

  get statistics(): Statistics {
    const null_count = BigInt(this.nulls);
    if (this.count === 0) return { null_count };
    let min = 0;
    let max = 0;
    for (let place = 1; place < this.count; place++) {
      if (this.#repeats(place)) continue;
      if (this.#compare(place, min) < 0) min = place;
      else if (this.#compare(place, max) > 0) max = place;
    }
    return { min_value: this.#text(min), max_value: this.#text(max), null_count };
  }

  #text(place: number): string {
    return this.#bytes.toString('utf8', this.#starts[place], this.#end(place));
  }
}
