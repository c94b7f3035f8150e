import { setTimeout as delay } from 'node:timers/promises';
import { MillraceError } from '../../base/errors.ts';
import type { OutRecord, Transaction, Writer, Written } from '../../log/log.ts';
import { isFenced, isLeaderless, protocolType, toMillraceError } from '../connection/errors.ts';
import type { Broker } from '../connection/internals.ts';
import type { Topology } from '../connection/topology.ts';
import { encodeBatch } from '../wire/batch-encoder.ts';
import { type ProducedBatch, produce } from './produce.ts';

/** The broker aborts a transaction that is open for longer, so a frozen owner holds readers up for at most this long. */
const transactionTimeoutMs = 15_000;
/** Keeps a batch's arrays and its latency moderate. */
const maxRecordsPerBatch = 10_000;
/** Below the broker's default limit of 1 MiB for a batch, measured before compression. */
const maxBytesPerBatch = 900_000;
/** The previous transaction's markers are still being written, or a coordinator is just loading: a short wait cures it. */
const transient = new Set([
  'CONCURRENT_TRANSACTIONS',
  'COORDINATOR_LOAD_IN_PROGRESS',
  'GROUP_LOAD_IN_PROGRESS',
  'COORDINATOR_NOT_AVAILABLE',
  'GROUP_COORDINATOR_NOT_AVAILABLE',
]);
const moved = new Set(['NOT_COORDINATOR', 'NOT_COORDINATOR_FOR_GROUP']);
const transientBudgetMs = 10_000;

type Coordinator = Parameters<Topology['coordinator']>[1];

interface Producer {
  readonly transactionalId: string;
  readonly producerId: string;
  readonly producerEpoch: number;
}

/**
 * A transactional writer over the protocol requests themselves, so that it is certain what was sent, what was repeated and what is
 * unknown. Only requests that are safe to repeat are repeated, and only for answers that say "not yet". EndTxn is sent once: a repeated
 * or delayed one could commit the next transaction of the same producer (KIP-890), hence after an unknown outcome the writer is dead.
 */
export class KafkaWriter implements Writer {
  readonly #topology: Topology;
  readonly #producer: Producer;
  readonly #sequences = new Map<string, number>();
  readonly #coordinators = new Map<string, number>();
  #broken: MillraceError | undefined;

  private constructor(topology: Topology, producer: Producer) {
    this.#topology = topology;
    this.#producer = producer;
  }

  /** Fences earlier writers of the id. The coordinator answers only when their last transaction is completed. */
  static async open(topology: Topology, transactionalId: string): Promise<KafkaWriter> {
    try {
      const { producerId, producerEpoch } = await whileTransient(async () => {
        const broker = await topology.coordinator(transactionalId, 'transaction');
        return broker.initProducerId({ transactionalId, transactionTimeout: transactionTimeoutMs });
      });
      return new KafkaWriter(topology, { transactionalId, producerId, producerEpoch });
    } catch (error) {
      throw toMillraceError(error, `initialising ${transactionalId}`);
    }
  }

  async transact(transaction: Transaction): Promise<readonly Written[]> {
    if (this.#broken !== undefined) throw this.#broken;
    if (transaction.records.length === 0 && transaction.offsets === undefined) return [];
    let written: readonly Written[];
    try {
      written = await this.#write(transaction);
    } catch (error) {
      this.#broken = await this.#giveUp(error, transaction);
      throw this.#broken;
    }
    try {
      const coordinator = await this.#coordinator(this.#producer.transactionalId, 'transaction');
      await coordinator.endTxn({ ...this.#producer, transactionResult: true });
    } catch (error) {
      this.#broken = isFenced(error)
        ? toMillraceError(error, `committing ${this.#producer.transactionalId}`)
        : new MillraceError(
            'COMMIT_UNKNOWN',
            `${this.#producer.transactionalId}: no answer to the commit: ${(error as Error).message}`,
            { cause: error },
          );
      throw this.#broken;
    }
    return written;
  }

  async #write(transaction: Transaction): Promise<Written[]> {
    const byPartition = groupByPartition(transaction.records);
    const { transactionalId } = this.#producer;
    if (byPartition.size > 0) {
      const topics = new Map<string, number[]>();
      for (const [first] of byPartition.values()) {
        const { topic, partition } = first as OutRecord;
        topics.set(topic, [...(topics.get(topic) ?? []), partition]);
      }
      await this.#asking(transactionalId, 'transaction', (broker) =>
        broker.addPartitionsToTxn({
          ...this.#producer,
          topics: [...topics].map(([topic, partitions]) => ({ topic, partitions })),
        }),
      );
    }
    const [written] = await Promise.all([this.#produce(byPartition), this.#sendOffsets(transaction.offsets)]);
    return written;
  }

  async #sendOffsets(offsets: Transaction['offsets']): Promise<void> {
    if (offsets === undefined) return;
    const { group, positions } = offsets;
    await this.#asking(this.#producer.transactionalId, 'transaction', (broker) =>
      broker.addOffsetsToTxn({ ...this.#producer, groupId: group }),
    );
    const topics = positions.map(({ topic, partition, offset, metadata }) => ({
      topic,
      partitions: [{ partition, offset: offset.toString(), metadata: metadata ?? '' }],
    }));
    await this.#asking(group, 'group', (broker) =>
      broker.txnOffsetCommit({ ...this.#producer, groupId: group, topics }),
    );
  }

  async #produce(byPartition: ReadonlyMap<string, readonly OutRecord[]>): Promise<Written[]> {
    const written: Written[] = [];
    if (byPartition.size === 0) return written;
    await this.#topology.ask(topicsOf(byPartition.values()));
    const chunks = [...byPartition].map(([id, records]) => ({ id, batches: chunk(records) }));
    for (let round = 0; chunks.some(({ batches }) => round < batches.length); round++) {
      const batches = await Promise.all(
        chunks.flatMap(({ id, batches: all }) => {
          const records = all[round];
          return records === undefined ? [] : [this.#encode(id, records)];
        }),
      );
      const leaders = new Map<ProducedBatch, number>();
      for (const batch of batches) leaders.set(batch, await this.#topology.leader(batch));
      const byLeader = Map.groupBy(batches, (batch) => leaders.get(batch) as number);
      const produced = await Promise.all(
        [...byLeader].map(async ([nodeId, of]) =>
          produce(await this.#topology.broker(nodeId), this.#producer.transactionalId, of),
        ),
      );
      if (round === 0) written.push(...produced.flat());
    }
    return written;
  }

  async #encode(id: string, records: readonly OutRecord[]): Promise<ProducedBatch> {
    const firstSequence = this.#sequences.get(id) ?? 0;
    this.#sequences.set(id, (firstSequence + records.length) % 2 ** 31);
    const { topic, partition } = records[0] as OutRecord;
    return { topic, partition, batch: await encodeBatch(records, { ...this.#producer, firstSequence }) };
  }

  /** Aborts if it still can, so that readers are not held up until the transaction times out. */
  async #giveUp(error: unknown, { records }: Transaction): Promise<MillraceError> {
    const topics = topicsOf([records]);
    const what = topics.length === 0 ? 'committing offsets' : `writing to ${topics.join(', ')}`;
    const doing = `${what} as ${this.#producer.transactionalId}`;
    const known = await this.#topology.meaningOf(error, topics, doing);
    if (known.code === 'FENCED') return known;
    try {
      const coordinator = await this.#coordinator(this.#producer.transactionalId, 'transaction');
      await coordinator.endTxn({ ...this.#producer, transactionResult: false });
    } catch {
      // The coordinator aborts it when the successor initialises, or when it times out.
    }
    if (known.disposition === 'stop') return known;
    return new MillraceError('TRANSACTION_ABORTED', `${doing}: ${(error as Error).message}`, { cause: error });
  }

  async #asking<T>(id: string, kind: Coordinator, request: (broker: Broker) => Promise<T>): Promise<T> {
    return whileTransient(async () => {
      const broker = await this.#coordinator(id, kind);
      try {
        return await request(broker);
      } catch (error) {
        if (moved.has(protocolType(error) ?? '')) this.#coordinators.delete(`${kind}:${id}`);
        throw error;
      }
    });
  }

  async #coordinator(id: string, kind: Coordinator): Promise<Broker> {
    const key = `${kind}:${id}`;
    const known = this.#coordinators.get(key);
    if (known !== undefined) return this.#topology.broker(known);
    const broker = await this.#topology.coordinator(id, kind);
    this.#coordinators.set(key, Number(broker.nodeId));
    return broker;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#broken ??= new MillraceError('FENCED', `${this.#producer.transactionalId} is closed`);
  }
}

function topicsOf(groups: Iterable<readonly OutRecord[]>): string[] {
  const topics = new Set<string>();
  for (const records of groups) for (const { topic } of records) topics.add(topic);
  return [...topics];
}

/** Repeats a request while the answer is "not yet". Any other failure is passed on at once. */
export async function whileTransient<T>(request: () => Promise<T>): Promise<T> {
  const giveUpAt = performance.now() + transientBudgetMs;
  for (let waitMs = 2; ; waitMs = Math.min(waitMs * 2, 200)) {
    try {
      return await request();
    } catch (error) {
      const type = protocolType(error) ?? '';
      const passes = transient.has(type) || moved.has(type) || isLeaderless(error);
      if (!passes || performance.now() > giveUpAt) throw error;
    }
    await delay(waitMs);
  }
}

export function groupByPartition(records: readonly OutRecord[]): Map<string, OutRecord[]> {
  const groups = new Map<string, OutRecord[]>();
  for (const record of records) {
    const id = `${record.topic}/${record.partition}`;
    const group = groups.get(id);
    if (group === undefined) groups.set(id, [record]);
    else group.push(record);
  }
  return groups;
}

/** Portions of one partition's records that each make one batch. */
export function chunk(records: readonly OutRecord[]): OutRecord[][] {
  const chunks: OutRecord[][] = [];
  let current: OutRecord[] = [];
  let bytes = 0;
  for (const record of records) {
    const size = (record.key?.length ?? 0) + (record.value?.length ?? 0) + 64;
    if (current.length > 0 && (bytes + size > maxBytesPerBatch || current.length >= maxRecordsPerBatch)) {
      chunks.push(current);
      current = [];
      bytes = 0;
    }
    current.push(record);
    bytes += size;
  }
  if (current.length > 0) chunks.push(current);
  return chunks;
}
