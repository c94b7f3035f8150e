import { MillraceError } from '../../../../core/base/errors.ts';
import {
  type Committed,
  type LogRecord,
  type OutRecord,
  type Position,
  partitionId,
  type TopicPartition,
} from '../../../../core/log/log.ts';
import type { Random } from '../random.ts';
import type { Scheduler } from '../scheduler.ts';

export interface BrokerOptions {
  readonly scheduler: Scheduler;
  readonly random: Random;
  /** A transaction that is open for longer is aborted. */
  readonly transactionTimeoutMs: number;
  /** Longest time that a transaction's marker takes to reach one partition. */
  readonly markerMs: number;
  /** Most records of one fetched portion. */
  readonly portionRecords: number;
}

/** Answered by the coordinator while the previous transaction of the producer is being completed: ask again. */
export class Concurrent extends Error {}
/** The request does not fit the state of the transaction. */
export class InvalidState extends Error {}

interface Slot {
  /** Undefined: a marker, or what compaction has taken. */
  record: LogRecord | undefined;
  /** The transaction that wrote it, while that is open. */
  open: Txn | undefined;
}

interface Partition extends TopicPartition {
  readonly slots: Slot[];
  /** Open transactions by the offset of their first record here. */
  readonly open: Map<Txn, number>;
}

interface Txn {
  readonly producer: Producer;
  readonly partitions: Map<string, Partition>;
  readonly offsets: { readonly group: string; readonly position: Committed }[];
  state: 'open' | 'committing' | 'aborting';
}

interface Producer {
  readonly id: string;
  epoch: number;
  txn: Txn | undefined;
  last: 'commit' | 'abort' | undefined;
}

/**
 * The broker, the transaction coordinator and the offsets of the simulation: what a Kafka broker keeps when requests reach it, without
 * network and disk. A transaction is decided at one instant and becomes visible partition by partition afterwards; readers end at the last
 * stable offset. Every method is one request that has arrived.
 */
export class Broker {
  readonly #options: BrokerOptions;
  readonly #topics = new Map<string, Partition[]>();
  readonly #producers = new Map<string, Producer>();
  readonly #committed = new Map<string, Committed>();
  readonly #waiting = new Set<() => void>();

  constructor(options: BrokerOptions) {
    this.#options = options;
  }

  create(topic: string, partitions: number): void {
    const made = Array.from({ length: partitions }, (_, partition) => ({
      topic,
      partition,
      slots: [],
      open: new Map(),
    }));
    this.#topics.set(topic, made);
  }

  get topics(): readonly string[] {
    return [...this.#topics.keys()];
  }

  partitions(topic: string): number {
    return this.#existing(topic).length;
  }

  /** Appends outside of any transaction. */
  append(record: OutRecord): void {
    const { slots } = this.#partition(record);
    slots.push({ record: toRecord(record, BigInt(slots.length)), open: undefined });
    this.#changed();
  }

  /** Fences the producer's earlier epochs. @throws Concurrent until its last transaction is completed. */
  initProducer(id: string): number {
    const producer = this.#producer(id);
    if (producer.txn?.state === 'open') {
      producer.epoch += 1;
      this.#end(producer.txn, 'abort');
    }
    if (producer.txn !== undefined) throw new Concurrent(id);
    producer.epoch += 1;
    producer.last = undefined;
    return producer.epoch;
  }

  /** Begins a transaction, or adds to the open one. */
  addPartitions(id: string, epoch: number, partitions: readonly TopicPartition[]): void {
    const txn = this.#begin(id, epoch);
    for (const at of partitions) txn.partitions.set(partitionId(at), this.#partition(at));
  }

  /** Begins a transaction, or goes on with the open one. */
  addOffsets(id: string, epoch: number): void {
    this.#begin(id, epoch);
  }

  /** Appends records of one partition to the open transaction. Returns the first one's offset. */
  produce(id: string, epoch: number, records: readonly OutRecord[]): bigint {
    const txn = this.#open(id, epoch);
    const first = records[0] as OutRecord;
    const partition = this.#partition(first);
    if (!txn.partitions.has(partitionId(first))) throw new InvalidState(`${partitionId(first)} was not added`);
    const base = partition.slots.length;
    if (!partition.open.has(txn)) partition.open.set(txn, base);
    for (const record of records) {
      partition.slots.push({ record: toRecord(record, BigInt(partition.slots.length)), open: txn });
    }
    return BigInt(base);
  }

  commitOffsets(id: string, epoch: number, group: string, positions: readonly Committed[]): void {
    const txn = this.#open(id, epoch);
    for (const position of positions) txn.offsets.push({ group, position });
  }

  /** Decides the transaction: from here on its outcome is certain, whoever hears of it. */
  endTransaction(id: string, epoch: number, outcome: 'commit' | 'abort'): void {
    const producer = this.#fenced(id, epoch);
    const { txn } = producer;
    if (txn === undefined || txn.state !== 'open') {
      const decided = txn === undefined ? producer.last : txn.state === 'committing' ? 'commit' : 'abort';
      if (decided === outcome) return;
      throw new InvalidState(`${id}: no transaction to ${outcome}`);
    }
    this.#end(txn, outcome);
  }

  /** Whether the producer has a transaction that is open or not yet visible everywhere. */
  busy(id: string): boolean {
    return this.#producers.get(id)?.txn !== undefined;
  }

  /** Whether a transaction of the producer is decided and not yet visible everywhere. */
  completing(id: string): boolean {
    const state = this.#producers.get(id)?.txn?.state;
    return state === 'committing' || state === 'aborting';
  }

  /** Read-committed: up to the last stable offset, in portions. Undefined: nothing new. */
  read(at: Position): { readonly records: LogRecord[]; readonly next: bigint; readonly end: bigint } | undefined {
    const partition = this.#partition(at);
    const from = Number(at.offset);
    const stable = stableEnd(partition);
    if (stable <= from) return undefined;
    const most = this.#options.random.int(1, this.#options.portionRecords);
    const records: LogRecord[] = [];
    let next = from;
    while (next < stable && records.length < most) {
      const record = partition.slots[next]?.record;
      if (record !== undefined) records.push(record);
      next += 1;
    }
    return { records, next: BigInt(next), end: BigInt(partition.slots.length) };
  }

  readable(at: Position): boolean {
    return stableEnd(this.#partition(at)) > Number(at.offset);
  }

  /** The broker's own timer. */
  after(ms: number, action: () => void): () => void {
    return this.#options.scheduler.after(ms, action);
  }

  /** Calls back whenever anything has become visible. Returns how to forget it. */
  onChange(callback: () => void): () => void {
    this.#waiting.add(callback);
    return () => this.#waiting.delete(callback);
  }

  committed(group: string, topic: string): Committed[] {
    return this.#existing(topic).flatMap((_, partition) => {
      const found = this.#committed.get(`${group}\n${partitionId({ topic, partition })}`);
      return found === undefined ? [] : [found];
    });
  }

  /** Deletes a group's offsets, as when they expire. */
  forget(group: string): void {
    for (const key of this.#committed.keys()) if (key.startsWith(`${group}\n`)) this.#committed.delete(key);
  }

  starts(topic: string): bigint[] {
    return this.#existing(topic).map(() => 0n);
  }

  ends(topic: string): bigint[] {
    return this.#existing(topic).map(({ slots }) => BigInt(slots.length));
  }

  /** All that a read-committed reader of the partition sees. */
  visible(at: TopicPartition): LogRecord[] {
    const partition = this.#partition(at);
    return partition.slots
      .slice(0, stableEnd(partition))
      .flatMap(({ record }) => (record === undefined ? [] : [record]));
  }

  /**
   * Compaction up to a seeded offset: of each key only the newest record stays. Tombstones stay, as they do within delete.retention.ms, and
   * so does the partition's end, as an active segment does.
   */
  compact(at: TopicPartition): void {
    const partition = this.#partition(at);
    const end = Math.floor(stableEnd(partition) * this.#options.random.next());
    const seen = new Set<string>();
    for (let offset = end - 1; offset >= 0; offset--) {
      const slot = partition.slots[offset];
      if (slot?.record === undefined) continue;
      const key = slot.record.key?.toString('latin1') ?? '';
      if (seen.has(key)) slot.record = undefined;
      seen.add(key);
    }
  }

  #begin(id: string, epoch: number): Txn {
    const producer = this.#fenced(id, epoch);
    if (producer.txn !== undefined) {
      if (producer.txn.state !== 'open') throw new Concurrent(id);
      return producer.txn;
    }
    const txn: Txn = { producer, partitions: new Map(), offsets: [], state: 'open' };
    producer.txn = txn;
    this.#options.scheduler.after(this.#options.transactionTimeoutMs, () => {
      if (producer.txn !== txn || txn.state !== 'open') return;
      this.#options.scheduler.trace(`broker: the transaction of ${id} is open for too long`);
      producer.epoch += 1;
      this.#end(txn, 'abort');
    });
    return txn;
  }

  #open(id: string, epoch: number): Txn {
    const { txn } = this.#fenced(id, epoch);
    if (txn === undefined || txn.state !== 'open') throw new InvalidState(`${id}: no open transaction`);
    return txn;
  }

  #end(txn: Txn, outcome: 'commit' | 'abort'): void {
    const { scheduler, random, markerMs } = this.#options;
    txn.state = outcome === 'commit' ? 'committing' : 'aborting';
    scheduler.trace(`broker: ${outcome} of ${txn.producer.id}, epoch ${txn.producer.epoch}`);
    const targets = [...txn.partitions.values()].map((partition) => () => this.#mark(partition, txn, outcome));
    if (txn.offsets.length > 0) targets.push(() => this.#markOffsets(txn, outcome));
    let left = targets.length;
    const finish = (): void => {
      txn.producer.txn = undefined;
      txn.producer.last = outcome;
    };
    if (left === 0) finish();
    for (const target of targets) {
      scheduler.after(random.next() * markerMs, () => {
        target();
        left -= 1;
        if (left === 0) finish();
        this.#changed();
      });
    }
  }

  #mark(partition: Partition, txn: Txn, outcome: 'commit' | 'abort'): void {
    const first = partition.open.get(txn);
    for (let offset = first ?? partition.slots.length; offset < partition.slots.length; offset++) {
      const slot = partition.slots[offset] as Slot;
      if (slot.open !== txn) continue;
      slot.open = undefined;
      if (outcome === 'abort') slot.record = undefined;
    }
    partition.open.delete(txn);
    partition.slots.push({ record: undefined, open: undefined });
  }

  #markOffsets(txn: Txn, outcome: 'commit' | 'abort'): void {
    if (outcome === 'abort') return;
    for (const { group, position } of txn.offsets) this.#committed.set(`${group}\n${partitionId(position)}`, position);
  }

  #producer(id: string): Producer {
    let producer = this.#producers.get(id);
    if (producer === undefined) {
      producer = { id, epoch: 0, txn: undefined, last: undefined };
      this.#producers.set(id, producer);
    }
    return producer;
  }

  /** @throws MillraceError FENCED for an earlier epoch. */
  #fenced(id: string, epoch: number): Producer {
    const producer = this.#producer(id);
    if (producer.epoch !== epoch) throw new MillraceError('FENCED', `${id}: epoch ${epoch}, now ${producer.epoch}`);
    return producer;
  }

  #existing(topic: string): Partition[] {
    const partitions = this.#topics.get(topic);
    if (partitions === undefined) throw new MillraceError('TOPIC_MISSING', `topic ${topic} does not exist`);
    return partitions;
  }

  #partition(at: TopicPartition): Partition {
    const partition = this.#existing(at.topic)[at.partition];
    if (partition === undefined) throw new MillraceError('TOPIC_MISSING', `${partitionId(at)} does not exist`);
    return partition;
  }

  #changed(): void {
    for (const callback of [...this.#waiting]) callback();
  }
}

/** The last stable offset: where the oldest open transaction begins. */
function stableEnd(partition: Partition): number {
  return Math.min(partition.slots.length, ...partition.open.values());
}

function toRecord({ timestamp, key, value, headers }: OutRecord, offset: bigint): LogRecord {
  return headers === undefined ? { offset, timestamp, key, value } : { offset, timestamp, key, value, headers };
}
