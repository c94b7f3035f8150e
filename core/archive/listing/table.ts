import type { ArchiveObject } from '../../../schemas/gen/archive_object.ts';
import { keyOf, nameOf } from './names.ts';

/** Objects of the archive, in an order; an array is one, too. */
export interface ObjectList extends Iterable<ArchiveObject> {
  readonly length: number;
  at(index: number): ArchiveObject | undefined;
}

/** Rows of a chunk; a table grows by chunks, so nothing is copied. */
const chunkRows = 4_096;
const longs = ['from_offset', 'to_offset', 'first_offset', 'last_offset', 'rows', 'bytes', 'dead_letters'] as const;
const ints = ['partition', 'schema_id', 'writer_version'] as const;
const texts = ['epoch', 'topic', 'day'] as const;
const longColumn = Object.fromEntries(longs.map((name, i) => [name, i])) as Record<(typeof longs)[number], number>;
const intColumn = Object.fromEntries(ints.map((name, i) => [name, i])) as Record<(typeof ints)[number], number>;
/** Places of shared texts behind the integers: the key's head and tail, then `texts`. */
const headColumn = ints.length;
const tailColumn = headColumn + 1;
const firstText = headColumn + 2;
const intColumns = firstText + texts.length;
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
  readonly #last = new Map<number, { readonly text: string; readonly place: number }>();
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
    for (const [i, name] of longs.entries()) chunk.longs[at * longs.length + i] = object[name];
    const base = at * intColumns;
    for (const [i, name] of ints.entries()) chunk.ints[base + i] = object[name];
    for (const [i, name] of texts.entries())
      chunk.ints[base + firstText + i] = this.#placeOf(firstText + i, object[name]);
    const hashAt = at * (shaBytes + hashBytes);
    const name = isHex(object.sha256, shaBytes) && isHex(object.row_hash, hashBytes) ? nameOf(object.key) : undefined;
    if (name === undefined || BigInt(name.offset) !== object.first_offset) {
      chunk.ints[base + headColumn] = noName;
      this.#odd.set(row, { key: object.key, sha256: object.sha256, row_hash: object.row_hash });
      return;
    }
    chunk.ints[base + headColumn] = this.#placeOf(headColumn, name.head);
    chunk.ints[base + tailColumn] = this.#placeOf(tailColumn, name.tail);
    chunk.hashes.write(object.sha256, hashAt, 'hex');
    chunk.hashes.write(object.row_hash, hashAt + shaBytes, 'hex');
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
    const long = (name: (typeof longs)[number]) => chunk.longs[at * longs.length + longColumn[name]] as bigint;
    const int = (column: number) => chunk.ints[at * intColumns + column] as number;
    const text = (column: number) => this.#texts[int(column)] as string;
    const hashAt = at * (shaBytes + hashBytes);
    const first_offset = long('first_offset');
    const { key, sha256, row_hash } =
      int(headColumn) === noName
        ? (this.#odd.get(row) as Pick<ArchiveObject, 'key' | 'sha256' | 'row_hash'>)
        : {
            key: keyOf({ head: text(headColumn), offset: Number(first_offset), tail: text(tailColumn) }),
            sha256: chunk.hashes.toString('hex', hashAt, hashAt + shaBytes),
            row_hash: chunk.hashes.toString('hex', hashAt + shaBytes, hashAt + shaBytes + hashBytes),
          };
    return {
      key,
      epoch: text(firstText),
      topic: text(firstText + 1),
      partition: int(intColumn.partition),
      day: text(firstText + 2),
      from_offset: long('from_offset'),
      to_offset: long('to_offset'),
      first_offset,
      last_offset: long('last_offset'),
      rows: long('rows'),
      row_hash,
      sha256,
      bytes: long('bytes'),
      dead_letters: long('dead_letters'),
      schema_id: int(intColumn.schema_id),
      writer_version: int(intColumn.writer_version),
    };
  }

  #placeOf(column: number, text: string): number {
    const last = this.#last.get(column);
    if (last?.text === text) return last.place;
    let place = this.#places.get(text);
    if (place === undefined) {
      place = this.#texts.push(text) - 1;
      this.#places.set(text, place);
    }
    this.#last.set(column, { text, place });
    return place;
  }
}

function newChunk(): Chunk {
  return {
    longs: new BigInt64Array(chunkRows * longs.length),
    ints: new Int32Array(chunkRows * intColumns),
    hashes: Buffer.alloc(chunkRows * (shaBytes + hashBytes)),
  };
}

function isHex(text: string, bytes: number): boolean {
  if (text.length !== bytes * 2) return false;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (!((code >= 48 && code <= 57) || (code >= 97 && code <= 102))) return false;
  }
  return true;
}
