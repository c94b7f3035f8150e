import type { DeadLetter } from '../../schemas/gen/dead_letter.ts';
import { AvroDecoder } from '../avro/decoder.ts';
import { AvroEncoder } from '../avro/encoder.ts';
import { MemorySchemas } from '../avro/registry/memory.ts';
import { wallClock } from '../base/clock.ts';
import { MillraceError } from '../base/errors.ts';
import type { Fetched } from '../log/log.ts';
import { Metrics } from '../observability/metrics.ts';
import type { Processor } from '../processor/define.ts';
import { type Codecs, openCodecs } from '../runtime/fold/codecs.ts';
import { FoldHandler } from '../runtime/fold/fold-handler.ts';
import type { Handler } from '../runtime/handler.ts';
import { Queue } from '../runtime/queue.ts';
import { groupOf } from '../runtime/runner.ts';
import { takeOver, transactionalId } from '../runtime/takeover.ts';
import type { Disks } from '../state/stores/disk.ts';
import { MemoryLog, type TransactionFault } from './memory-log.ts';

/** How the processor under test is run: partitions, and where portions and commits end. */
export interface DriverOptions {
  /** Partitions of the input and of everything that follows it. Default 1. */
  readonly partitions?: number;
  /** Records of one fetched portion. Default: all there are. */
  readonly chunk?: number;
  /** Input records after which a commit is due. Default: none before the end of a run. */
  readonly commitRecords?: number;
  /** Where stores on disk are kept; a crash leaves it as it is. Default: in memory. */
  readonly disks?: Disks;
}

/** Where a record goes. */
export interface Place {
  /** Default: the primary input. */
  readonly topic?: string;
  /** Default 0. */
  readonly partition?: number;
  /** Milliseconds. Default 0. */
  readonly timestamp?: bigint;
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
  #processor: Processor<In>;
  readonly #options: DriverOptions;
  #codecs: Codecs<In>;
  /** By topic. */
  readonly #inputs: ReadonlyMap<string, AvroEncoder<In>>;
  readonly #tables: ReadonlyMap<string, { key: AvroEncoder<unknown>; value: AvroEncoder<unknown> }>;
  readonly #decoders = new Map<number, AvroDecoder<unknown>>();
  readonly #owners = new Map<number, Owner>();
  readonly #stop = new AbortController();
  #nowMs = 0;

  private constructor(
    processor: Processor<In>,
    options: DriverOptions,
    codecs: Codecs<In>,
    schemas: MemorySchemas,
    inputs: ReadonlyMap<string, AvroEncoder<In>>,
    tables: ReadonlyMap<string, { key: AvroEncoder<unknown>; value: AvroEncoder<unknown> }>,
  ) {
    this.#processor = processor;
    this.#options = options;
    this.#codecs = codecs;
    this.schemas = schemas;
    this.#inputs = inputs;
    this.#tables = tables;
    const partitions = options.partitions ?? 1;
    const { name } = processor;
    const topics = [...inputs.keys(), ...processor.outputs.map(({ topic }) => topic)];
    for (const suffix of ['changelog', 'journal', 'snapshots', 'late', 'dead']) topics.push(`${name}.${suffix}`);
    for (const topic of topics) this.log.create(topic, partitions);
    for (const topic of tables.keys()) this.log.create(topic, 1);
  }

  static async open<In>(processor: Processor<In>, options: DriverOptions = {}): Promise<Driver<In>> {
    const schemas = new MemorySchemas();
    const codecs = await openCodecs(processor, schemas);
    const inputs = new Map<string, AvroEncoder<In>>();
    for (const { topic, schema } of processor.inputs) {
      inputs.set(topic, await AvroEncoder.open<In>(schemas, `${topic}-value`, schema));
    }
    const tables = new Map<string, { key: AvroEncoder<unknown>; value: AvroEncoder<unknown> }>();
    for (const { topic, keySchema, schema } of processor.tables ?? []) {
      tables.set(topic, {
        key: await AvroEncoder.open<unknown>(schemas, `${topic}-key`, keySchema),
        value: await AvroEncoder.open<unknown>(schemas, `${topic}-value`, schema),
      });
    }
    return new Driver(processor, options, codecs, schemas, inputs, tables);
  }

  /** Appends an input record; it is processed by the next `run`. Returns its offset. */
  send(value: In, at: Place = {}): bigint {
    const encoder = this.#inputs.get(at.topic ?? this.#processor.inputs[0].topic);
    if (encoder === undefined) throw new TypeError(`${at.topic} is no input of ${this.#processor.name}`);
    return this.sendBytes(encoder.encode(value), at);
  }

  /** Appends a record of a table; all tasks take it at the beginning of the next `run`. A null value is a tombstone. */
  table(topic: string, key: unknown, value: unknown): bigint {
    const encoders = this.#tables.get(topic);
    if (encoders === undefined) throw new TypeError(`${topic} is no table of ${this.#processor.name}`);
    return this.log.append({
      topic,
      partition: 0,
      key: encoders.key.encode(key),
      value: value === null ? null : encoders.value.encode(value),
      timestamp: 0n,
    });
  }

  /** Appends an input record as bytes, for hostile input. */
  sendBytes(value: Buffer | null, at: Place = {}): bigint {
    const topic = at.topic ?? this.#processor.inputs[0].topic;
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

  /** The process dies and starts again with another version, or other settings, of the same processor. Its topics are the same. */
  async deploy(processor: Processor<In>): Promise<void> {
    this.crash();
    this.#codecs = await openCodecs(processor, this.schemas);
    this.#processor = processor;
  }

  /** The next transactions of a partition meet these faults. */
  fault(partition: number, ...faults: TransactionFault[]): void {
    const { name, inputs } = this.#processor;
    this.log.fault(transactionalId(groupOf(name), { topic: inputs[0].topic, partition }), ...faults);
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

  /** What the processor emitted to its late topic. */
  late<K, V>(): Promise<Emitted<K, V>[]> {
    return this.outputs<K, V>(`${this.#processor.name}.late`);
  }

  /** Dead letters: each is the refused record, with its origin and the reason. */
  dead(): Promise<Emitted<null, DeadLetter>[]> {
    return this.outputs<null, DeadLetter>(`${this.#processor.name}.dead`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    this.#owners.clear();
  }

  async #process(owner: Owner, partition: number, limit = Number.POSITIVE_INFINITY): Promise<void> {
    const ends = new Map<string, readonly bigint[]>();
    for (const topic of this.#tables.keys()) ends.set(topic, await this.log.ends(topic));
    await owner.handler.tables?.(ends);
    let left = limit;
    while (left > 0) {
      const fetched = await this.#next(owner, partition);
      if (fetched === undefined) break;
      const portion = head(fetched, Math.min(left, this.#options.chunk ?? Number.POSITIVE_INFINITY));
      await owner.handler.process(portion);
      owner.at.set(portion.topic, portion.next);
      left -= portion.records.length;
    }
    this.#nowMs += 1;
    await owner.handler.tick(this.#nowMs);
    if (left > 0) await owner.handler.close();
  }

  /** What a task takes next: of all inputs that have records the one whose first has the earliest timestamp. */
  async #next(owner: Owner, partition: number): Promise<Fetched | undefined> {
    await using fetcher = this.log.fetcher();
    const queue = new Queue();
    const positions = [...owner.at].map(([topic, offset]) => ({ topic, partition, offset }));
    for (const fetched of await fetcher.fetch(positions, { maxWaitMs: 0, maxBytesPerPartition: 0 }))
      queue.push(fetched);
    return queue.shift();
  }

  /** What Task does with failures that a retry can cure: throw the handler away, take over again. */
  async #surviving(partition: number, work: (owner: Owner) => Promise<void>): Promise<void> {
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

  async #owner(partition: number): Promise<Owner> {
    const known = this.#owners.get(partition);
    if (known !== undefined) return known;
    const { name } = this.#processor;
    const { disks } = this.#options;
    const topics = [...this.#inputs.keys()];
    const taken = await takeOver({
      topics,
      partition,
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
          metrics: this.metrics.task({ name, topic: topics[0] as string, partition }),
          clock: { ...wallClock, now: () => this.#nowMs },
          ...(disks === undefined ? {} : { directory: { path: 'state', epoch: 'memory', disks } }),
        }),
    });
    const at = new Map(topics.map((topic, i) => [topic, taken.positions[i] as bigint]));
    const owner = { handler: taken.handler, at };
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

/** A takeover of one partition, and where it is in each input. */
interface Owner {
  readonly handler: Handler;
  readonly at: Map<string, bigint>;
}

function head(fetched: Fetched, records: number): Fetched {
  if (fetched.records.length <= records) return fetched;
  const kept = fetched.records.slice(0, records);
  const last = kept.at(-1);
  return { ...fetched, records: kept, next: last === undefined ? fetched.from : last.offset + 1n };
}
