import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import { MillraceError } from '../errors.ts';
import type { LogRecord } from '../runtime/log.ts';

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
      decodeBatch(buffer, at, end, attributes, baseOffset, from, records);
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
  into: LogRecord[],
): void {
  const baseTimestamp = buffer.readBigInt64BE(at + 27);
  const count = buffer.readInt32BE(at + 57);
  let body: Buffer;
  try {
    body = decompress(attributes & 0x7, buffer.subarray(at + headerBytes, end));
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
  for (let i = 0; i < count; i++) {
    const record = reader.record(baseOffset, baseTimestamp);
    if (record.offset >= from) into.push(record);
  }
}

function decompress(codec: number, bytes: Buffer): Buffer {
  switch (codec) {
    case 0:
      return bytes;
    case 1:
      return gunzipSync(bytes, { maxOutputLength: maxBatchBytes });
    case 4:
      return zstdDecompressSync(bytes, { maxOutputLength: maxBatchBytes });
    default:
      throw new Error(
        `compression codec ${codec} (${codec === 2 ? 'snappy' : 'lz4'}) is not supported: use zstd, gzip or none`,
      );
  }
}

/** The type of a control record is the second int16 of its key: 0 abort, 1 commit. */
function controlType(body: Buffer): number {
  const reader = new RecordReader(body);
  const key = reader.record(0n, 0n).key;
  return key === null || key.length < 4 ? -1 : key.readInt16BE(2);
}

class RecordReader {
  readonly #buffer: Buffer;
  #at = 0;

  constructor(buffer: Buffer) {
    this.#buffer = buffer;
  }

  record(baseOffset: bigint, baseTimestamp: bigint): LogRecord {
    this.#varint();
    this.#at += 1; // attributes: none defined
    const timestamp = baseTimestamp + BigInt(this.#varint());
    const offset = baseOffset + BigInt(this.#varint());
    const key = this.#bytes();
    const value = this.#bytes();
    const headerCount = this.#varint();
    if (headerCount === 0) return { offset, timestamp, key, value };
    const headers: Record<string, Buffer> = {};
    for (let i = 0; i < headerCount; i++) {
      const name = this.#bytes()?.toString('utf8') ?? '';
      headers[name] = this.#bytes() ?? Buffer.alloc(0);
    }
    return { offset, timestamp, key, value, headers };
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
