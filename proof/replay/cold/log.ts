import { type Table, tables } from '../../../core/archive/rows/tables.ts';
import type { ObjectStore } from '../../../core/archive/s3/store.ts';
import { AvroEncoder } from '../../../core/avro/encoder.ts';
import type { Schemas } from '../../../core/avro/schemas.ts';
import { MillraceError } from '../../../core/base/errors.ts';
import type {
  Committed,
  Fetched,
  Fetcher,
  JoinOptions,
  Log,
  LogRecord,
  Position,
  TopicPartition,
  Writer,
} from '../../../core/log/log.ts';
import { partitionId, readRange } from '../../../core/log/log.ts';
import { type ArchivedTopic, archivedTopics, valueSubject } from '../../../schemas/topics.ts';
import { requireReadable } from './fields.ts';
import { RefusedRecords } from './refused.ts';
import { ColdRows } from './rows.ts';
import { readTiles, type TileRange, type Tiles } from './tiles.ts';

export interface ColdLogOptions {
  readonly log: Log;
  /** Receives the schemas of rebuilt records, where the replay's decoders find them. */
  readonly schemas: Schemas;
  readonly store: ObjectStore;
  /**
   * Topics to read from the archive as far as it goes, each with the consumer's reader schema. Topics that are not archived are ignored.
   */
  readonly inputs: readonly { readonly topic: string; readonly schema: object }[];
  readonly signal?: AbortSignal;
}

/** The part of a partition that came from the archive. */
export interface ColdPart extends TopicPartition {
  /** The archive's range; from its end on, the log is read. */
  readonly from: bigint;
  readonly to: bigint;
  /** Records rebuilt from rows, or taken from the sink's dead letters. A record that was read twice counts once. */
  readonly records: number;
}

/** Offsets of one window, which is the most records that one cached window has in memory. */
const windowOffsets = 50_000n;
/** Cached windows of all partitions together: enough for two inputs and for repeated reads. */
const keptWindows = 4;
const recordsPerFetch = 5_000;

/**
 * A log that reads archived topics from the listed files as far as they go, and from there from the log itself, at the exact offset. All
 * other topics come from the log. It is for reading history: `ends` and committed offsets are the log's own.
 *
 * A rebuilt record has the offset, timestamp, redriven headers and value that processors read, in the schema of `schemas/`. It has no key.
 */
export class ColdLog implements Log {
  readonly #log: Log;
  readonly #rows: ColdRows;
  readonly #partitions: ReadonlyMap<string, ColdPartition>;

  private constructor(log: Log, rows: ColdRows, partitions: readonly ColdPartition[]) {
    this.#log = log;
    this.#rows = rows;
    this.#partitions = new Map(partitions.map((each) => [partitionId(each), each]));
  }

  /**
   * @throws MillraceError REPLAY_IMPOSSIBLE: nothing is archived, or a schema needs a field that rows do not have. S3_…, KAFKA_UNREACHABLE.
   */
  static async open(options: ColdLogOptions): Promise<ColdLog> {
    const { log, schemas, store, inputs, signal = new AbortController().signal } = options;
    const cold = inputs.filter((input): input is { topic: ArchivedTopic; schema: object } => isArchived(input.topic));
    if (cold.length === 0) {
      throw new MillraceError(
        'REPLAY_IMPOSSIBLE',
        `nothing of ${inputs.map(({ topic }) => topic).join(', ')} is archived`,
        {
          remedy: `replay it without --from-cold: archived are ${archivedTopics.join(', ')}`,
        },
      );
    }
    const rows = await ColdRows.open(store, signal);
    try {
      const partitions: ColdPartition[] = [];
      const windows = new Windows();
      for (const { topic, schema } of cold) {
        const table = tables[topic];
        requireReadable(topic, schema, table.schema);
        const encoder = await AvroEncoder.open<object>(schemas, valueSubject(topic), table.schema);
        for (const [partition, tiles] of (await readTiles(log, schemas, topic, signal)).entries()) {
          const refused = await RefusedRecords.open(log, schemas, { topic, partition }, signal);
          partitions.push(new ColdPartition({ table, partition, tiles, refused, rows, encoder, windows }));
        }
      }
      return new ColdLog(log, rows, partitions);
    } catch (error) {
      await rows[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The parts read from the archive so far. */
  get parts(): readonly ColdPart[] {
    return [...this.#partitions.values()].filter(({ records }) => records > 0).map((each) => each.part);
  }

  /** Number of files read so far. */
  get objects(): number {
    return this.#rows.objects;
  }

  fetcher(): Fetcher {
    const inner = this.#log.fetcher();
    return {
      fetch: async (positions, options) => {
        const cold: Fetched[] = [];
        for (const position of positions) {
          const fetched = await this.#partitions.get(partitionId(position))?.fetch(position);
          if (fetched !== undefined) cold.push(fetched);
        }
        if (cold.length > 0) return cold;
        for (const position of positions) await this.#requireLogged(position);
        return inner.fetch(positions, options);
      },
      [Symbol.asyncDispose]: () => inner[Symbol.asyncDispose](),
    };
  }

  /** Earliest readable offsets, by partition. */
  async starts(topic: string): Promise<readonly bigint[]> {
    const starts = await this.#log.starts(topic);
    return starts.map((start, partition) => {
      const tiles = this.#partitions.get(partitionId({ topic, partition }))?.tiles;
      return tiles === undefined || tiles.from === tiles.to || tiles.from > start ? start : tiles.from;
    });
  }

  /**
   * By partition, the first offset with a timestamp at or after an instant.
   *
   * @param millis since 1970
   * @param logged the log's own answer; if that is the start of the log, earlier records may be in the archive
   */
  async offsetsAt(topic: string, millis: bigint, logged: readonly bigint[]): Promise<readonly bigint[]> {
    const [starts, first] = await Promise.all([this.#log.starts(topic), this.starts(topic)]);
    const found: bigint[] = [];
    for (const [partition, offset] of logged.entries()) {
      const [from, to] = [first[partition] ?? 0n, starts[partition] ?? 0n];
      found.push(offset > to || from >= to ? offset : await this.#firstAt({ topic, partition, from, to }, millis));
    }
    return found;
  }

  async #firstAt(range: TopicPartition & TileRange, millis: bigint): Promise<bigint> {
    for await (const records of readRange(this, range, { maxWaitMs: 0, maxBytesPerPartition: 1 << 20 })) {
      const found = records.find(({ timestamp }) => timestamp >= millis);
      if (found !== undefined) return found.offset;
    }
    return range.to;
  }

  /** Refuses a position that the log has deleted and the archive lacks. @throws MillraceError REPLAY_IMPOSSIBLE */
  async #requireLogged({ topic, partition, offset }: Position): Promise<void> {
    const tiles = this.#partitions.get(partitionId({ topic, partition }))?.tiles;
    if (tiles === undefined) return;
    const start = (await this.#log.starts(topic))[partition] ?? 0n;
    if (offset < start)
      throw missing(
        { topic, partition },
        { from: offset, to: start },
        'the archive does not go so far, and the log begins later',
      );
  }

  join(options: JoinOptions): Promise<AsyncDisposable> {
    return this.#log.join(options);
  }

  writer(transactionalId: string): Promise<Writer> {
    return this.#log.writer(transactionalId);
  }

  committed(group: string, topic: string): Promise<readonly Committed[]> {
    return this.#log.committed(group, topic);
  }

  ends(topic: string): Promise<readonly bigint[]> {
    return this.#log.ends(topic);
  }

  /** Leaves the log open. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#rows[Symbol.asyncDispose]();
  }
}

interface ColdPartitionOptions {
  readonly table: Table;
  readonly partition: number;
  readonly tiles: Tiles;
  readonly refused: RefusedRecords;
  readonly rows: ColdRows;
  readonly encoder: AvroEncoder<object>;
  readonly windows: Windows;
}

/** Cache of the windows that were read last. */
class Windows {
  /** Least recently read first. */
  readonly #windows = new Map<string, readonly LogRecord[]>();

  async get(id: string, read: () => Promise<readonly LogRecord[]>): Promise<readonly LogRecord[]> {
    const known = this.#windows.get(id);
    this.#windows.delete(id);
    // Evicts before the next read, so memory never holds an extra window.
    for (const oldest of this.#windows.keys()) {
      if (this.#windows.size < keptWindows) break;
      this.#windows.delete(oldest);
    }
    const window = known ?? (await read());
    this.#windows.set(id, window);
    return window;
  }
}

class ColdPartition {
  readonly #options: ColdPartitionOptions;
  readonly #counted = new Map<bigint, number>();

  constructor(options: ColdPartitionOptions) {
    this.#options = options;
  }

  get topic(): string {
    return this.#options.table.topic;
  }

  get partition(): number {
    return this.#options.partition;
  }

  get tiles(): Tiles {
    return this.#options.tiles;
  }

  get records(): number {
    return [...this.#counted.values()].reduce((sum, each) => sum + each, 0);
  }

  get part(): ColdPart {
    const { topic, partition, records } = this;
    const { from, to } = this.tiles;
    return { topic, partition, from, to, records };
  }

  /** Undefined for an offset outside the archive. */
  async fetch({ offset }: Position): Promise<Fetched | undefined> {
    const { topic, partition } = this;
    const { from, to } = this.tiles;
    if (offset < from || offset >= to) return undefined;
    const number = (offset - from) / windowOffsets;
    const end = min(from + (number + 1n) * windowOffsets, to);
    const window = await this.#window(number, end);
    const first = indexOf(window, offset);
    const records = window.slice(first, first + recordsPerFetch);
    const isLast = first + records.length === window.length;
    const next = isLast ? end : (records.at(-1) as LogRecord).offset + 1n;
    return { topic, partition, from: offset, next, records, end: to };
  }

  async #window(number: bigint, to: bigint): Promise<readonly LogRecord[]> {
    const range = { from: this.tiles.from + number * windowOffsets, to };
    const window = await this.#options.windows.get(`${partitionId(this)} ${number}`, () => this.#read(range));
    this.#counted.set(number, window.length);
    return window;
  }

  async #read(range: TileRange): Promise<readonly LogRecord[]> {
    const { table, partition, tiles, refused, rows, encoder } = this.#options;
    this.#requireWhole(range);
    const restored = await rows.read(table, partition, range, tiles.objects);
    const records = restored.map(
      ({ value, ...record }): LogRecord => ({ ...record, key: null, value: encoder.encode(value) }),
    );
    const letters = await refused.read(range.from, range.to);
    if (letters.length === 0) return records;
    return [...records, ...letters].sort((a, b) => (a.offset < b.offset ? -1 : 1));
  }

  /** @throws MillraceError REPLAY_IMPOSSIBLE: an offset of the range is neither a row nor a refused record. */
  #requireWhole(range: TileRange): void {
    const { tiles, refused } = this.#options;
    const gap = tiles.gaps.find(({ from, to }) => from < range.to && to > range.from);
    if (gap !== undefined) throw missing(this, gap, gap.why);
    for (const { from, to, deadLetters } of tiles.cuts) {
      if (deadLetters === 0n || from >= range.to || to <= range.from) continue;
      const found = refused.count(from, to);
      if (BigInt(found) === deadLetters) continue;
      throw missing(
        this,
        { from, to },
        `${deadLetters} of them were refused by the sink, and parquet.dead has ${found} of those`,
      );
    }
  }
}

function missing({ topic, partition }: TopicPartition, { from, to }: TileRange, why: string): MillraceError {
  return new MillraceError(
    'REPLAY_IMPOSSIBLE',
    `offsets ${from} to ${to - 1n} of ${topic}/${partition} are missing: ${why}`,
    {
      remedy:
        'replay without --from-cold if the log still has them; otherwise choose --from after a snapshot that comes later. millrace verify names the missing records of the archive',
    },
  );
}

/** Index of the first record at or after an offset. */
function indexOf(records: readonly LogRecord[], offset: bigint): number {
  let [low, high] = [0, records.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((records[middle] as LogRecord).offset < offset) low = middle + 1;
    else high = middle;
  }
  return low;
}

function min(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}

function isArchived(topic: string): boolean {
  return (archivedTopics as readonly string[]).includes(topic);
}
