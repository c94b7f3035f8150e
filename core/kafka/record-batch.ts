import { gunzipSync } from 'node:zlib';
import { MillraceError } from '../errors.ts';
import type { LogRecord } from '../runtime/log.ts';
import { ZstdReader } from './zstd.ts';

/**
 * Decodes record batches (message format 2) as brokers return them for a read-committed fetch.
 *
 * Our own and not kafkajs's because a runtime needs what that hides: where to go on after control records and compacted gaps, exact
 * filtering of aborted transactions, and an upper bound on what a compressed batch may expand to.
 * Layout: https://kafka.apache.org/documentation/#recordbatch
 */
export interface AbortedTransaction {
  readonly producerId: bigint;
  readonly firstOffset: bigint;
}

/** Where the batches of committed records that are wanted are in a fetched record set. */
export interface ScannedBatches {
  /** Records in them, those before the position that was asked for included. */
  readonly size: number;
  /** Offset after the last complete batch; `from` when there was none. */
  readonly next: bigint;
  /** Decompresses and reads them. */
  readonly read: () => LogRecord[];
}

const headerBytes = 61;
const transactionalFlag = 0x10;
const controlFlag = 0x20;
const abortMarker = 0;
/** A batch that expands to more than this is refused, so that a small message cannot exhaust the heap. */
export const maxBatchBytes = 64 * 1024 * 1024;

/**
 * Looks over a record set by its batches' headers alone: what waits for its turn stays compressed.
 *
 * @param buffer The partition's record set; a cut-off last batch is ignored, as the protocol allows it.
 * @param from Records below it are dropped: a broker returns whole batches.
 * @param to Batches that begin at it or later are passed over. Default: none.
 */
export function scanBatches(
  buffer: Buffer,
  from: bigint,
  aborted: readonly AbortedTransaction[],
  to?: bigint,
): ScannedBatches {
  const pending = [...aborted].sort((a, b) => (a.firstOffset < b.firstOffset ? -1 : 1));
  const aborting = new Set<bigint>();
  const wanted: number[] = [];
  let size = 0;
  let next = from;
  let at = 0;
  while (at + headerBytes <= buffer.length) {
    const end = endOf(buffer, at);
    if (end > buffer.length) break;
    const attributes = buffer.readInt16BE(at + 21);
    const baseOffset = buffer.readBigInt64BE(at);
    const lastOffset = baseOffset + BigInt(buffer.readInt32BE(at + 23));
    const producerId = buffer.readBigInt64BE(at + 43);
    while (pending[0] !== undefined && pending[0].firstOffset <= lastOffset) {
      aborting.add((pending.shift() as AbortedTransaction).producerId);
    }
    if ((attributes & controlFlag) !== 0) {
      if (controlType(buffer.subarray(at + headerBytes, end)) === abortMarker) aborting.delete(producerId);
    } else if (!((attributes & transactionalFlag) !== 0 && aborting.has(producerId))) {
      if (lastOffset >= from && (to === undefined || baseOffset < to)) {
        wanted.push(at);
        size += buffer.readInt32BE(at + 57);
      }
    }
    if (lastOffset + 1n > next) next = lastOffset + 1n;
    at = end;
  }
  return { size, next, read: () => readBatches(buffer, wanted, from) };
}

/** Scans and reads at once. */
export function decodeBatches(
  buffer: Buffer,
  from: bigint,
  aborted: readonly AbortedTransaction[],
): { readonly records: LogRecord[]; readonly next: bigint } {
  const { read, next } = scanBatches(buffer, from, aborted);
  return { records: read(), next };
}

function endOf(buffer: Buffer, at: number): number {
  return at + 12 + buffer.readInt32BE(at + 8);
}

function readBatches(buffer: Buffer, batches: readonly number[], from: bigint): LogRecord[] {
  const records: LogRecord[] = [];
  const shared = { zstd: new ZstdReader(buffer.length, maxBatchBytes), headers: new HeaderCache() };
  for (const at of batches) readBatch(buffer, at, from, shared, records);
  return records;
}

function readBatch(
  buffer: Buffer,
  at: number,
  from: bigint,
  shared: { readonly zstd: ZstdReader; readonly headers: HeaderCache },
  into: LogRecord[],
): void {
  const baseOffset = buffer.readBigInt64BE(at);
  const baseTimestamp = buffer.readBigInt64BE(at + 27);
  const count = buffer.readInt32BE(at + 57);
  const attributes = buffer.readInt16BE(at + 21);
  const before = into.length;
  let code: 'TOO_LARGE' | 'BAD_RECORD' = 'TOO_LARGE';
  try {
    const body = decompress(attributes & 0x7, buffer.subarray(at + headerBytes, endOf(buffer, at)), shared.zstd);
    code = 'BAD_RECORD';
    const reader = new RecordReader(body);
    const batch = { body, baseOffset, baseTimestamp, headers: shared.headers };
    // Of most batches all records are wanted: then no offset needs to be computed.
    const skip = from > baseOffset ? Number(from - baseOffset) : 0;
    for (let i = 0; i < count; i++) {
      const record = reader.record(batch);
      if (record.offsetDelta >= skip) into.push(record);
    }
  } catch (error) {
    into.length = before;
    const cannot = code === 'TOO_LARGE' ? 'decompressed' : 'read';
    into.push({
      offset: baseOffset > from ? baseOffset : from,
      timestamp: baseTimestamp,
      key: null,
      value: null,
      unreadable: new MillraceError(
        code,
        `${count} records from offset ${baseOffset} cannot be ${cannot}: ${(error as Error).message}`,
        { cause: error },
      ),
    });
  }
}

function decompress(codec: number, bytes: Buffer, zstd: ZstdReader): Buffer {
  switch (codec) {
    case 0:
      return bytes;
    case 1:
      return gunzipSync(bytes, { maxOutputLength: maxBatchBytes });
    case 4:
      return zstd.read(bytes);
    default:
      throw new Error(
        `compression codec ${codec} (${codec === 2 ? 'snappy' : 'lz4'}) is not supported: use zstd, gzip or none`,
      );
  }
}

/** The type of a control record is the second int16 of its key: 0 abort, 1 commit. */
function controlType(body: Buffer): number {
  const reader = new RecordReader(body);
  const { key } = reader.record({ body, baseOffset: 0n, baseTimestamp: 0n, headers: new HeaderCache() });
  return key === null || key.length < 4 ? -1 : key.readInt16BE(2);
}

/** What the records of a batch share. */
interface Batch {
  readonly body: Buffer;
  readonly baseOffset: bigint;
  readonly baseTimestamp: bigint;
  readonly headers: HeaderCache;
}

type Headers = Readonly<Record<string, Buffer>>;

/** Reads headers. A source gives each of its records the same ones, longer than the record itself: what equals the last ones is not read again. */
class HeaderCache {
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
    // Whatever the names: one that objects have of their own, such as __proto__, is a header as well.
    this.#headers = Object.fromEntries(headers);
    this.#bytes = body.subarray(from, to);
    return this.#headers;
  }
}

/**
 * A record as places in its batch: numbers only, because a portion has thousands of them, and what is not yet done with is copied by
 * each garbage collection. Key and value become buffers each time they are asked for.
 */
class BatchRecord implements LogRecord {
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

class RecordReader {
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
    const offsetDelta = this.varint();
    const keyLength = this.varint();
    const keyAt = this.#at;
    if (keyLength > 0) this.#at += keyLength;
    const valueLength = this.varint();
    const valueAt = this.#at;
    if (valueLength > 0) this.#at += valueLength;
    if (this.#at >= end) throw new RangeError('a record is longer than it says');
    const headers = end - this.#at === 1 ? undefined : batch.headers.read(this.#buffer, this.#at, end);
    this.#at = end;
    return new BatchRecord(
      batch,
      timestampDelta,
      offsetDelta,
      keyAt,
      keyAt + keyLength,
      valueAt,
      valueAt + valueLength,
      headers,
    );
  }

  bytes(): Buffer | null {
    const length = this.varint();
    if (length < 0) return null;
    const start = this.#at;
    this.#at += length;
    return this.#buffer.subarray(start, this.#at);
  }

  /** Zigzag varint; exact up to 2^53, which deltas of timestamps in milliseconds never reach. */
  varint(): number {
    const buffer = this.#buffer;
    let byte = buffer[this.#at++] as number;
    if (byte < 0x80) return (byte >>> 1) ^ -(byte & 1);
    let value = byte & 0x7f;
    let scale = 128;
    do {
      if (this.#at >= buffer.length) throw new RangeError('record batch ends inside a varint');
      byte = buffer[this.#at++] as number;
      value += (byte & 0x7f) * scale;
      scale *= 128;
    } while (byte >= 0x80);
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }
}
