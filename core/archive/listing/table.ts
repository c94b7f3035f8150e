import type { ArchiveObject } from '../../../schemas/gen/archive_object.ts';
import { keyOf, nameOf } from './names.ts';

/** Objects of the archive, in an order; an array is one, too. */
export interface ObjectList extends Iterable<ArchiveObject> {
  readonly length: number;
  at(index: number): ArchiveObject | undefined;
}

/** Rows of a chunk; a table grows by chunks, so nothing is copied. */
const chunkRows = 4_096;
/** Places of the columns. */
const longColumn = {
  from_offset: 0,
  to_offset: 1,
  first_offset: 2,
  last_offset: 3,
  rows: 4,
  bytes: 5,
  dead_letters: 6,
} as const;
const longColumns = 7;
/** From `epoch` on, places of texts that many objects share. */
const intColumn = {
  partition: 0,
  schema_id: 1,
  writer_version: 2,
  epoch: 3,
  topic: 4,
  day: 5,
  head: 6,
  tail: 7,
} as const;
const intColumns = 8;
const shaBytes = 32;
const hashBytes = 8;
/** The key's text is kept in `#odd`. */
const noName = -1;

interface Chunk {
  readonly longs: BigInt64Array;
  readonly ints: Int32Array;
  readonly hashes: Buffer;
}

/**
 * Object records in columns: about 130 bytes each beside V8's heap, instead of more than 500 in it. Objects are made when they are asked for,
 * and equal those that were added in every field.
 */
export class ObjectTable implements ObjectList {
  readonly #chunks: Chunk[] = [];
  readonly #texts: string[] = [];
  readonly #places = new Map<string, number>();
  /** By column, the text that came last: mostly it comes again. */
  readonly #lastTexts = new Array<string | undefined>(intColumns);
  readonly #lastPlaces = new Array<number>(intColumns).fill(0);
  /** Keys and hashes that are not of the usual form, by row. */
  readonly #odd = new Map<number, Pick<ArchiveObject, 'key' | 'sha256' | 'row_hash'>>();
  #added = 0;
  #order: Uint32Array | undefined;

  get length(): number {
    return this.#order?.length ?? this.#added;
  }

  add(object: ArchiveObject): void {
    if (this.#order !== undefined) throw new TypeError('a table in another order takes no further objects');
    const row = this.#added++;
    const at = row % chunkRows;
    if (at === 0) this.#chunks.push(newChunk());
    const chunk = this.#chunks.at(-1) as Chunk;
    // One by one: this is done for every object of a list.
    const { longs, ints, hashes } = chunk;
    const long = at * longColumns;
    longs[long + longColumn.from_offset] = object.from_offset;
    longs[long + longColumn.to_offset] = object.to_offset;
    longs[long + longColumn.first_offset] = object.first_offset;
    longs[long + longColumn.last_offset] = object.last_offset;
    longs[long + longColumn.rows] = object.rows;
    longs[long + longColumn.bytes] = object.bytes;
    longs[long + longColumn.dead_letters] = object.dead_letters;
    const int = at * intColumns;
    ints[int + intColumn.partition] = object.partition;
    ints[int + intColumn.schema_id] = object.schema_id;
    ints[int + intColumn.writer_version] = object.writer_version;
    ints[int + intColumn.epoch] = this.#placeOf(intColumn.epoch, object.epoch);
    ints[int + intColumn.topic] = this.#placeOf(intColumn.topic, object.topic);
    ints[int + intColumn.day] = this.#placeOf(intColumn.day, object.day);
    const hashAt = at * (shaBytes + hashBytes);
    const name = nameOf(object.key);
    if (
      name !== undefined &&
      BigInt(name.offset) === object.first_offset &&
      writeHex(hashes, hashAt, object.sha256, shaBytes) &&
      writeHex(hashes, hashAt + shaBytes, object.row_hash, hashBytes)
    ) {
      ints[int + intColumn.head] = this.#placeOf(intColumn.head, name.head);
      ints[int + intColumn.tail] = this.#placeOf(intColumn.tail, name.tail);
      return;
    }
    ints[int + intColumn.head] = noName;
    this.#odd.set(row, { key: object.key, sha256: object.sha256, row_hash: object.row_hash });
  }

  at(index: number): ArchiveObject | undefined {
    const row = this.#order?.[index] ?? index;
    if (index < 0 || index >= this.length) return undefined;
    return this.#read(row);
  }

  *[Symbol.iterator](): Generator<ArchiveObject, undefined> {
    for (let index = 0; index < this.length; index++) yield this.at(index) as ArchiveObject;
  }

  filter(wanted: (object: ArchiveObject) => boolean): ArchiveObject[] {
    const found: ArchiveObject[] = [];
    for (const object of this) if (wanted(object)) found.push(object);
    return found;
  }

  /** As `filter`, as a table. */
  where(wanted: (object: ArchiveObject) => boolean): ObjectTable {
    const found = new ObjectTable();
    for (const object of this) if (wanted(object)) found.add(object);
    return found;
  }

  map<T>(of: (object: ArchiveObject) => T): T[] {
    return Array.from(this, of);
  }

  /**
   * Puts the objects that were added from `since` on, in whatever order, among the ones before, which are in order.
   *
   * @param compare of two objects, as for `Array.sort`
   */
  merge(since: number, compare: (a: ArchiveObject, b: ArchiveObject) => number): void {
    const later = Array.from({ length: this.#added - since }, (_, i) => ({
      row: since + i,
      object: this.#read(since + i),
    }));
    if (later.length === 0) return;
    later.sort((a, b) => compare(a.object, b.object));
    const order = new Uint32Array(this.#added);
    let [at, next] = [0, 0];
    for (let row = 0; row < since; row++) {
      const object = this.#read(row);
      for (let each = later[next]; each !== undefined && compare(each.object, object) < 0; each = later[++next]) {
        order[at++] = each.row;
      }
      order[at++] = row;
    }
    for (; next < later.length; next++) order[at++] = later[next]?.row ?? 0;
    this.#order = order;
  }

  #read(row: number): ArchiveObject {
    const at = row % chunkRows;
    const chunk = this.#chunks[Math.floor(row / chunkRows)] as Chunk;
    const long = (column: number): bigint => chunk.longs[at * longColumns + column] as bigint;
    const int = (column: number): number => chunk.ints[at * intColumns + column] as number;
    const text = (column: number): string => this.#texts[int(column)] as string;
    const hashAt = at * (shaBytes + hashBytes);
    const first_offset = long(longColumn.first_offset);
    const { key, sha256, row_hash } =
      int(intColumn.head) === noName
        ? (this.#odd.get(row) as Pick<ArchiveObject, 'key' | 'sha256' | 'row_hash'>)
        : {
            key: keyOf({ head: text(intColumn.head), offset: Number(first_offset), tail: text(intColumn.tail) }),
            sha256: chunk.hashes.toString('hex', hashAt, hashAt + shaBytes),
            row_hash: chunk.hashes.toString('hex', hashAt + shaBytes, hashAt + shaBytes + hashBytes),
          };
    return {
      key,
      epoch: text(intColumn.epoch),
      topic: text(intColumn.topic),
      partition: int(intColumn.partition),
      day: text(intColumn.day),
      from_offset: long(longColumn.from_offset),
      to_offset: long(longColumn.to_offset),
      first_offset,
      last_offset: long(longColumn.last_offset),
      rows: long(longColumn.rows),
      row_hash,
      sha256,
      bytes: long(longColumn.bytes),
      dead_letters: long(longColumn.dead_letters),
      schema_id: int(intColumn.schema_id),
      writer_version: int(intColumn.writer_version),
    };
  }

  #placeOf(column: number, text: string): number {
    if (this.#lastTexts[column] === text) return this.#lastPlaces[column] as number;
    let place = this.#places.get(text);
    if (place === undefined) {
      place = this.#texts.push(text) - 1;
      this.#places.set(text, place);
    }
    this.#lastTexts[column] = text;
    this.#lastPlaces[column] = place;
    return place;
  }
}

function newChunk(): Chunk {
  return {
    longs: new BigInt64Array(chunkRows * longColumns),
    ints: new Int32Array(chunkRows * intColumns),
    hashes: Buffer.alloc(chunkRows * (shaBytes + hashBytes)),
  };
}

/** Writes the bytes that a text means. False when they do not give the same text again. */
function writeHex(into: Buffer, at: number, text: string, bytes: number): boolean {
  return text.length === bytes * 2 && text.toLowerCase() === text && into.write(text, at, 'hex') === bytes;
}
