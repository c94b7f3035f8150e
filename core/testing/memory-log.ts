import { MillraceError } from '../base/errors.ts';
import { type Assignment, add, assignSticky } from '../log/assignment.ts';
import type {
  Committed,
  Fetched,
  Fetcher,
  FetchOptions,
  JoinOptions,
  Log,
  LogRecord,
  OutRecord,
  Position,
  TopicPartition,
  Transaction,
  Writer,
  Written,
} from '../log/log.ts';
import { partitionId } from '../log/log.ts';

/** What can go wrong with the next transaction of a transactional id. */
export type TransactionFault =
  /** The transaction is aborted before anything is visible. */
  | 'abort'
  /** Committed, but the answer is lost. */
  | 'unknown-committed'
  /** Not committed, and no answer. */
  | 'unknown-aborted';

interface Partition {
  /** By offset; undefined is an offset without a committed record: a transaction marker or an aborted record. */
  readonly slots: (LogRecord | undefined)[];
  /** What is before it was deleted by retention. */
  start: bigint;
}

/**
 * The log in memory: the same contract as Kafka's, with transaction markers that take offsets, fencing, and faults on demand. For tests
 * without a broker; nothing survives the process.
 */
export class MemoryLog implements Log {
  readonly #topics = new Map<string, Partition[]>();
  readonly #epochs = new Map<string, number>();
  readonly #committed = new Map<string, Committed>();
  readonly #faults = new Map<string, TransactionFault[]>();
  readonly #members = new Map<string, { options: JoinOptions; owned: TopicPartition[] }[]>();
  readonly #waiting = new Set<() => void>();
  /** Every committed transaction's id, in order. */
  readonly transactions: string[] = [];

  create(topic: string, partitions: number): void {
    if (!this.#topics.has(topic))
      this.#topics.set(
        topic,
        Array.from({ length: partitions }, () => ({ slots: [], start: 0n })),
      );
  }

  /** Appends outside of any transaction, as a source would. Returns the offset. */
  append(record: OutRecord): bigint {
    const { slots } = this.#partition(record);
    slots.push(toRecord(record, BigInt(slots.length)));
    this.#wake();
    return BigInt(slots.length - 1);
  }

  /** Appends an offset that holds no record, as a transaction marker does. */
  appendMarker(at: TopicPartition): void {
    this.#partition(at).slots.push(undefined);
    this.#wake();
  }

  /** Removes one record, as compaction does. */
  remove({ offset, ...at }: TopicPartition & { readonly offset: bigint }): void {
    this.#partition(at).slots[Number(offset)] = undefined;
  }

  /** Deletes what is before an offset, as retention does. */
  trim(at: TopicPartition, start: bigint): void {
    this.#partition(at).start = start;
  }

  /** Deletes a group's offsets, as Kafka does when they expire. */
  forget(group: string): void {
    for (const key of this.#committed.keys()) if (key.startsWith(`${group}\n`)) this.#committed.delete(key);
  }

  /** All committed records of a partition, or of a whole topic in partition order. */
  records(topic: string, partition?: number): LogRecord[] {
    const partitions = this.#topics.get(topic) ?? [];
    const chosen = partition === undefined ? partitions : partitions.slice(partition, partition + 1);
    return chosen.flatMap(({ slots }) => slots.filter((slot) => slot !== undefined));
  }

  /** The next transactions of the id meet these faults, one each. */
  fault(transactionalId: string, ...faults: TransactionFault[]): void {
    this.#faults.set(transactionalId, [...(this.#faults.get(transactionalId) ?? []), ...faults]);
  }

  async join(options: JoinOptions): Promise<AsyncDisposable> {
    const members = this.#members.get(options.group) ?? [];
    const member = { options, owned: [] as TopicPartition[] };
    members.push(member);
    this.#members.set(options.group, members);
    this.#rebalance(options.group);
    return {
      [Symbol.asyncDispose]: async () => {
        const at = members.indexOf(member);
        if (at < 0) return;
        members.splice(at, 1);
        this.#rebalance(options.group);
      },
    };
  }

  fetcher(): Fetcher {
    return {
      fetch: async (positions, options) => this.#fetch(positions, options),
      [Symbol.asyncDispose]: async () => undefined,
    };
  }

  async writer(transactionalId: string): Promise<Writer> {
    const epoch = (this.#epochs.get(transactionalId) ?? 0) + 1;
    this.#epochs.set(transactionalId, epoch);
    let broken: MillraceError | undefined;
    const fail = (error: MillraceError): never => {
      broken = error;
      throw error;
    };
    return {
      transact: async (transaction) => {
        // A real commit is a round trip: others run meanwhile.
        await Promise.resolve();
        if (broken !== undefined) throw broken;
        if (this.#epochs.get(transactionalId) !== epoch) {
          return fail(new MillraceError('FENCED', `${transactionalId}: a newer owner has taken over`));
        }
        if (transaction.records.length === 0 && transaction.offsets === undefined) return [];
        const fault = this.#faults.get(transactionalId)?.shift();
        if (fault === 'abort' || fault === 'unknown-aborted') {
          this.#apply(transaction, false);
          return fail(
            new MillraceError(
              fault === 'abort' ? 'TRANSACTION_ABORTED' : 'COMMIT_UNKNOWN',
              `${transactionalId}: injected ${fault}`,
            ),
          );
        }
        const written = this.#apply(transaction, true);
        this.transactions.push(transactionalId);
        if (fault === 'unknown-committed')
          return fail(new MillraceError('COMMIT_UNKNOWN', `${transactionalId}: injected ${fault}`));
        return written;
      },
      [Symbol.asyncDispose]: async () => {
        broken ??= new MillraceError('FENCED', `${transactionalId} is closed`);
      },
    };
  }

  async committed(group: string, topic: string): Promise<readonly Committed[]> {
    return [...this.#committed]
      .filter(([key, value]) => key.startsWith(`${group}\n`) && value.topic === topic)
      .map(([, value]) => value);
  }

  async starts(topic: string): Promise<readonly bigint[]> {
    return this.#existing(topic).map(({ start }) => start);
  }

  async ends(topic: string): Promise<readonly bigint[]> {
    return this.#existing(topic).map(({ slots }) => BigInt(slots.length));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#wake();
  }

  #apply(transaction: Transaction, commit: boolean): Written[] {
    const written = new Map<string, Written>();
    for (const record of transaction.records) {
      const { slots } = this.#partition(record);
      const { topic, partition } = record;
      if (!written.has(partitionId(record)))
        written.set(partitionId(record), { topic, partition, baseOffset: BigInt(slots.length) });
      slots.push(commit ? toRecord(record, BigInt(slots.length)) : undefined);
    }
    for (const at of written.values()) this.#partition(at).slots.push(undefined);
    if (commit && transaction.offsets !== undefined) {
      const { group, positions } = transaction.offsets;
      for (const { topic, partition, offset, metadata } of positions) {
        this.#committed.set(`${group}\n${topic}/${partition}`, { topic, partition, offset, metadata: metadata ?? '' });
      }
    }
    this.#wake();
    return [...written.values()];
  }

  async #fetch(positions: readonly Position[], options: FetchOptions): Promise<Fetched[]> {
    const read = (): Fetched[] =>
      positions.flatMap(({ topic, partition, offset }) => {
        const { slots, start } = this.#partition({ topic, partition });
        if (offset < start) {
          throw new MillraceError('OFFSET_OUT_OF_RANGE', `${topic}/${partition} begins with offset ${start}`);
        }
        if (BigInt(slots.length) <= offset) return [];
        const next = BigInt(slots.length);
        const records = slots.slice(Number(offset)).filter((slot) => slot !== undefined);
        return [{ topic, partition, from: offset, next, records, end: next }];
      });
    const ready = read();
    if (ready.length > 0 || options.maxWaitMs === 0) return ready;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(done);
        resolve();
      };
      const timer = setTimeout(done, options.maxWaitMs);
      this.#waiting.add(done);
    });
    options.signal?.throwIfAborted();
    return read();
  }

  #rebalance(group: string): void {
    const members = this.#members.get(group) ?? [];
    const topics = new Map(
      members.flatMap(({ options }) => options.topics).map((topic) => [topic, this.#existing(topic).length]),
    );
    const claims = new Map(members.map(({ owned }, i) => [memberName(i), claimOf(owned)]));
    const assigned = assignSticky(topics, claims);
    for (const [i, member] of members.entries()) {
      const assignment = assigned.get(memberName(i)) ?? {};
      member.owned = Object.entries(assignment).flatMap(([topic, partitions]) =>
        partitions.map((partition) => ({ topic, partition })),
      );
      member.options.onAssigned(member.owned);
    }
  }

  #existing(topic: string): Partition[] {
    const partitions = this.#topics.get(topic);
    if (partitions === undefined) throw new MillraceError('TOPIC_MISSING', `topic ${topic} does not exist`);
    return partitions;
  }

  #partition(at: TopicPartition): Partition {
    const partition = this.#existing(at.topic)[at.partition];
    if (partition === undefined)
      throw new MillraceError('TOPIC_MISSING', `${at.topic} has no partition ${at.partition}`);
    return partition;
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }
}

function toRecord(record: OutRecord, offset: bigint): LogRecord {
  const { timestamp, key, value, headers } = record;
  return headers === undefined ? { offset, timestamp, key, value } : { offset, timestamp, key, value, headers };
}

function memberName(index: number): string {
  return String(index).padStart(4, '0');
}

function claimOf(owned: readonly TopicPartition[]): Assignment {
  const claim: Assignment = {};
  for (const { topic, partition } of owned) add(claim, topic, partition);
  return claim;
}
