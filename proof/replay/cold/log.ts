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
import { Refused } from './refused.ts';
import { Rows } from './rows.ts';
import { type Range, readTiles, type Tiles } from './tiles.ts';

export interface ColdLogOptions {
  readonly log: Log;
  /** Registers the schemas of what is made again; the replay's decoders find them here. */
  readonly schemas: Schemas;
  readonly store: ObjectStore;
  /** What is to come from the archive where it has it, and the reader schema that asks for it. Topics that are not archived are left out. */
  readonly inputs: readonly { readonly topic: string; readonly schema: object }[];
  readonly signal?: AbortSignal;
}

/** What came from the archive. */
export interface ColdPart extends TopicPartition {
  /** The archive's range; from its end on it is the log. */
  readonly from: bigint;
  readonly to: bigint;
  /** Records made of rows, or taken from the sink's dead letters; those that were read more than once, once. */
  readonly records: number;
}

/** Offsets of one window: at most so many records are in memory, of each window that is kept. */
const windowOffsets = 50_000n;
/** Of all partitions together: two inputs, and what is read again. */
const keptWindows = 4;
const recordsPerFetch = 5_000;

/**
 * A log whose archived topics are read from the listed files as far as these go, and from there on from the log itself, at the exact
 * offset. Everything else is the log's. For reading only what has been: `ends` and committed offsets are the log's own.
 *
 * A record made again has the offset, timestamp, redriven headers and value that the processors had read, by the schema of `schemas/`; it has
 * no key.
 */
export class ColdLog implements Log {
  readonly #log: Log;
  readonly #rows: Rows;
  readonly #partitions: ReadonlyMap<string, ColdPartition>;

  private constructor(log: Log, rows: Rows, partitions: readonly ColdPartition[]) {
    this.#log = log;
    this.#rows = rows;
    this.#partitions = new Map(partitions.map((each) => [partitionId(each), each]));
  }

  /** @throws MillraceError REPLAY_IMPOSSIBLE when nothing of it is archived, or a schema wants what no row has; S3_…, KAFKA_UNREACHABLE. */
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
    const rows = await Rows.open(store, signal);
    try {
      const partitions: ColdPartition[] = [];
      const windows = new Windows();
      for (const { topic, schema } of cold) {
        const table = tables[topic];
        requireReadable(topic, schema, table.schema);
        const encoder = await AvroEncoder.open<object>(schemas, valueSubject(topic), table.schema);
        for (const [partition, tiles] of (await readTiles(log, schemas, topic, signal)).entries()) {
          const refused = await Refused.open(log, schemas, { topic, partition }, signal);
          partitions.push(new ColdPartition({ table, partition, tiles, refused, rows, encoder, windows }));
        }
      }
      return new ColdLog(log, rows, partitions);
    } catch (error) {
      await rows[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** What was read from the archive so far. */
  get parts(): readonly ColdPart[] {
    return [...this.#partitions.values()].filter(({ records }) => records > 0).map((each) => each.part);
  }

  /** How many files that were. */
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

  /** Earliest offsets that can be read, by partition. */
  async starts(topic: string): Promise<readonly bigint[]> {
    const starts = await this.#log.starts(topic);
    return starts.map((start, partition) => {
      const tiles = this.#partitions.get(partitionId({ topic, partition }))?.tiles;
      return tiles === undefined || tiles.from === tiles.to || tiles.from > start ? start : tiles.from;
    });
  }

  /**
   * By partition, the first offset whose record's timestamp is at or after an instant.
   *
   * @param millis since 1970
   * @param logged what the log itself answers; where that is its very beginning, earlier records may be in the archive
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

  async #firstAt(range: TopicPartition & Range, millis: bigint): Promise<bigint> {
    for await (const records of readRange(this, range, { maxWaitMs: 0, maxBytesPerPartition: 1 << 20 })) {
      const found = records.find(({ timestamp }) => timestamp >= millis);
      if (found !== undefined) return found.offset;
    }
    return range.to;
  }

  /** What the log has dropped and the archive does not have is not passed over. */
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

  /** The log itself stays open. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#rows[Symbol.asyncDispose]();
  }
}

interface ColdPartitionOptions {
  readonly table: Table;
  readonly partition: number;
  readonly tiles: Tiles;
  readonly refused: Refused;
  readonly rows: Rows;
  readonly encoder: AvroEncoder<object>;
  readonly windows: Windows;
}

/** The windows that were read last. */
class Windows {
  /** Least recently read first. */
  readonly #windows = new Map<string, readonly LogRecord[]>();

  async get(id: string, read: () => Promise<readonly LogRecord[]>): Promise<readonly LogRecord[]> {
    const known = this.#windows.get(id);
    this.#windows.delete(id);
    // Before the next one is read, so that memory never holds one more.
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

  /** Undefined for an offset that the archive does not cover. */
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

  async #read(range: Range): Promise<readonly LogRecord[]> {
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

  /** @throws MillraceError REPLAY_IMPOSSIBLE when something of the range is neither a row nor a refused record. */
  #requireWhole(range: Range): void {
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

function missing({ topic, partition }: TopicPartition, { from, to }: Range, why: string): MillraceError {
  return new MillraceError(
    'REPLAY_IMPOSSIBLE',
    `offsets ${from} to ${to - 1n} of ${topic}/${partition} are missing: ${why}`,
    {
      remedy:
        'replay without --from-cold if the log still has them; otherwise choose --from after a snapshot that comes later. millrace verify names what the archive lacks',
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
