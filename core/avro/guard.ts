/**
 * Looks over encoded bytes before they are decoded, so that decoding allocates no more than the bytes can mean: five bytes can claim
 * an array of five million items, and a block whose stated length is a lie (a negative one, too) sends a skipping reader anywhere.
 *
 * Only schemas with arrays, maps or recursion need it. Of all others a decoder's work is bounded by the schema.
 */
import avro from 'avsc';
import { MillraceError } from '../base/errors.ts';
import type { AvroType } from './types.ts';

/** Deepest nesting of records; only recursive schemas can reach it. */
const MAX_DEPTH = 64;

export interface Guard {
  /** @throws MillraceError TOO_LARGE for more than `maxItems` items in all, or too deep nesting; BAD_AVRO */
  check(bytes: Buffer, from: number): void;
}

interface Cursor {
  readonly bytes: Buffer;
  pos: number;
  items: number;
  depth: number;
}

type Scan = (cursor: Cursor) => void;

/** The guard of a writer's type, or undefined when decoding is bounded without one. */
export function guardOf(type: AvroType, maxItems: number): Guard | undefined {
  const compiler = new Compiler(maxItems);
  const scan = compiler.scanOf(type);
  if (!compiler.unbounded) return undefined;
  return {
    check(bytes, from) {
      const cursor = { bytes, pos: from, items: 0, depth: 0 };
      scan(cursor);
      if (cursor.pos > bytes.length) throw truncated();
    },
  };
}

class Compiler {
  unbounded = false;
  readonly #maxItems: number;
  readonly #records = new Map<AvroType, Scan | undefined>();

  constructor(maxItems: number) {
    this.#maxItems = maxItems;
  }

  scanOf(type: AvroType): Scan {
    if (type instanceof avro.types.LogicalType) return this.scanOf(type.underlyingType);
    if (type instanceof avro.types.UnwrappedUnionType || type instanceof avro.types.WrappedUnionType) {
      return this.#union(type.types);
    }
    if (type instanceof avro.types.RecordType) return this.#record(type);
    if (type instanceof avro.types.ArrayType) return this.#blocks(this.scanOf(type.itemsType));
    if (type instanceof avro.types.MapType) {
      const value = this.scanOf(type.valuesType as AvroType);
      return this.#blocks((cursor) => {
        skipBytes(cursor);
        value(cursor);
      });
    }
    if (type instanceof avro.types.FixedType) return skipping(type.size);
    switch (type.typeName) {
      case 'null':
        return skipping(0);
      case 'boolean':
        return skipping(1);
      case 'float':
        return skipping(4);
      case 'double':
        return skipping(8);
      case 'string':
      case 'bytes':
        return skipBytes;
      default: // int, long, enum
        return readVarint;
    }
  }

  #union(types: readonly AvroType[]): Scan {
    const scans = types.map((branch) => this.scanOf(branch));
    return (cursor) => {
      const scan = scans[readVarint(cursor)];
      if (scan === undefined) throw new MillraceError('BAD_AVRO', 'a union has no such branch');
      scan(cursor);
    };
  }

  #record(type: avro.types.RecordType): Scan {
    if (this.#records.has(type)) {
      // The record is inside itself, or used again: in both cases the finished scan is looked up when it is needed.
      if (this.#records.get(type) === undefined) this.unbounded = true;
      return (cursor) => this.#records.get(type)?.(cursor);
    }
    this.#records.set(type, undefined);
    const scans = type.fields.map((field) => this.scanOf(field.type));
    const scan: Scan = (cursor) => {
      if (++cursor.depth > MAX_DEPTH) throw new MillraceError('TOO_LARGE', `records nested deeper than ${MAX_DEPTH}`);
      for (const field of scans) field(cursor);
      cursor.depth--;
    };
    this.#records.set(type, scan);
    return scan;
  }

  #blocks(item: Scan): Scan {
    this.unbounded = true;
    return (cursor) => {
      for (;;) {
        let count = readVarint(cursor);
        if (count === 0) return;
        let end = -1;
        if (count < 0) {
          count = -count;
          const length = readVarint(cursor);
          end = cursor.pos + length;
          if (length < 0 || end > cursor.bytes.length)
            throw new MillraceError('BAD_AVRO', 'a block has a false length');
        }
        cursor.items += count;
        if (cursor.items > this.#maxItems) {
          throw new MillraceError('TOO_LARGE', `arrays and maps of more than ${this.#maxItems} items`);
        }
        for (let left = count; left > 0; left--) item(cursor);
        if (end !== -1 && cursor.pos !== end) throw new MillraceError('BAD_AVRO', 'a block has a false length');
      }
    };
  }
}

function skipping(length: number): Scan {
  return (cursor) => {
    cursor.pos += length;
    if (cursor.pos > cursor.bytes.length) throw truncated();
  };
}

function skipBytes(cursor: Cursor): void {
  const length = readVarint(cursor);
  if (length < 0) throw new MillraceError('BAD_AVRO', 'a negative length');
  cursor.pos += length;
  if (cursor.pos > cursor.bytes.length) throw truncated();
}

/** Exact up to 2^53, which is more than any length or count that is let through. */
function readVarint(cursor: Cursor): number {
  let value = 0;
  let unit = 1;
  for (let length = 1; ; length++) {
    const byte = cursor.bytes[cursor.pos++];
    if (byte === undefined) throw truncated();
    value += (byte & 0x7f) * unit;
    if (byte < 0x80) break;
    if (length === 10) throw new MillraceError('BAD_AVRO', 'a number of more than ten bytes');
    unit *= 128;
  }
  return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
}

function truncated(): MillraceError {
  return new MillraceError('BAD_AVRO', 'the record ends too early');
}
