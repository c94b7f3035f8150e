import { MillraceError } from '../../base/errors.ts';
import type { IdentitySnapshot } from '../../capture/identity.ts';
import {
  type Log,
  type LogRecord,
  type OutRecord,
  readRange,
  type TopicPartition,
  type Writer,
} from '../../log/log.ts';

/**
 * The changelog of one task: its state, key by key, in a compacted topic, written in the same transaction as the outputs. Two keys are the runtime's:
 * `barrier`, which ends each restore, and `task`, the task's own position: log time, and the offset in each input.
 */
export const barrierKey = Buffer.from('barrier');
export const taskKey = Buffer.from('task');
const version = 2;
const resetVersion = 'reset';
const readOptions = { maxWaitMs: 250, maxBytesPerPartition: 1_048_576 } as const;

export interface TaskState {
  /** Microseconds. */
  readonly logTime: bigint;
  /** What recognises duplicates, by input topic. */
  readonly identities: Readonly<Record<string, IdentitySnapshot>>;
  /** Where each table is read on: a position for each of its partitions. */
  readonly tables: Readonly<Record<string, readonly bigint[]>>;
  /** Next offset of each input, by topic, as committed in the same transaction. Undefined in state of a release that did not write them. */
  readonly positions?: Readonly<Record<string, bigint>> | undefined;
  /** The settings that it works with; undefined if none were declared so far. */
  readonly settings?: JournalledSettings | undefined;
}

export interface JournalledSettings {
  /** From 1, one more with every change. */
  readonly ordinal: number;
  /** JSON. */
  readonly text: string;
}

export function changelogTopic(processor: string): string {
  return `${processor}.changelog`;
}

/** A committed barrier record. */
export interface Barrier {
  readonly offset: bigint;
  /** Milliseconds. */
  readonly timestamp: bigint;
}

/**
 * Writes the barrier: a record of this owner in the changelog. When it is committed, everything before it is final, and nothing of an earlier
 * owner can come after it. A restore that has reached it is complete.
 *
 * @param nowMs wall clock; only retention of the topic sees it.
 */
export async function writeBarrier(writer: Writer, at: TopicPartition, nowMs: number): Promise<Barrier> {
  const { topic, partition } = at;
  const timestamp = BigInt(nowMs);
  const record = { topic, partition, key: barrierKey, value: Buffer.of(version), timestamp };
  const [written] = await writer.transact({ records: [record] });
  if (written === undefined)
    throw new MillraceError('STATE_CORRUPT', `${topic}/${partition}: the barrier has no offset`);
  return { offset: written.baseOffset, timestamp };
}

/** Whether the changelog still has this barrier, at its place: then it is the same changelog, and offsets before it mean what they did. */
export async function findBarrier(log: Log, at: TopicPartition, { offset, timestamp }: Barrier): Promise<boolean> {
  for await (const [record] of readRange(log, { ...at, from: offset, to: offset + 1n }, readOptions)) {
    return record !== undefined && record.key?.equals(barrierKey) === true && record.timestamp === timestamp;
  }
  return false;
}

export interface RestoreProgress {
  /** Restored so far. */
  readonly records: number;
  /** The offset that is reached, of [from, to). Compaction leaves gaps: there are at most as many records as offsets. */
  readonly offset: bigint;
  readonly from: bigint;
  readonly to: bigint;
}

/** The newest task record so far: null for a tombstone, undefined before the first one. */
export type NewestTask = Buffer | null | undefined;

/** What a restore hands over: the stores' records of one fetch, in order, and the offset behind them. */
export type LoadPortion = (records: readonly LogRecord[], next: bigint, task: NewestTask) => Promise<void>;

/**
 * Reads the committed changelog of [from, to), where `to` is the barrier. Later entries of a key replace earlier ones.
 */
export async function restore(
  log: Log,
  range: TopicPartition & { readonly from: bigint; readonly to: bigint },
  load: LoadPortion,
  options: { readonly signal?: AbortSignal; readonly onProgress: (progress: RestoreProgress) => void },
): Promise<{ readonly task: NewestTask; readonly records: number }> {
  const { topic, partition, from, to } = range;
  const { signal, onProgress } = options;
  let task: NewestTask;
  let records = 0;
  for await (const portion of readRange(log, range, signal === undefined ? readOptions : { ...readOptions, signal })) {
    records += portion.length;
    const entries: LogRecord[] = [];
    for (const record of portion) {
      if (record.key === null)
        throw new MillraceError('STATE_CORRUPT', `${topic}/${partition}: offset ${record.offset} has no key`);
      if (record.key.equals(taskKey)) task = record.value;
      else if (!record.key.equals(barrierKey)) entries.push(record);
    }
    const next = (portion.at(-1) as LogRecord).offset + 1n;
    await load(entries, next, task);
    onProgress({ records, offset: next, from, to });
  }
  return { task, records };
}

export function taskRecord(topic: string, partition: number, state: TaskState, timestamp: bigint): OutRecord {
  return { topic, partition, key: taskKey, value: taskValue(state), timestamp };
}

/** `readTask` reads it. */
export function taskValue({ logTime, identities, tables, positions, settings }: TaskState): Buffer {
  const value = JSON.stringify({ version, logTime, identities, tables, positions, settings }, (_, each: unknown) =>
    typeof each === 'bigint' ? each.toString() : each,
  );
  return Buffer.from(value);
}

/** While this is the task's state, the task refuses to start: a reset has dropped some of its state and not yet all. */
export function resetRecord(topic: string, partition: number, timestamp: bigint): OutRecord {
  return { topic, partition, key: taskKey, value: Buffer.from(JSON.stringify({ version: resetVersion })), timestamp };
}

/** @param primary the input whose identity version 1 had, before there were several. */
export function readTask(value: Buffer | null, primary: string): TaskState | undefined {
  if (value === null) return undefined;
  const parsed = JSON.parse(value.toString('utf8')) as {
    version: number | typeof resetVersion;
    logTime: string;
    identity?: IdentitySnapshot;
    identities: Record<string, IdentitySnapshot>;
    tables: Record<string, string[]>;
    positions?: Record<string, string>;
    settings?: JournalledSettings;
  };
  if (parsed.version === 1) {
    const identities = parsed.identity === undefined ? {} : { [primary]: parsed.identity };
    return { logTime: BigInt(parsed.logTime), identities, tables: {} };
  }
  if (parsed.version === resetVersion) {
    throw new MillraceError(
      'STATE_CORRUPT',
      'a reset of this task was begun and not finished: part of its state is gone',
      {
        remedy: 'say the same millrace offsets reset again',
      },
    );
  }
  if (parsed.version !== version) {
    throw new MillraceError('STATE_CORRUPT', `task state of version ${parsed.version}, this release reads ${version}`, {
      remedy: 'run the release that wrote it, or drop the changelog and rebuild the state by replaying the input',
    });
  }
  return {
    logTime: BigInt(parsed.logTime),
    identities: parsed.identities,
    tables: Object.fromEntries(
      Object.entries(parsed.tables).map(([table, positions]) => [table, positions.map((each) => BigInt(each))]),
    ),
    positions:
      parsed.positions &&
      Object.fromEntries(Object.entries(parsed.positions).map(([topic, position]) => [topic, BigInt(position)])),
    settings: parsed.settings,
  };
}
