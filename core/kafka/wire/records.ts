/** Records within a batch (message format 2) that is decompressed. Layout: https://kafka.apache.org/documentation/#record */
import type { LogRecord } from '../../log/log.ts';

/** Scale of the tenth byte: a varint has at most 10. */
const longestVarint = 2 ** 63;

/** Parts that the records of a batch share. */
export interface Batch {
  readonly body: Buffer;
  readonly baseOffset: bigint;
  /** Timestamp of all records when the broker sets it (LogAppendTime); otherwise the one that their deltas refer to. */
  readonly baseTimestamp: bigint;
  readonly appendTime: boolean;
  readonly headers: HeaderCache;
}

type Headers = Readonly<Record<string, Buffer>>;

/** Reads headers. A source gives each of its records the same ones, longer than the record itself: what equals the last ones is not read again. */
export class HeaderCache {
  #bytes: Buffer = Buffer.alloc(0);
  #headers: Headers = {};

  /** @param from where the number of headers is; the last one ends at `to`. */
  read(body: Buffer, from: number, to: number): Headers {
    const known = this.#bytes;
    if (known.length === to - from && body.compare(known, 0, known.length, from, to) === 0) return this.#headers;
    const reader = new RecordReader(body, from);
    const headers: [string, Buffer][] = [];
    for (let count = reader.varint(); count > 0; count--) {
      headers.push([reader.bytes()?.toString('utf8') ?? '', reader.bytes() ?? Buffer.alloc(0)]);
    }
    if (reader.at !== to) throw new RangeError('headers end elsewhere than their record');
    // A name that objects have of their own, such as __proto__, is a header as well.
    this.#headers = Object.fromEntries(headers);
    this.#bytes = body.subarray(from, to);
    return this.#headers;
  }
}

/**
 * A record as places in its batch: numbers only, because a portion has thousands of them, and what is not yet done with is copied by
 * each garbage collection. Key and value become buffers each time they are asked for.
 */
export class BatchRecord implements LogRecord {
  readonly offsetDelta: number;
  readonly headers?: Headers;
  private readonly batch: Batch;
  private readonly timestampDelta: number;
  private readonly keyAt: number;
  private readonly keyEnd: number;
  private readonly valueAt: number;
  private readonly valueEnd: number;

  /** An end before its beginning stands for null. */
  constructor(
    batch: Batch,
    timestampDelta: number,
    offsetDelta: number,
    keyAt: number,
    keyEnd: number,
    valueAt: number,
    valueEnd: number,
    headers: Headers | undefined,
  ) {
    this.batch = batch;
    this.timestampDelta = timestampDelta;
    this.offsetDelta = offsetDelta;
    this.keyAt = keyAt;
    this.keyEnd = keyEnd;
    this.valueAt = valueAt;
    this.valueEnd = valueEnd;
    if (headers !== undefined) this.headers = headers;
  }

  get offset(): bigint {
    return this.batch.baseOffset + BigInt(this.offsetDelta);
  }

  get timestamp(): bigint {
    return this.batch.baseTimestamp + BigInt(this.timestampDelta);
  }

  get key(): Buffer | null {
    return this.keyEnd < this.keyAt ? null : this.batch.body.subarray(this.keyAt, this.keyEnd);
  }

  get value(): Buffer | null {
    return this.valueEnd < this.valueAt ? null : this.batch.body.subarray(this.valueAt, this.valueEnd);
  }
}

export class RecordReader {
  readonly #buffer: Buffer;
  #at: number;

  constructor(buffer: Buffer, at = 0) {
    this.#buffer = buffer;
    this.#at = at;
  }

  get at(): number {
    return this.#at;
  }

  /** @throws RangeError for a record whose parts do not fill its length. */
  record(batch: Batch): BatchRecord {
    const length = this.varint();
    const end = this.#at + length;
    if (length < 0 || end > this.#buffer.length) throw new RangeError('record batch ends inside a record');
    this.#at += 1; // attributes: none defined
    const timestampDelta = this.varint();
    if (!Number.isSafeInteger(timestampDelta)) throw new RangeError('a timestamp is out of range');
    const offsetDelta = this.varint();
    const keyLength = this.#length();
    const keyAt = this.#at;
    if (keyLength > 0) this.#at += keyLength;
    const valueLength = this.#length();
    const valueAt = this.#at;
    if (valueLength > 0) this.#at += valueLength;
    if (this.#at >= end) throw new RangeError('a record is longer than it says');
    const headers =
      end - this.#at === 1 && this.#buffer[this.#at] === 0
        ? undefined
        : batch.headers.read(this.#buffer, this.#at, end);
    this.#at = end;
    return new BatchRecord(
      batch,
      batch.appendTime ? 0 : timestampDelta,
      offsetDelta,
      keyAt,
      keyAt + keyLength,
      valueAt,
      valueAt + valueLength,
      headers,
    );
  }

  bytes(): Buffer | null {
    const length = this.#length();
    if (length < 0) return null;
    const start = this.#at;
    this.#at += length;
    return this.#buffer.subarray(start, this.#at);
  }

  /** -1 stands for null. */
  #length(): number {
    const length = this.varint();
    if (length < -1) throw new RangeError('a length is negative');
    return length;
  }

  /** Zigzag varint of at most 10 bytes; exact up to 2^53, which deltas of timestamps in milliseconds never reach. */
  varint(): number {
    const buffer = this.#buffer;
    let byte = buffer[this.#at++] as number;
    if (byte < 0x80) return (byte >>> 1) ^ -(byte & 1);
    let value = byte & 0x7f;
    let scale = 128;
    do {
      if (this.#at >= buffer.length) throw new RangeError('record batch ends inside a varint');
      if (scale > longestVarint) throw new RangeError('a varint is too long');
      byte = buffer[this.#at++] as number;
      value += (byte & 0x7f) * scale;
      scale *= 128;
    } while (byte >= 0x80);
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }
}
