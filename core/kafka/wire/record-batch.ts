import { gunzipSync } from 'node:zlib';
import { MillraceError } from '../../base/errors.ts';
import type { LogRecord } from '../../log/log.ts';
import { crc32c } from './crc32c.ts';
import { HeaderCache, RecordReader } from './records.ts';
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

/** A batch that is not what its producer wrote, or whose place in the partition cannot be right. */
export interface Damage {
  readonly reason: string;
  /** First offset that the batch may have. */
  readonly offset: bigint;
  /** Offset after the batch; undefined when nothing in the record set shows it. */
  readonly end: bigint | undefined;
  /** Milliseconds, from the batch's header; 0 when the header cannot be right. */
  readonly timestamp: bigint;
}

/** Positions of the wanted batches of committed records in a fetched record set. */
export interface ScannedBatches {
  /** Records in them, those before the position that was asked for included. */
  readonly size: number;
  /** Offset after the last complete batch; `from` when there was none. */
  readonly next: bigint;
  /** The batch at `next` is damaged; nothing from it on is in `read`. */
  readonly damage?: Damage;
  /** Decompresses and reads them. */
  readonly read: () => LogRecord[];
}

/** Limits of a partition's offsets. */
export interface Bounds {
  /** Batches that begin at it or later are passed over. Default: none. */
  readonly to?: bigint;
  /**
   * The partition's high watermark. No batch goes beyond it, but for one: a broker tells it as it was before it read, so a sound batch may be beyond it
   * the first time, and not when it is read again. Default: unknown.
   */
  readonly end?: bigint;
}

const headerBytes = 61;
const magic = 2;
/** Bytes of a batch before those that its length counts, and the least that it can count. */
const prefixBytes = 12;
const leastLength = headerBytes - prefixBytes;
const appendTimeFlag = 0x08;
const transactionalFlag = 0x10;
const controlFlag = 0x20;
const abortMarker = 0;
/** Timestamps of a damaged batch that lie farther apart are not believed. */
const widestBatchMs = 7n * 24n * 3_600_000n;
/** A batch that expands to more than this is refused, so that a small message cannot exhaust the heap. */
export const maxBatchBytes = 64 * 1024 * 1024;

/**
 * Looks over a record set by its batches' headers alone: what waits for its turn stays compressed. Checksums are compared here.
 *
 * A damaged batch ends the portion: it may have been the marker that ends an aborted transaction, so what follows is read by a fetch of its own.
 * The checksum covers neither a batch's base offset nor its length. The base offset is compared with its neighbours and the bounds.
 *
 * @param buffer The partition's record set; a cut-off last batch is ignored, as the protocol allows it.
 * @param from Records below it are dropped: a broker returns whole batches.
 */
export function scanBatches(
  buffer: Buffer,
  from: bigint,
  aborted: readonly AbortedTransaction[],
  { to, end }: Bounds = {},
): ScannedBatches {
  const pending = [...aborted].sort((a, b) => (a.firstOffset < b.firstOffset ? -1 : 1));
  const aborting = new Set<bigint>();
  const wanted: number[] = [];
  let size = 0;
  let next = from;
  let damage: Damage | undefined;
  for (let at = 0; at < buffer.length; at = endOf(buffer, at)) {
    const fault = faultOf(buffer, at, next, end);
    // A broker never cuts the first batch: a position would never get past it.
    if (fault === 'cut off' && at > 0) break;
    if (fault !== undefined) {
      damage = damageOf(buffer, at, fault, next, end);
      break;
    }
    const attributes = buffer.readInt16BE(at + 21);
    const baseOffset = buffer.readBigInt64BE(at);
    const lastOffset = lastOffsetOf(buffer, at);
    const producerId = buffer.readBigInt64BE(at + 43);
    while (pending[0] !== undefined && pending[0].firstOffset <= lastOffset) {
      aborting.add((pending.shift() as AbortedTransaction).producerId);
    }
    if ((attributes & controlFlag) !== 0) {
      if (controlType(buffer.subarray(at + headerBytes, endOf(buffer, at))) === abortMarker) {
        aborting.delete(producerId);
      }
    } else if (!((attributes & transactionalFlag) !== 0 && aborting.has(producerId))) {
      if (to === undefined || baseOffset < to) {
        wanted.push(at);
        size += Math.max(1, buffer.readInt32BE(at + 57));
      }
    }
    next = lastOffset + 1n;
  }
  return { size, next, ...(damage === undefined ? {} : { damage }), read: () => readBatches(buffer, wanted, from) };
}

/** Scans and reads at once. */
export function decodeBatches(
  buffer: Buffer,
  from: bigint,
  aborted: readonly AbortedTransaction[],
  bounds?: Bounds,
): { readonly records: LogRecord[]; readonly next: bigint; readonly damage?: Damage } {
  const { read, size: _, ...scanned } = scanBatches(buffer, from, aborted, bounds);
  return { ...scanned, records: read() };
}

/** The record that stands for a damaged batch: a dead letter. */
export function damagedRecord({ reason, offset, timestamp, end }: Damage): LogRecord {
  const message = `the batch from offset ${offset}${end === undefined ? '' : ` to ${end - 1n}`} is damaged: ${reason}`;
  return { offset, timestamp, key: null, value: null, unreadable: new MillraceError('BAD_RECORD', message) };
}

function endOf(buffer: Buffer, at: number): number {
  return at + prefixBytes + buffer.readInt32BE(at + 8);
}

function lastOffsetOf(buffer: Buffer, at: number): bigint {
  return buffer.readBigInt64BE(at) + BigInt(buffer.readInt32BE(at + 23));
}

type Fault = 'cut off' | 'length' | 'format' | 'checksum' | 'offsets';

const reasons: Readonly<Record<Fault, string>> = {
  'cut off': 'it is longer than what the broker sent',
  length: 'its length is too small',
  format: `its format is not ${magic}`,
  checksum: 'its checksum does not match',
  offsets: 'its offsets do not fit those around it',
};

/** Compares a batch with what its header says of it. A last batch that is cut off is no fault, unless it is the first one, too. */
function faultOf(buffer: Buffer, at: number, position: bigint, limit: bigint | undefined): Fault | undefined {
  if (at + headerBytes > buffer.length) return 'cut off';
  if (buffer.readInt32BE(at + 8) < leastLength) return 'length';
  if (buffer[at + 16] !== magic) return 'format';
  const after = endOf(buffer, at);
  if (after > buffer.length) return 'cut off';
  if (crc32c(buffer.subarray(at + 21, after)) !== buffer.readUInt32BE(at + 17)) return 'checksum';
  const base = buffer.readBigInt64BE(at);
  const last = lastOffsetOf(buffer, at);
  // Only the first batch may begin before the position.
  const ordered = last >= base && last >= position && (at === 0 || base >= position);
  const below = limit === undefined || last < limit;
  const disjoint = after + 8 > buffer.length || buffer.readBigInt64BE(after) > last;
  return ordered && below && disjoint ? undefined : 'offsets';
}

/** Known facts of a damaged batch. */
function damageOf(buffer: Buffer, at: number, fault: Fault, position: bigint, limit: bigint | undefined): Damage {
  const reason = reasons[fault];
  if (at + headerBytes > buffer.length) return { reason, offset: position, end: undefined, timestamp: 0n };
  const base = buffer.readBigInt64BE(at);
  const [first, max] = [buffer.readBigInt64BE(at + 27), buffer.readBigInt64BE(at + 35)];
  const placed = fault !== 'offsets' && (at === 0 || base >= position) && (limit === undefined || base < limit);
  return {
    reason,
    offset: placed && base > position ? base : position,
    end: (placed ? countedEnd(buffer, at, position, limit) : undefined) ?? beginOfNext(buffer, at, position, limit),
    timestamp: first >= 0n && first <= max && max - first <= widestBatchMs ? first : 0n,
  };
}

/** Offset after a damaged batch by its count of records and its last offset, if they agree: damage seldom changes both to agree. */
function countedEnd(buffer: Buffer, at: number, position: bigint, limit: bigint | undefined): bigint | undefined {
  const count = buffer.readInt32BE(at + 57);
  const end = buffer.readBigInt64BE(at) + BigInt(count);
  const agreed = count > 0 && count - 1 === buffer.readInt32BE(at + 23);
  return agreed && end > position && (limit === undefined || end <= limit) ? end : undefined;
}

/** First offset of the batch behind a damaged one, if that one is sound, hence where the length says. */
function beginOfNext(buffer: Buffer, at: number, position: bigint, limit: bigint | undefined): bigint | undefined {
  const after = endOf(buffer, at);
  if (after < at + headerBytes || after + headerBytes > buffer.length) return undefined;
  const base = buffer.readBigInt64BE(after);
  return base > position && faultOf(buffer, after, base, limit) === undefined ? base : undefined;
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
  const count = buffer.readInt32BE(at + 57);
  const attributes = buffer.readInt16BE(at + 21);
  const appendTime = (attributes & appendTimeFlag) !== 0;
  const baseTimestamp = buffer.readBigInt64BE(at + (appendTime ? 35 : 27));
  const before = into.length;
  let code: 'TOO_LARGE' | 'BAD_RECORD' = 'TOO_LARGE';
  try {
    const body = decompress(attributes & 0x7, buffer.subarray(at + headerBytes, endOf(buffer, at)), shared.zstd);
    code = 'BAD_RECORD';
    const reader = new RecordReader(body);
    const batch = { body, baseOffset, baseTimestamp, appendTime, headers: shared.headers };
    // Of most batches all records are wanted: then no offset needs to be computed.
    const skip = from > baseOffset ? Number(from - baseOffset) : 0;
    let last = -1;
    for (let i = 0; i < count; i++) {
      const record = reader.record(batch);
      if (record.offsetDelta <= last) throw new RangeError('offsets do not ascend');
      last = record.offsetDelta;
      if (last >= skip) into.push(record);
    }
    if (last > buffer.readInt32BE(at + 23)) throw new RangeError('an offset is beyond the batch');
    if (count < 0 || reader.at !== body.length) throw new RangeError(`it holds other than ${count} records`);
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
  const zero = { body, baseOffset: 0n, baseTimestamp: 0n, appendTime: false, headers: new HeaderCache() };
  const { key } = reader.record(zero);
  return key === null || key.length < 4 ? -1 : key.readInt16BE(2);
}
