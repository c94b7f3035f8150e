import { MillraceError } from '../../base/errors.ts';
import { createErrorFromCode } from '../connection/internals.ts';
import type { AbortedTransaction } from '../wire/record-batch.ts';

/** The answer for one partition. */
export interface PartitionResponse {
  readonly topic: string;
  readonly partition: number;
  readonly errorCode: number;
  readonly highWatermark: bigint;
  readonly aborted: readonly AbortedTransaction[];
  readonly records: Buffer;
}

interface FetchResponse {
  readonly clientSideThrottleTime: number;
  readonly responses: PartitionResponse[];
}

/** Fetch response, version 11, as kafkajs takes the means to read one. */
export const fetchResponse = {
  /** @param payload starts after the correlation id. */
  decode: async (payload: Buffer): Promise<FetchResponse> => decode(new Cursor(payload)),
  parse: async ({ responses }: FetchResponse): Promise<PartitionResponse[]> => responses,
};

/** Reads the protocol's primitive types in order. @throws MillraceError when the answer ends before them */
class Cursor {
  readonly #buffer: Buffer;
  #at = 0;

  constructor(buffer: Buffer) {
    this.#buffer = buffer;
  }

  int16(): number {
    return this.#buffer.readInt16BE(this.#pass(2));
  }

  int32(): number {
    return this.#buffer.readInt32BE(this.#pass(4));
  }

  int64(): bigint {
    return this.#buffer.readBigInt64BE(this.#pass(8));
  }

  bytes(length: number): Buffer {
    const from = this.#pass(length);
    return this.#buffer.subarray(from, this.#at);
  }

  #pass(length: number): number {
    const from = this.#at;
    this.#at += length;
    if (length >= 0 && this.#at <= this.#buffer.length) return from;
    throw new MillraceError('KAFKA_UNREACHABLE', 'the answer to a fetch is damaged: its parts do not fit its length');
  }
}

function decode(cursor: Cursor): FetchResponse {
  const clientSideThrottleTime = cursor.int32();
  const errorCode = cursor.int16();
  if (errorCode !== 0) throw createErrorFromCode(errorCode);
  cursor.int32(); // session id: we use none
  const responses: PartitionResponse[] = [];
  for (let topics = cursor.int32(); topics > 0; topics--) {
    const topic = cursor.bytes(cursor.int16()).toString('utf8');
    for (let partitions = cursor.int32(); partitions > 0; partitions--) responses.push(decodePartition(cursor, topic));
  }
  return { clientSideThrottleTime, responses };
}

function decodePartition(cursor: Cursor, topic: string): PartitionResponse {
  const partition = cursor.int32();
  const errorCode = cursor.int16();
  const highWatermark = cursor.int64();
  cursor.int64(); // last stable offset
  cursor.int64(); // log start offset
  const aborted: AbortedTransaction[] = [];
  for (let count = cursor.int32(); count > 0; count--) {
    aborted.push({ producerId: cursor.int64(), firstOffset: cursor.int64() });
  }
  cursor.int32(); // preferred read replica
  const records = cursor.bytes(Math.max(cursor.int32(), 0));
  return { topic, partition, errorCode, highWatermark, aborted, records };
}
