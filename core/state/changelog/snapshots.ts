import { MillraceError } from '../../base/errors.ts';
import { type Log, type LogRecord, type OutRecord, readRange, type TopicPartition } from '../../log/log.ts';
import { DAY } from '../../values/time.ts';
import type { Change } from '../stores/keyed.ts';
import type { Stores } from '../stores/stores.ts';
import { readTask, type TaskState, taskValue } from './changelog.ts';

/**
 * Snapshots: the whole state of a task as of a commit, in that commit's transaction, once per UTC day of log time. A replay begins at one instead
 * of at the first record. Chunks of entries, then a record that closes them, in one partition next to each other:
 *
 * ```
 * key `chunk`    (length of key, 4 bytes | key | length of value, 4 bytes | value)*      keys and values as in the changelog
 * key `snapshot` JSON: where the task was, and how many chunks and entries there are
 * key `reset`    the state was dropped: what comes before it belongs to another history
 * ```
 *
 * Only state that is all in memory is written: with stores on disk it would be more than a transaction takes.
 */
const chunkKey = Buffer.from('chunk');
const closingKey = Buffer.from('snapshot');
const resetKey = Buffer.from('reset');
const format = 1;
const chunkBytes = 512 * 1024;
const readOptions = { maxWaitMs: 250, maxBytesPerPartition: 4 << 20 } as const;

interface Closing {
  readonly format: number;
  /** The processor's version: a snapshot of another one says nothing about this one. */
  readonly version: string;
  /** By input topic: everything before is in the state. */
  readonly positions: Readonly<Record<string, string>>;
  readonly task: string;
  readonly chunks: number;
  readonly entries: number;
}

export interface Snapshot {
  readonly version: string;
  readonly positions: ReadonlyMap<string, bigint>;
  readonly task: TaskState;
  /** For `Stores.load`. */
  readonly entries: readonly Change[];
}

export interface Snapshotted {
  readonly processor: { readonly name: string; readonly version: string };
  readonly partition: number;
  readonly stores: Stores;
  readonly task: TaskState;
  /** Where the task is in each input, by topic. */
  readonly positions: ReadonlyMap<string, bigint>;
}

export function snapshotTopic(processor: string): string {
  return `${processor}.snapshots`;
}

/** Whether a UTC day has begun between two commits' log times, microseconds. Before a task's first commit there is nothing to keep. */
export function snapshotDue(before: bigint, now: bigint): boolean {
  return before > 0n && now / DAY > before / DAY;
}

/** The records of a snapshot, to be written in the transaction whose changes are its last. */
export function snapshotRecords(state: Snapshotted): OutRecord[] {
  const { processor, partition, stores, task, positions } = state;
  const at = { topic: snapshotTopic(processor.name), partition, timestamp: task.logTime / 1000n };
  const records: OutRecord[] = [];
  let parts: Buffer[] = [];
  let bytes = 0;
  let entries = 0;
  const flush = (): void => {
    if (parts.length > 0) records.push({ ...at, key: chunkKey, value: Buffer.concat(parts) });
    parts = [];
    bytes = 0;
  };
  for (const { key, value } of stores.encoded()) {
    if (value === null) continue;
    const size = 8 + key.length + value.length;
    if (bytes + size > chunkBytes) flush();
    parts.push(lengthOf(key), key, lengthOf(value), value);
    bytes += size;
    entries++;
  }
  flush();
  const closing: Closing = {
    format,
    version: processor.version,
    positions: Object.fromEntries([...positions].map(([topic, position]) => [topic, `${position}`])),
    task: taskValue(task).toString('utf8'),
    chunks: records.length,
    entries,
  };
  return [...records, { ...at, key: closingKey, value: Buffer.from(JSON.stringify(closing)) }];
}

/** To be written in the transaction that drops a task's state: no later replay may begin with what was before. */
export function snapshotReset(processor: string, partition: number, timestamp: bigint): OutRecord {
  return { topic: snapshotTopic(processor), partition, key: resetKey, value: Buffer.of(format), timestamp };
}

export interface SnapshotQuery {
  readonly processor: string;
  readonly partition: number;
  /** The primary input. */
  readonly topic: string;
  /** The snapshot is of a position at or before this offset of it. */
  readonly atMost: bigint;
  /** Only of this version of the processor. Default: any. */
  readonly version?: string;
  readonly signal?: AbortSignal;
}

/**
 * The newest committed snapshot of a position that is not beyond the given one; undefined if there is none (or no more).
 *
 * @throws MillraceError STATE_CORRUPT for one that does not add up, and what the log throws.
 */
export async function readSnapshot(log: Log, query: SnapshotQuery): Promise<Snapshot | undefined> {
  const { processor, partition, signal } = query;
  const at = { topic: snapshotTopic(processor), partition };
  const from = (await log.starts(at.topic))[partition] ?? 0n;
  const to = (await log.ends(at.topic))[partition] ?? 0n;
  const options = signal === undefined ? readOptions : { ...readOptions, signal };
  let chosen: { readonly offset: bigint; readonly closing: Closing } | undefined;
  for await (const records of readRange(log, { ...at, from, to }, options)) {
    for (const record of records) {
      if (record.key?.equals(resetKey) === true) chosen = undefined;
      if (record.key?.equals(closingKey) !== true || record.value === null) continue;
      const closing = parseClosing(at, record);
      const first = record.offset - BigInt(closing.chunks);
      // Retention may have taken the first chunks of the oldest one.
      if (first >= from && fits(closing, query)) chosen = { offset: record.offset, closing };
    }
  }
  if (chosen === undefined) return undefined;
  const { offset, closing } = chosen;
  const entries: Change[] = [];
  for await (const records of readRange(log, { ...at, from: offset - BigInt(closing.chunks), to: offset }, options)) {
    for (const { value } of records) entries.push(...entriesOf(value ?? Buffer.alloc(0)));
  }
  const task = readTask(Buffer.from(closing.task), query.topic);
  if (task === undefined || entries.length !== closing.entries) {
    throw corrupt(at, offset, `${entries.length} entries where ${closing.entries} were written`);
  }
  const positions = new Map(Object.entries(closing.positions).map(([topic, position]) => [topic, BigInt(position)]));
  return { version: closing.version, positions, task, entries };
}

function fits({ version, positions }: Closing, query: SnapshotQuery): boolean {
  const position = positions[query.topic];
  if (position === undefined || BigInt(position) > query.atMost) return false;
  return query.version === undefined || query.version === version;
}

function parseClosing(at: TopicPartition, { offset, value }: LogRecord): Closing {
  const closing = JSON.parse((value as Buffer).toString('utf8')) as Closing;
  if (closing.format !== format) throw corrupt(at, offset, `format ${closing.format}, this release reads ${format}`);
  return closing;
}

function* entriesOf(chunk: Buffer): Generator<Change> {
  for (let at = 0; at < chunk.length; ) {
    const key = part(chunk, at);
    const value = part(chunk, at + 4 + key.length);
    yield { key, value };
    at += 8 + key.length + value.length;
  }
}

function part(chunk: Buffer, at: number): Buffer {
  const length = chunk.readUInt32BE(at);
  return chunk.subarray(at + 4, at + 4 + length);
}

function lengthOf(bytes: Buffer): Buffer {
  const length = Buffer.allocUnsafe(4);
  length.writeUInt32BE(bytes.length);
  return length;
}

function corrupt({ topic, partition }: TopicPartition, offset: bigint, why: string): MillraceError {
  return new MillraceError('STATE_CORRUPT', `the snapshot at ${topic}/${partition} ${offset}: ${why}`, {
    remedy: 'replay from an earlier point, for which another snapshot or the beginning of the input serves',
  });
}
