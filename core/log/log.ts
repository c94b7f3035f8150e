import { isError, type MillraceError } from '../base/errors.ts';

/**
 * The log as the runtime sees it: partitions of records, a group that hands them out, and writers that commit atomically.
 *
 * Two implementations: core/kafka (the real one) and core/testing (in memory). A third client replaces kafkajs by implementing
 * this file and passing the contract suite. Not the log's job: schemas, state, and deciding when to commit.
 */

export interface TopicPartition {
  readonly topic: string;
  readonly partition: number;
}

/** A committed record as it was read. */
export interface LogRecord {
  readonly offset: bigint;
  /** Milliseconds since the epoch, as the producer set it. */
  readonly timestamp: bigint;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers?: Readonly<Record<string, Buffer>>;
  /** Set instead of key and value when the batch that holds the record cannot be read: a dead letter. */
  readonly unreadable?: MillraceError;
}

/** A record to be written. */
export interface OutRecord extends TopicPartition {
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  /** Milliseconds since the epoch. Always set: a default would be the wall clock. */
  readonly timestamp: bigint;
  readonly headers?: Readonly<Record<string, Buffer>>;
}

/** Committed records of one partition, in offset order. */
export interface Fetched extends TopicPartition {
  /** The offset this fetch asked for. */
  readonly from: bigint;
  /** Where to go on. Greater than the last record's offset + 1 when transaction markers or aborted records were passed. */
  readonly next: bigint;
  /** May be read from what was fetched when it is asked for, and then kept. */
  readonly records: readonly LogRecord[];
  /** Approximate record count, without decoding. Default: the number of `records`. */
  readonly size?: number;
  /** Memory that it takes while it waits: bytes as fetched. Default: those of its keys and values. */
  readonly bytes?: number;
  /** The partition's high watermark at the time of the fetch. */
  readonly end: bigint;
}

export interface Position extends TopicPartition {
  readonly offset: bigint;
}

export interface FetchPosition extends Position {
  /** Exclusive: what begins there or later is of no use, and need not be read. Records beyond it may come nevertheless. Default: no end. */
  readonly to?: bigint;
}

export interface Committed extends Position {
  /** At most 4096 bytes, committed with the offset. */
  readonly metadata: string;
}

/** One transaction: all of it becomes visible, or none. */
export interface Transaction {
  readonly records: readonly OutRecord[];
  readonly offsets?: {
    readonly group: string;
    readonly positions: readonly (Position & { readonly metadata?: string })[];
  };
}

export interface Written extends TopicPartition {
  /** Offset of the first record of this transaction in the partition. */
  readonly baseOffset: bigint;
}

/**
 * A transactional writer. Opening it fences every earlier writer of the same id and completes that writer's transaction, so that
 * committed offsets read afterwards are final.
 */
export interface Writer extends AsyncDisposable {
  /**
   * Writes and commits one transaction.
   *
   * @throws MillraceError FENCED: a newer writer exists; nothing was committed. TRANSACTION_ABORTED: nothing was committed.
   *   COMMIT_UNKNOWN: it may or may not have been committed. After any of them this writer is unusable: dispose of it, open another.
   */
  transact(transaction: Transaction): Promise<readonly Written[]>;
}

/** Reads at explicit positions; independent of any group. Not safe for concurrent calls of `fetch`. */
export interface Fetcher extends AsyncDisposable {
  /**
   * Fetches committed records at the given positions. Resolves as soon as any partition moved, or after `maxWaitMs` with nothing.
   *
   * @throws MillraceError KAFKA_UNREACHABLE, OFFSET_OUT_OF_RANGE, TOPIC_MISSING, KAFKA_FORBIDDEN, KAFKA_REFUSED, LOG_DAMAGED. Records
   *   of other partitions that arrived with the failure were returned by the call before.
   */
  fetch(positions: readonly FetchPosition[], options: FetchOptions): Promise<readonly Fetched[]>;
}

export interface FetchOptions {
  readonly maxWaitMs: number;
  /** Upper bound on bytes (compressed, as the broker counts them) per partition and fetch. */
  readonly maxBytesPerPartition: number;
  readonly signal?: AbortSignal;
}

export interface JoinOptions {
  readonly group: string;
  readonly topics: readonly string[];
  /**
   * Called after every rebalance with all partitions this member owns now. Partitions that stay keep their task: reading positions
   * are the tasks' own, so nothing is rewound.
   */
  readonly onAssigned: (partitions: readonly TopicPartition[]) => void;
  /** The membership is lost for good (after its own retries). */
  readonly onLost: (error: Error) => void;
}

/** See the top of this file. */
export interface Log extends AsyncDisposable {
  join(options: JoinOptions): Promise<AsyncDisposable>;
  fetcher(): Fetcher;
  writer(transactionalId: string): Promise<Writer>;
  /** Committed offsets of a group; partitions without one are absent. */
  committed(group: string, topic: string): Promise<readonly Committed[]>;
  /** Earliest offsets by partition. @throws MillraceError TOPIC_MISSING */
  starts(topic: string): Promise<readonly bigint[]>;
  /** High watermarks by partition: at or above every record appended so far, committed or not. @throws MillraceError TOPIC_MISSING */
  ends(topic: string): Promise<readonly bigint[]>;
}

export function partitionId(at: TopicPartition): string {
  return `${at.topic}/${at.partition}`;
}

/** High watermarks by partition; none where there is no such topic. */
export async function endsOf(log: Pick<Log, 'ends'>, topic: string): Promise<readonly bigint[]> {
  try {
    return await log.ends(topic);
  } catch (error) {
    if (isError(error, 'TOPIC_MISSING')) return [];
    throw error;
  }
}

type OffsetRange = TopicPartition & { readonly from: bigint; readonly to: bigint };

/** All committed records of `[from, to)`, in fetch-sized portions. Ends when the position has reached `to`. */
export async function* readRange(
  log: Log,
  range: OffsetRange,
  options: FetchOptions,
): AsyncGenerator<readonly LogRecord[]> {
  await using fetcher = log.fetcher();
  yield* fetchRange(fetcher, range, options);
}

/** The same with a fetcher that is there, for who reads many ranges. */
export async function* fetchRange(
  fetcher: Fetcher,
  range: OffsetRange,
  options: FetchOptions,
): AsyncGenerator<readonly LogRecord[]> {
  let offset = range.from;
  while (offset < range.to) {
    options.signal?.throwIfAborted();
    const { topic, partition, to } = range;
    const [fetched] = await fetcher.fetch([{ topic, partition, offset, to }], options);
    if (fetched === undefined) continue;
    offset = fetched.next;
    const records = fetched.records.filter((record) => record.offset < range.to);
    if (records.length > 0) yield records;
  }
}
