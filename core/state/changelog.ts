import { MillraceError } from '../errors.ts';
import type { Ownership } from '../runtime/handler.ts';
import type { IdentitySnapshot } from '../runtime/identity.ts';
import { type LogRecord, type OutRecord, readRange, type Writer } from '../runtime/log.ts';

/**
 * The changelog of one task: its state, key by key, in a compacted topic, written in the same transaction as the outputs. Two keys are the runtime's:
 * `barrier`, which ends each restore, and `task`, the task's own position in time.
 */
export const barrierKey = Buffer.from('barrier');
export const taskKey = Buffer.from('task');
const version = 2;
const resetVersion = 'reset';

export interface TaskState {
  /** Microseconds. */
  readonly logTime: bigint;
  /** What recognises duplicates, by input topic. */
  readonly identities: Readonly<Record<string, IdentitySnapshot>>;
  /** Where each table is read on: a position for each of its partitions. */
  readonly tables: Readonly<Record<string, readonly bigint[]>>;
}

export function changelogTopic(processor: string): string {
  return `${processor}.changelog`;
}

/**
 * Writes the barrier: a record of this owner in the changelog. When it is committed, everything before it is final, and nothing of an earlier
 * owner can come after it. A restore that has reached it is complete.
 *
 * @param nowMs wall clock; only retention of the topic sees it.
 */
export async function writeBarrier(writer: Writer, topic: string, partition: number, nowMs: number): Promise<bigint> {
  const record = { topic, partition, key: barrierKey, value: Buffer.of(version), timestamp: BigInt(nowMs) };
  const [written] = await writer.transact({ records: [record] });
  if (written === undefined)
    throw new MillraceError('STATE_CORRUPT', `${topic}/${partition}: the barrier has no offset`);
  return written.baseOffset;
}

/** Reads the committed changelog up to the barrier. Later entries of a key replace earlier ones. */
export async function restore(
  ownership: Ownership,
  topic: string,
  barrier: bigint,
  load: (record: LogRecord) => void,
): Promise<{ task: TaskState | undefined; records: number }> {
  const { log, partition, signal } = ownership;
  const from = (await log.starts(topic))[partition] ?? 0n;
  let newest: Buffer | null = null;
  let count = 0;
  for await (const records of readRange(
    log,
    { topic, partition, from, to: barrier },
    { maxWaitMs: 250, maxBytesPerPartition: 1_048_576, signal },
  )) {
    for (const record of records) {
      count++;
      if (record.key === null)
        throw new MillraceError('STATE_CORRUPT', `${topic}/${partition}: offset ${record.offset} has no key`);
      if (record.key.equals(taskKey)) newest = record.value;
      else if (!record.key.equals(barrierKey)) load(record);
    }
  }
  return { task: readTask(newest, ownership.topic), records: count };
}

export function taskRecord(topic: string, partition: number, state: TaskState, timestamp: bigint): OutRecord {
  const { logTime, identities, tables } = state;
  const value = JSON.stringify({ version, logTime, identities, tables }, (_, each: unknown) =>
    typeof each === 'bigint' ? each.toString() : each,
  );
  return { topic, partition, key: taskKey, value: Buffer.from(value), timestamp };
}

/** While this is the task's state, the task refuses to start: a reset has dropped some of its state and not yet all. */
export function resetRecord(topic: string, partition: number, timestamp: bigint): OutRecord {
  return { topic, partition, key: taskKey, value: Buffer.from(JSON.stringify({ version: resetVersion })), timestamp };
}

/** @param primary the input whose identity version 1 had, before there were several. */
function readTask(value: Buffer | null, primary: string): TaskState | undefined {
  if (value === null) return undefined;
  const parsed = JSON.parse(value.toString('utf8')) as {
    version: number | typeof resetVersion;
    logTime: string;
    identity?: IdentitySnapshot;
    identities: Record<string, IdentitySnapshot>;
    tables: Record<string, string[]>;
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
  };
}
