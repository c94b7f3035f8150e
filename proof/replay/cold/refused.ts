import { redrivenOfLetter } from '../../../core/archive/rows/origin.ts';
import { AvroDecoder } from '../../../core/avro/decoder.ts';
import type { Schemas } from '../../../core/avro/schemas.ts';
import { type ErrorCode, errorCodes, MillraceError } from '../../../core/base/errors.ts';
import { prepareDecoder, valuesOf } from '../../../core/log/decoding.ts';
import { type Log, type LogRecord, readRange, type TopicPartition } from '../../../core/log/log.ts';
import { redrivenHeaders } from '../../../core/log/redriven.ts';
import type { DeadLetter } from '../../../schemas/gen/dead_letter.ts';
import { schemas as contracts } from '../../../schemas/gen/index.ts';

const letters = 'parquet.dead';
const fetchOptions = { maxWaitMs: 250, maxBytesPerPartition: 1 << 20 };

/**
 * The records of a partition that the sink refused, byte for byte, from its dead letters. Only their offsets are in memory. The sink writes
 * letters in the order of origins.
 */
export class RefusedRecords {
  readonly #log: Log;
  readonly #at: TopicPartition;
  readonly #decoder: AvroDecoder<DeadLetter>;
  readonly #signal: AbortSignal;
  readonly #origins: bigint[] = [];
  readonly #places: bigint[] = [];

  private constructor(log: Log, schemas: Schemas, at: TopicPartition, signal: AbortSignal) {
    this.#log = log;
    this.#at = at;
    this.#decoder = new AvroDecoder<DeadLetter>(schemas, contracts.dead_letter);
    this.#signal = signal;
  }

  static async open(log: Log, schemas: Schemas, at: TopicPartition, signal: AbortSignal): Promise<RefusedRecords> {
    const refused = new RefusedRecords(log, schemas, at, signal);
    const [starts, ends] = await Promise.all([log.starts(letters), log.ends(letters)]);
    const [from, to] = [starts[at.partition] ?? 0n, ends[at.partition] ?? 0n];
    for await (const { origin, offset } of refused.#letters(from, to)) {
      refused.#origins.push(origin.offset);
      refused.#places.push(offset);
    }
    return refused;
  }

  /** Number of records with their origin in `[from, to)`. */
  count(from: bigint, to: bigint): number {
    return this.#origins.filter((origin) => origin >= from && origin < to).length;
  }

  /** The records with their origin in `[from, to)`, as they were in the log. */
  async read(from: bigint, to: bigint): Promise<LogRecord[]> {
    const first = this.#origins.findIndex((origin) => origin >= from && origin < to);
    if (first < 0) return [];
    const last = this.#origins.findLastIndex((origin) => origin >= from && origin < to);
    const [start, end] = [this.#places[first] ?? 0n, (this.#places[last] ?? 0n) + 1n];
    const records: LogRecord[] = [];
    for await (const { origin, key, value, reason, error, headers } of this.#letters(start, end)) {
      const { offset, timestamp } = origin;
      if (offset < from || offset >= to) continue;
      const redriven = redrivenOfLetter(headers);
      const bytes = { offset, timestamp, key: bytesOf(key), value: bytesOf(value) };
      const record = redriven === undefined ? bytes : { ...bytes, headers: redrivenHeaders(redriven) };
      // A letter without a value: the record had none, or its batch was unreadable.
      const unreadable = value === null && reason !== 'BAD_RECORD' ? errorOf(reason, error) : undefined;
      records.push(unreadable === undefined ? record : { ...record, unreadable });
    }
    return records.sort((a, b) => (a.offset < b.offset ? -1 : 1));
  }

  async *#letters(from: bigint, to: bigint): AsyncGenerator<DeadLetter & Pick<LogRecord, 'offset' | 'headers'>> {
    const { topic, partition } = this.#at;
    const options = { ...fetchOptions, signal: this.#signal };
    for await (const records of readRange(this.#log, { topic: letters, partition, from, to }, options)) {
      await prepareDecoder(this.#decoder, valuesOf(records), this.#signal);
      for (const { value, offset, headers } of records) {
        if (value === null) continue;
        const letter = this.#decoder.decode(value);
        if (letter.origin.topic === topic && letter.origin.partition === partition)
          yield { ...letter, offset, ...(headers === undefined ? {} : { headers }) };
      }
    }
  }
}

function bytesOf(bytes: Uint8Array | null): Buffer | null {
  return bytes === null ? null : Buffer.from(bytes);
}

function errorOf(reason: string, message: string): MillraceError {
  return new MillraceError(reason in errorCodes ? (reason as ErrorCode) : 'BAD_RECORD', message);
}
