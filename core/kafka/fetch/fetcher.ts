import { MillraceError } from '../../base/errors.ts';
import {
  type Fetched,
  type Fetcher,
  type FetchOptions,
  type FetchPosition,
  type LogRecord,
  partitionId,
} from '../../log/log.ts';
import { toMillraceError } from '../connection/errors.ts';
import { type Broker, type Cluster, createErrorFromCode, fetchRequest } from '../connection/internals.ts';
import { Topology } from '../connection/topology.ts';
import { type Damage, damagedRecord, scanBatches } from '../wire/record-batch.ts';
import { firstOf } from './first-of.ts';
import { fetchResponse, type PartitionResponse } from './response.ts';
import { Troubles } from './troubles.ts';

/** Upper bound of one fetch over all partitions, compressed. Brokers fill partitions in the order of the request, so it is rotated. */
const maxBytesPerFetch = 8 * 1024 * 1024;

/** Cured by a new leader, by a broker that hears of it, or by a disk that is exchanged. Anything else is repeated no more. */
const passing: ReadonlySet<string> = new Set([
  'NOT_LEADER_FOR_PARTITION',
  'LEADER_NOT_AVAILABLE',
  'UNKNOWN_TOPIC_OR_PARTITION',
  'FENCED_LEADER_EPOCH',
  'UNKNOWN_LEADER_EPOCH',
  'REPLICA_NOT_AVAILABLE',
  'BROKER_NOT_AVAILABLE',
  'OFFSET_NOT_AVAILABLE',
  'KAFKA_STORAGE_ERROR',
  'NETWORK_EXCEPTION',
  'REQUEST_TIMED_OUT',
  'CORRUPT_MESSAGE',
  'UNKNOWN',
]);

/** A broker that is so late with its answer may lead nothing any more: the leaders are asked for again, and again after so long. */
const overdueMs = 3_000;

interface Poll {
  readonly done: Promise<void>;
  readonly topics: ReadonlySet<string>;
  overdueAtMs: number;
}

interface Answer {
  readonly offset: bigint;
  readonly response: PartitionResponse;
}

/**
 * Reads committed records at explicit positions, on connections of its own, so that a long poll never delays a commit.
 *
 * One fetch is under way to each broker, and the first answer ends the call: a quiet, slow or failing broker delays no other. The answers of
 * the others are kept for the next call, and used if it asks for the same offsets.
 */
export class KafkaFetcher implements Fetcher {
  readonly #cluster: Cluster;
  readonly #topology: Topology;
  /** By broker. */
  readonly #polls = new Map<number, Poll>();
  /** By partition. */
  readonly #answers = new Map<string, Answer>();
  readonly #troubles = new Troubles();
  /** Offsets of damaged batches, by partition. They are read a second time before they are given up. */
  readonly #doubted = new Map<string, bigint>();
  #asking: Promise<void> | undefined;
  /** Ends the next call. */
  #failure: MillraceError | undefined;
  #closed = false;
  #turn = 0;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
    this.#topology = new Topology(cluster);
  }

  async fetch(positions: readonly FetchPosition[], options: FetchOptions): Promise<readonly Fetched[]> {
    if (positions.length === 0) return [];
    const giveUpAt = performance.now() + options.maxWaitMs;
    for (;;) {
      this.#check(positions);
      const ready = this.#take(positions);
      const pauseMs = this.#start(positions, options, ready);
      if (ready.length > 0) return ready;
      const polls = [...this.#polls.values()].map(({ done }) => done);
      const pending = this.#asking === undefined ? polls : [...polls, this.#asking];
      await firstOf(pending, pauseMs, options.signal);
      const taken = this.#take(positions);
      if (taken.length > 0) return taken;
      if (performance.now() < giveUpAt) continue;
      this.#check(positions);
      return taken;
    }
  }

  /** @throws MillraceError the failure that is due; its partitions are asked for again by the next call */
  #check(positions: readonly FetchPosition[]): void {
    const failure = this.#failure;
    this.#failure = undefined;
    if (failure !== undefined) throw failure;
    this.#troubles.check(positions);
  }

  /** The kept answers that fit. All others are dropped: nobody waits for them any more. */
  #take(positions: readonly FetchPosition[]): Fetched[] {
    const taken: Fetched[] = [];
    for (const position of positions) {
      const answer = this.#answers.get(partitionId(position));
      const fetched = answer?.offset === position.offset ? this.#read(position, answer.response) : undefined;
      if (fetched !== undefined) taken.push(fetched);
    }
    this.#answers.clear();
    return taken;
  }

  /** Asks each leader that is not asked. Returns the milliseconds until another partition can be asked for. */
  #start(positions: readonly FetchPosition[], options: FetchOptions, ready: readonly Fetched[]): number {
    const due = positions.filter((position) => this.#troubles.waitMs(position) <= 0);
    this.#ask(due.map(({ topic }) => topic));
    const answered = new Set(ready.map(partitionId));
    const byLeader = new Map<number, FetchPosition[]>();
    let pauseMs = Number.POSITIVE_INFINITY;
    this.#turn = (this.#turn + 1) % positions.length;
    for (const position of [...positions.slice(this.#turn), ...positions.slice(0, this.#turn)]) {
      if (answered.has(partitionId(position))) continue;
      if (this.#troubles.waitMs(position) <= 0) {
        const leader = this.#topology.leaderOf(position);
        if (leader === undefined) continue;
        const poll = this.#polls.get(leader);
        if (poll !== undefined) {
          pauseMs = Math.min(pauseMs, this.#untilOverdue(poll));
          continue;
        }
        if (leader >= 0) {
          const wanted = byLeader.get(leader);
          if (wanted === undefined) byLeader.set(leader, [position]);
          else wanted.push(position);
          continue;
        }
        this.#trouble(position, new MillraceError('KAFKA_UNREACHABLE', `${partitionId(position)} has no leader`));
      }
      pauseMs = Math.min(pauseMs, this.#troubles.waitMs(position));
    }
    const overdueAtMs = performance.now() + options.maxWaitMs + overdueMs;
    for (const [leader, wanted] of byLeader) {
      const done = this.#poll(leader, wanted, options).finally(() => this.#polls.delete(leader));
      this.#polls.set(leader, { done, overdueAtMs, topics: new Set(wanted.map(({ topic }) => topic)) });
      pauseMs = Math.min(pauseMs, options.maxWaitMs + overdueMs);
    }
    return pauseMs;
  }

  /** Milliseconds until the leaders of its partitions are to be asked for again, although it is not answered. */
  #untilOverdue(poll: Poll): number {
    const leftMs = poll.overdueAtMs - performance.now();
    if (leftMs > 0) return leftMs;
    poll.overdueAtMs += overdueMs;
    this.#topology.doubt(poll.topics);
    return 0;
  }

  /** Asks for the leaders of topics, if that is due and not under way. */
  #ask(topics: readonly string[]): void {
    if (this.#asking !== undefined || !topics.some((topic) => this.#topology.isDue(topic))) return;
    this.#asking = this.#topology
      .ask(topics)
      .catch((error: unknown) => {
        this.#failure = toMillraceError(error, 'asking for the leaders of partitions');
      })
      .finally(() => {
        this.#asking = undefined;
      });
  }

  /** Never rejects. */
  async #poll(nodeId: number, wanted: readonly FetchPosition[], options: FetchOptions): Promise<void> {
    let broker: Broker | undefined;
    try {
      broker = await this.#topology.broker(nodeId);
      const request = fetchRequest({
        replicaId: -1,
        isolationLevel: 1,
        maxWaitTime: options.maxWaitMs,
        minBytes: 1,
        maxBytes: maxBytesPerFetch,
        topics: groupByTopic(wanted, options.maxBytesPerPartition),
      });
      const responses = await broker.connectionPool.send({ request, response: fetchResponse });
      const offsets = new Map(wanted.map((position) => [partitionId(position), position.offset]));
      for (const response of responses as PartitionResponse[]) {
        const offset = offsets.get(partitionId(response));
        if (offset !== undefined) this.#answers.set(partitionId(response), { offset, response });
      }
    } catch (error) {
      if (this.#closed) return;
      const known = toMillraceError(error, `fetching from broker ${nodeId}`);
      if (known.disposition === 'retry') for (const position of wanted) this.#trouble(position, known);
      else this.#failure = known;
      if (broker !== undefined) this.#discard(broker);
    }
  }

  /** A kafkajs connection that is opened again may be closed by the end of the former one, so all of the broker is given up. */
  #discard(broker: Broker): void {
    this.#cluster.removeBroker(broker.connectionPool);
    broker.disconnect().catch(() => undefined);
  }

  #read(position: FetchPosition, response: PartitionResponse): Fetched | undefined {
    const { topic, partition, highWatermark: end } = response;
    if (response.errorCode !== 0) {
      this.#partitionError(position, response.errorCode);
      return undefined;
    }
    this.#troubles.clear(position);
    const from = position.offset;
    const bounds = { end, ...(position.to === undefined ? {} : { to: position.to }) };
    const { size, read, next, damage } = scanBatches(response.records, from, response.aborted, bounds);
    if (damage !== undefined && next === from) return this.#damaged(position, damage, end);
    this.#doubted.delete(partitionId(position));
    if (next === from && end <= next) return undefined;
    let records: readonly LogRecord[] | undefined;
    return {
      topic,
      partition,
      from,
      next,
      size,
      bytes: response.records.length,
      get records() {
        records ??= read();
        return records;
      },
      end,
    };
  }

  /** A batch is read a second time, since it may have been damaged on its way; then it is a dead letter, or nobody knows where it ends. */
  #damaged(position: FetchPosition, damage: Damage, end: bigint): Fetched | undefined {
    const { topic, partition, offset: from } = position;
    const id = partitionId(position);
    if (this.#doubted.get(id) !== from) {
      this.#doubted.set(id, from);
      return undefined;
    }
    this.#doubted.delete(id);
    if (damage.end !== undefined) {
      return { topic, partition, from, next: damage.end, records: [damagedRecord(damage)], end };
    }
    this.#failure = logDamaged(position, damage.reason);
    return undefined;
  }

  #partitionError(position: FetchPosition, code: number): void {
    const error = createErrorFromCode(code);
    const id = partitionId(position);
    if (error.type === 'OFFSET_OUT_OF_RANGE') {
      this.#failure = new MillraceError('OFFSET_OUT_OF_RANGE', `${id} has no offset ${position.offset} any more`, {
        cause: error,
        remedy:
          'retention has deleted records that were not processed: raise retention, then choose an offset deliberately',
      });
    } else if (!passing.has(error.type)) {
      this.#failure = toMillraceError(error, `fetching ${id}`);
    } else if (error.type === 'CORRUPT_MESSAGE') {
      this.#trouble(position, logDamaged(position, error.message));
    } else {
      this.#trouble(
        position,
        new MillraceError('KAFKA_UNREACHABLE', `fetching ${id}: ${error.message}`, { cause: error }),
      );
    }
  }

  #trouble(position: FetchPosition, error: MillraceError): void {
    this.#troubles.note(position, error);
    this.#topology.doubt([position.topic]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    await this.#cluster.disconnect().catch(() => undefined);
  }
}

function logDamaged(position: FetchPosition, reason: string): MillraceError {
  return new MillraceError(
    'LOG_DAMAGED',
    `${partitionId(position)} cannot be read from ${position.offset} on: ${reason}`,
    {
      remedy: 'let a replica that is sound lead the partition; see the runbook before any offset is passed over',
    },
  );
}

function groupByTopic(wanted: readonly FetchPosition[], maxBytes: number): object[] {
  const topics: { topic: string; partitions: object[] }[] = [];
  for (const { topic, partition, offset } of wanted) {
    const last = topics.at(-1);
    const entry = { partition, fetchOffset: offset.toString(), maxBytes };
    if (last?.topic === topic) last.partitions.push(entry);
    else topics.push({ topic, partitions: [entry] });
  }
  return topics;
}
