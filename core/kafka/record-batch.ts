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

export interface DecodedBatches {
  readonly records: LogRecord[];
  /** Offset after the last complete batch; `from` when there was none. */
  readonly next: bigint;
}

const headerBytes = 61;
const transactionalFlag = 0x10;
const controlFlag = 0x20;
const abortMarker = 0;
/** A batch that expands to more than this is refused, so that a small message cannot exhaust the heap. */
export const maxBatchBytes = 64 * 1024 * 1024;

/**
 * @param buffer The partition's record set; a cut-off last batch is ignored, as the protocol allows it.
 * @param from Records below it are dropped: a broker returns whole batches.
 */
export function decodeBatches(buffer: Buffer, from: bigint, aborted: readonly AbortedTransaction[]): DecodedBatches {
  const records: LogRecord[] = [];
  const pending = [...aborted].sort((a, b) => (a.firstOffset < b.firstOffset ? -1 : 1));
  const aborting = new Set<bigint>();
  const zstd = new ZstdReader(buffer.length, maxBatchBytes);
  let next = from;
  let at = 0;
  while (at + headerBytes <= buffer.length) {
    const baseOffset = buffer.readBigInt64BE(at);
    const end = at + 12 + buffer.readInt32BE(at + 8);
    if (end > buffer.length) break;
    const attributes = buffer.readInt16BE(at + 21);
    const lastOffset = baseOffset + BigInt(buffer.readInt32BE(at + 23));
    const producerId = buffer.readBigInt64BE(at + 43);
    while (pending[0] !== undefined && pending[0].firstOffset <= lastOffset) {
      aborting.add((pending.shift() as AbortedTransaction).producerId);
    }
    if ((attributes & controlFlag) !== 0) {
      if (controlType(buffer.subarray(at + headerBytes, end)) === abortMarker) aborting.delete(producerId);
    } else if (!((attributes & transactionalFlag) !== 0 && aborting.has(producerId)) && lastOffset >= from) {
      decodeBatch(buffer, at, end, attributes, baseOffset, from, zstd, records);
    }
    if (lastOffset + 1n > next) next = lastOffset + 1n;
    at = end;
  }
  return { records, next };
}

function decodeBatch(
  buffer: Buffer,
  at: number,
  end: number,
  attributes: number,
  baseOffset: bigint,
  from: bigint,
  zstd: ZstdReader,
  into: LogRecord[],
): void {
  const baseTimestamp = buffer.readBigInt64BE(at + 27);
  const count = buffer.readInt32BE(at + 57);
  let body: Buffer;
  try {
    body = decompress(attributes & 0x7, buffer.subarray(at + headerBytes, end), zstd);
  } catch (error) {
    const bad = new MillraceError(
      'TOO_LARGE',
      `${count} records from offset ${baseOffset} cannot be decompressed: ${(error as Error).message}`,
      {
        cause: error,
      },
    );
    into.push({
      offset: baseOffset > from ? baseOffset : from,
      timestamp: baseTimestamp,
      key: null,
      value: null,
      unreadable: bad,
    });
    return;
  }
  const reader = new RecordReader(body);
  const batch = { body, baseOffset, baseTimestamp };
  // Of most batches all records are wanted: then no offset needs to be computed.
  const skip = from > baseOffset ? Number(from - baseOffset) : 0;
  for (let i = 0; i < count; i++) {
    const record = reader.record(batch);
    if (record.offsetDelta >= skip) into.push(record);
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
  const { key } = reader.record({ body, baseOffset: 0n, baseTimestamp: 0n });
  return key === null || key.length < 4 ? -1 : key.readInt16BE(2);
}

/** What the records of a batch share. */
interface Batch {
  readonly body: Buffer;
  readonly baseOffset: bigint;
  readonly baseTimestamp: bigint;
}

/**
 * A record as places in its batch: numbers only, because records wait by the thousand for their turn, and what waits is copied by each
 * garbage collection. Key and value become buffers when they are asked for.
 */
class BatchRecord implements LogRecord {
  readonly offsetDelta: number;
  readonly #batch: Batch;
  readonly #timestampDelta: number;
  readonly #keyAt: number;
  readonly #keyEnd: number;
  readonly #valueAt: number;
  readonly #valueEnd: number;
  #value: Buffer | null | undefined;
  readonly headers?: Readonly<Record<string, Buffer>>;

  /** An end before its beginning stands for null. */
  constructor(
    batch: Batch,
    timestampDelta: number,
    offsetDelta: number,
    keyAt: number,
    keyEnd: number,
    valueAt: number,
    valueEnd: number,
    headers: Readonly<Record<string, Buffer>> | undefined,
  ) {
    this.#batch = batch;
    this.#timestampDelta = timestampDelta;
    this.offsetDelta = offsetDelta;
    this.#keyAt = keyAt;
    this.#keyEnd = keyEnd;
    this.#valueAt = valueAt;
    this.#valueEnd = valueEnd;
    this.#value = undefined;
    if (headers !== undefined) this.headers = headers;
  }

  get offset(): bigint {
    return this.#batch.baseOffset + BigInt(this.offsetDelta);
  }

  get timestamp(): bigint {
    return this.#batch.baseTimestamp + BigInt(this.#timestampDelta);
  }

  get key(): Buffer | null {
    return this.#keyEnd < this.#keyAt ? null : this.#batch.body.subarray(this.#keyAt, this.#keyEnd);
  }

  /** Kept once it was made: whoever looks for its schema decodes it soon after. */
  get value(): Buffer | null {
    this.#value ??= this.#valueEnd < this.#valueAt ? null : this.#batch.body.subarray(this.#valueAt, this.#valueEnd);
    return this.#value;
  }
}

class RecordReader {
  readonly #buffer: Buffer;
  #at = 0;

  constructor(buffer: Buffer) {
    this.#buffer = buffer;
  }

  record(batch: Batch): BatchRecord {
    this.#varint();
    this.#at += 1; // attributes: none defined
    const timestampDelta = this.#varint();
    const offsetDelta = this.#varint();
    const keyLength = this.#varint();
    const keyAt = this.#at;
    if (keyLength > 0) this.#at += keyLength;
    const valueLength = this.#varint();
    const valueAt = this.#at;
    if (valueLength > 0) this.#at += valueLength;
    const headers = this.#headers();
    if (this.#at > this.#buffer.length) throw new RangeError('record batch ends inside a record');
    const [keyEnd, valueEnd] = [keyAt + keyLength, valueAt + valueLength];
    return new BatchRecord(batch, timestampDelta, offsetDelta, keyAt, keyEnd, valueAt, valueEnd, headers);
  }

  #headers(): Readonly<Record<string, Buffer>> | undefined {
    const count = this.#varint();
    if (count === 0) return undefined;
    const headers: [string, Buffer][] = [];
    for (let i = 0; i < count; i++) {
      headers.push([this.#bytes()?.toString('utf8') ?? '', this.#bytes() ?? Buffer.alloc(0)]);
    }
    // Whatever the names: one that objects have of their own, such as __proto__, is a header as well.
    return Object.fromEntries(headers);
  }

  #bytes(): Buffer | null {
    const length = this.#varint();
    if (length < 0) return null;
    const start = this.#at;
    this.#at += length;
    return this.#buffer.subarray(start, this.#at);
  }

  /** Zigzag varint; exact up to 2^53, which deltas of timestamps in milliseconds never reach. */
  #varint(): number {
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
