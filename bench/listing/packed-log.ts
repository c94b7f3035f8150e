/** A log of very many records outside the heap: their bytes are contiguous, and a fetch returns about as many as a broker's. */
import type { Fetched, FetchOptions, FetchPosition, Log, LogRecord } from '../../core/log/log.ts';

class PackedPartition {
  readonly #chunks: Buffer[] = [];
  /** Chunk and position in it, by offset. */
  readonly #places: Uint32Array[] = [];
  /** Used bytes of the last chunk. */
  #used = 0;
  #length = 0;

  append(value: Buffer): void {
    const last = this.#chunks.at(-1);
    if (last === undefined || this.#used + value.length > chunkBytes) {
      this.#chunks.push(Buffer.allocUnsafeSlow(chunkBytes));
      this.#used = 0;
    }
    const chunk = this.#chunks.at(-1) as Buffer;
    if (this.#length % placesPerBlock === 0) this.#places.push(new Uint32Array(placesPerBlock * 3));
    const places = this.#places.at(-1) as Uint32Array;
    const at = (this.#length++ % placesPerBlock) * 3;
    places.set([this.#chunks.length - 1, this.#used, value.length], at);
    chunk.set(value, this.#used);
    this.#used += value.length;
  }

  get end(): bigint {
    return BigInt(this.#length);
  }

  read(from: bigint, bytes: number): LogRecord[] {
    const records: LogRecord[] = [];
    let read = 0;
    for (let offset = Number(from); offset < this.#length && read < bytes; offset++) {
      const places = this.#places[Math.floor(offset / placesPerBlock)] as Uint32Array;
      const at = (offset % placesPerBlock) * 3;
      const [chunk = 0, start = 0, length = 0] = places.subarray(at, at + 3);
      const value = (this.#chunks[chunk] as Buffer).subarray(start, start + length);
      records.push({ offset: BigInt(offset), timestamp: 0n, key: null, value });
      read += length;
    }
    return records;
  }
}

const chunkBytes = 16 << 20;
const placesPerBlock = 1 << 16;

/** Read-only: it has no groups and no writers. */
export class PackedLog implements Pick<Log, 'starts' | 'ends' | 'fetcher'> {
  readonly #topics = new Map<string, PackedPartition[]>();

  create(topic: string, partitions: number): void {
    this.#topics.set(
      topic,
      Array.from({ length: partitions }, () => new PackedPartition()),
    );
  }

  append(topic: string, partition: number, value: Buffer): void {
    this.#topics.get(topic)?.[partition]?.append(value);
  }

  async starts(topic: string): Promise<readonly bigint[]> {
    return (this.#topics.get(topic) ?? []).map(() => 0n);
  }

  async ends(topic: string): Promise<readonly bigint[]> {
    return (this.#topics.get(topic) ?? []).map(({ end }) => end);
  }

  fetcher(): ReturnType<Log['fetcher']> {
    return {
      fetch: async (positions, options) => this.#fetch(positions, options),
      [Symbol.asyncDispose]: async () => undefined,
    };
  }

  #fetch(positions: readonly FetchPosition[], { maxBytesPerPartition }: FetchOptions): Fetched[] {
    return positions.flatMap(({ topic, partition, offset }) => {
      const own = this.#topics.get(topic)?.[partition];
      if (own === undefined || offset >= own.end) return [];
      const records = own.read(offset, maxBytesPerPartition);
      const next = (records.at(-1)?.offset ?? offset) + 1n;
      return [{ topic, partition, from: offset, next, records, end: own.end }];
    });
  }
}
