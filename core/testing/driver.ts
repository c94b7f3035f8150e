import { AvroDecoder } from '../avro/decoder.ts';
import { AvroEncoder } from '../avro/encoder.ts';
import { MemorySchemas } from '../avro/memory.ts';
import { MillraceError } from '../errors.ts';
import { Metrics } from '../observability/metrics.ts';
import type { Processor } from '../processor/define.ts';
import { type Codecs, openCodecs } from '../runtime/codecs.ts';
import { FoldHandler } from '../runtime/fold-handler.ts';
import type { Fetched } from '../runtime/log.ts';
import { groupOf } from '../runtime/runner.ts';
import { type Taken, takeOver, transactionalId } from '../runtime/takeover.ts';
import { MemoryLog, type TransactionFault } from './memory-log.ts';

export interface DriverOptions {
  /** Partitions of the input and of everything that follows it. Default 1. */
  readonly partitions?: number;
  /** Records of one fetched portion. Default: all there are. */
  readonly chunk?: number;
  /** Input records after which a commit is due. Default: none before the end of a run. */
  readonly commitRecords?: number;
}

/** One output record, decoded. */
export interface Emitted<K, V> {
  readonly partition: number;
  readonly offset: bigint;
  /** Milliseconds. */
  readonly timestamp: bigint;
  readonly key: K | null;
  readonly value: V | null;
  /** The bytes themselves, for tests of identity. */
  readonly bytes: { readonly key: Buffer | null; readonly value: Buffer | null };
}

/**
 * Runs a processor without a broker, in virtual time: the same handler, takeover, journal and commits as in production, over a log in
 * memory. Time advances with the records you send and the heartbeats you give, never by itself.
 *
 * ```ts
 * await using driver = await Driver.open(ohlcv(settings));
 * await driver.send(trade);
 * await driver.beat(logTime);
 * await driver.run();
 * driver.outputs('market.candles');
 * ```
 */
export class Driver<In> implements AsyncDisposable {
  readonly log = new MemoryLog();
  readonly schemas: MemorySchemas;
  readonly metrics = new Metrics({ node: false });
  readonly #processor: Processor<In>;
  readonly #options: DriverOptions;
  readonly #codecs: Codecs<In>;
  readonly #input: AvroEncoder<In>;
  readonly #decoders = new Map<number, AvroDecoder<unknown>>();
  readonly #owners = new Map<number, Taken & { position: bigint }>();
  readonly #stop = new AbortController();
  #nowMs = 0;

  private constructor(
    processor: Processor<In>,
    options: DriverOptions,
    codecs: Codecs<In>,
    schemas: MemorySchemas,
    input: AvroEncoder<In>,
  ) {
    this.#processor = processor;
    this.#options = options;
    this.#codecs = codecs;
    this.schemas = schemas;
    this.#input = input;
    const partitions = options.partitions ?? 1;
    const { name } = processor;
    const topics = [processor.input.topic, ...processor.outputs.map(({ topic }) => topic)];
    for (const suffix of ['changelog', 'journal', 'late', 'dead']) topics.push(`${name}.${suffix}`);
    for (const topic of topics) this.log.create(topic, partitions);
  }

  static async open<In>(processor: Processor<In>, options: DriverOptions = {}): Promise<Driver<In>> {
    const schemas = new MemorySchemas();
    const codecs = await openCodecs(processor, schemas);
    const input = await AvroEncoder.open<In>(schemas, `${processor.input.topic}-value`, processor.input.schema);
    return new Driver(processor, options, codecs, schemas, input);
  }

  /** Appends an input record; it is processed by the next `run`. Returns its offset. */
  send(value: In, at: { readonly partition?: number; readonly timestamp?: bigint } = {}): bigint {
    return this.sendBytes(this.#input.encode(value), at);
  }

  /** Appends an input record as bytes, for hostile input. */
  sendBytes(value: Buffer | null, at: { readonly partition?: number; readonly timestamp?: bigint } = {}): bigint {
    const { topic } = this.#processor.input;
    return this.log.append({ topic, partition: at.partition ?? 0, key: null, value, timestamp: at.timestamp ?? 0n });
  }

  /** A heartbeat: everything sent so far precedes it. Processes what is there first. Microseconds. */
  async beat(logTime: bigint): Promise<void> {
    await this.run();
    for (let partition = 0; partition < (this.#options.partitions ?? 1); partition++) {
      await this.#surviving(partition, async (owner) => {
        await owner.handler.beat?.({ logTime, offset: 0n });
        await owner.handler.close();
      });
    }
  }

  /** Processes what was sent, at most `records` per partition, and commits. With `records`, what is left uncommitted stays so. */
  async run(limit: { readonly records?: number } = {}): Promise<void> {
    for (let partition = 0; partition < (this.#options.partitions ?? 1); partition++) {
      await this.#surviving(partition, (owner) => this.#process(owner, partition, limit.records));
    }
  }

  /** The process dies: all memory is lost, nothing is committed. The next `run` takes over. */
  crash(): void {
    this.#owners.clear();
  }

  /** The next transactions of a partition meet these faults. */
  fault(partition: number, ...faults: TransactionFault[]): void {
    const { name, input } = this.#processor;
    this.log.fault(transactionalId(groupOf(name), { topic: input.topic, partition }), ...faults);
  }

  async outputs<K, V>(topic: string): Promise<Emitted<K, V>[]> {
    const emitted: Emitted<K, V>[] = [];
    for (let partition = 0; partition < (this.#options.partitions ?? 1); partition++) {
      for (const { offset, timestamp, key, value } of this.log.records(topic, partition)) {
        emitted.push({
          partition,
          offset,
          timestamp,
          key: (await this.#decode(key)) as K | null,
          value: (await this.#decode(value)) as V | null,
          bytes: { key, value },
        });
      }
    }
    return emitted;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    this.#owners.clear();
  }

  async #process(
    owner: Taken & { position: bigint },
    partition: number,
    limit = Number.POSITIVE_INFINITY,
  ): Promise<void> {
    const { topic } = this.#processor.input;
    await using fetcher = this.log.fetcher();
    let left = limit;
    while (left > 0) {
      const [fetched] = await fetcher.fetch([{ topic, partition, offset: owner.position }], {
        maxWaitMs: 0,
        maxBytesPerPartition: 0,
      });
      if (fetched === undefined) break;
      const portion = head(fetched, Math.min(left, this.#options.chunk ?? Number.POSITIVE_INFINITY));
      await owner.handler.process(portion);
      owner.position = portion.next;
      left -= portion.records.length;
    }
    this.#nowMs += 1;
    await owner.handler.tick(this.#nowMs);
    if (left > 0) await owner.handler.close();
  }

  /** What Task does with failures that a retry can cure: throw the handler away, take over again. */
  async #surviving(partition: number, work: (owner: Taken & { position: bigint }) => Promise<void>): Promise<void> {
    for (;;) {
      try {
        await work(await this.#owner(partition));
        return;
      } catch (error) {
        if (!(error instanceof MillraceError) || error.disposition !== 'retry') throw error;
        this.#owners.delete(partition);
      }
    }
  }

  async #owner(partition: number): Promise<Taken & { position: bigint }> {
    const known = this.#owners.get(partition);
    if (known !== undefined) return known;
    const { name, input } = this.#processor;
    const at = { topic: input.topic, partition };
    const taken = await takeOver({
      ...at,
      log: this.log,
      group: groupOf(name),
      signal: this.#stop.signal,
      factory: (ownership) =>
        new FoldHandler(ownership, {
          processor: this.#processor,
          codecs: this.#codecs,
          settings: {
            commitIntervalMs: Number.MAX_SAFE_INTEGER,
            commitRecords: this.#options.commitRecords ?? Number.MAX_SAFE_INTEGER,
          },
          metrics: this.metrics.task({ name, ...at }),
          now: () => this.#nowMs,
        }),
    });
    const owner = { ...taken };
    this.#owners.set(partition, owner);
    return owner;
  }

  async #decode(bytes: Buffer | null): Promise<unknown> {
    if (bytes === null) return null;
    const id = bytes.readInt32BE(1);
    let decoder = this.#decoders.get(id);
    if (decoder === undefined) {
      decoder = new AvroDecoder<unknown>(this.schemas, null);
      await decoder.prepare([id]);
      this.#decoders.set(id, decoder);
    }
    return decoder.decode(bytes);
  }
}

function head(fetched: Fetched, records: number): Fetched {
  if (fetched.records.length <= records) return fetched;
  const kept = fetched.records.slice(0, records);
  const last = kept.at(-1);
  return { ...fetched, records: kept, next: last === undefined ? fetched.from : last.offset + 1n };
}
