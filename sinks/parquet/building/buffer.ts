import { HEADER_BYTES, schemaIdOf } from '../../../core/avro/decoder.ts';
import type { LogRecord } from '../../../core/log/log.ts';
import { redrivenOf } from '../../../core/log/redriven.ts';

const slabBytes = 1 << 20;
const firstEntries = 1024;
/** Per record: offset, timestamp, slab, position, length of key, length of value. */
const entryBytes = 8 + 8 + 4 + 4 + 4 + 4;
const absent = -1;

/**
 * Records copied into large slabs. A record from the log keeps its whole fetched batch alive and costs several objects. Here it costs its
 * own bytes plus 32, so a bound on `bytes` bounds memory.
 */
export class RecordBuffer implements Iterable<LogRecord> {
  #slabs: Buffer[] = [];
  #used = 0;
  #count = 0;
  #bytes = 0;
  #offsets = new BigInt64Array(firstEntries);
  #timestamps = new BigInt64Array(firstEntries);
  #places = new Int32Array(firstEntries * 4);
  /** The first header of each schema id. */
  readonly #headers = new Map<number, Buffer>();
  #lastId: number | undefined;
  readonly #unreadable = new Map<number, NonNullable<LogRecord['unreadable']>>();
  readonly #redriven = new Map<number, NonNullable<LogRecord['headers']>>();

  get length(): number {
    return this.#count;
  }

  /** Bytes held, bookkeeping included. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The schema ids in its values, each with the header of one value. */
  get headers(): ReadonlyMap<number, Buffer> {
    return this.#headers;
  }

  get firstTimestamp(): bigint | undefined {
    return this.#count === 0 ? undefined : this.#timestamps[0];
  }

  get lastTimestamp(): bigint | undefined {
    return this.#count === 0 ? undefined : this.#timestamps[this.#count - 1];
  }

  push(record: LogRecord): void {
    if (this.#count === this.#offsets.length) this.#grow();
    const { key, value } = record;
    const keyLength = key?.length ?? 0;
    const length = keyLength + (value?.length ?? 0);
    const slab = this.#room(length);
    key?.copy(slab, this.#used);
    value?.copy(slab, this.#used + keyLength);
    const at = this.#count * 4;
    this.#offsets[this.#count] = record.offset;
    this.#timestamps[this.#count] = record.timestamp;
    this.#places[at] = this.#slabs.length - 1;
    this.#places[at + 1] = this.#used;
    this.#places[at + 2] = key === null ? absent : keyLength;
    this.#places[at + 3] = value === null ? absent : value.length;
    if (record.unreadable !== undefined) this.#unreadable.set(this.#count, record.unreadable);
    if (redrivenOf(record.headers) !== undefined) this.#redriven.set(this.#count, copied(record.headers));
    if (value !== null) this.#noteSchema(value);
    this.#used += length;
    this.#count++;
    this.#bytes += length + entryBytes;
  }

  clear(): void {
    this.#slabs = [];
    this.#used = 0;
    this.#count = 0;
    this.#bytes = 0;
    this.#unreadable.clear();
    this.#redriven.clear();
    this.#headers.clear();
    this.#lastId = undefined;
  }

  /** In order of arrival. Keys and values are views, valid until `clear`. */
  *[Symbol.iterator](): Generator<LogRecord> {
    for (let i = 0; i < this.#count; i++) yield this.#record(i);
  }

  #record(index: number): LogRecord {
    const at = index * 4;
    const slab = this.#slabs[this.#places[at] ?? 0];
    const start = this.#places[at + 1] ?? 0;
    const keyLength = this.#places[at + 2] ?? absent;
    const valueLength = this.#places[at + 3] ?? absent;
    const split = start + Math.max(keyLength, 0);
    const record = {
      offset: this.#offsets[index] ?? 0n,
      timestamp: this.#timestamps[index] ?? 0n,
      key: keyLength === absent || slab === undefined ? null : slab.subarray(start, split),
      value: valueLength === absent || slab === undefined ? null : slab.subarray(split, split + valueLength),
    };
    const unreadable = this.#unreadable.get(index);
    const headers = this.#redriven.get(index);
    if (unreadable === undefined && headers === undefined) return record;
    return {
      ...record,
      ...(unreadable === undefined ? {} : { unreadable }),
      ...(headers === undefined ? {} : { headers }),
    };
  }

  #noteSchema(value: Buffer): void {
    const id = schemaIdOf(value);
    if (id === undefined || id === this.#lastId) return;
    this.#lastId = id;
    if (!this.#headers.has(id)) this.#headers.set(id, Buffer.from(value.subarray(0, HEADER_BYTES)));
  }

  #room(length: number): Buffer {
    const current = this.#slabs.at(-1);
    if (current !== undefined && this.#used + length <= current.length) return current;
    const slab = Buffer.allocUnsafeSlow(Math.max(slabBytes, length));
    this.#slabs.push(slab);
    this.#used = 0;
    return slab;
  }

  #grow(): void {
    const entries = this.#offsets.length * 2;
    const offsets = new BigInt64Array(entries);
    const timestamps = new BigInt64Array(entries);
    const places = new Int32Array(entries * 4);
    offsets.set(this.#offsets);
    timestamps.set(this.#timestamps);
    places.set(this.#places);
    this.#offsets = offsets;
    this.#timestamps = timestamps;
    this.#places = places;
  }
}

/** Copies the headers, because those from the log keep a whole batch alive. */
function copied(headers: LogRecord['headers']): NonNullable<LogRecord['headers']> {
  return Object.fromEntries(Object.entries(headers ?? {}).map(([name, value]) => [name, Buffer.from(value)]));
}
