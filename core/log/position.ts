import { MillraceError } from '../base/errors.ts';
import type { InputPosition } from '../runtime/handler.ts';
import { type Log, type LogRecord, partitionId, readRange, type TopicPartition } from './log.ts';

/** The command that makes a group's offsets equal to the positions in the state. */
function restoreCommand(name: string): string {
  return `millrace offsets restore ${name}`;
}

/** The remedy where the state has no position that the log could go on from. */
export function resetRemedy(name: string): string {
  return `run millrace offsets reset ${name} --to earliest, or to a time: position and state begin again together`;
}

/**
 * The offset to read an input from, after the group's offset is compared with the position in the task's own state. Kafka deletes the
 * offsets of a group without members (`offsets.retention.minutes`): a task with state must not begin at the earliest record then.
 *
 * @param name of the processor or sink
 * @param own the position in the state; undefined without one: the group decides, and without its offset the start of the log
 * @param agreed offset of the group to compare; default: the committed one
 * @throws MillraceError OFFSETS_EXPIRED: the state has a position and the group has no offset. POSITION_MISMATCH: they differ.
 */
export function positionIn(
  input: InputPosition & TopicPartition,
  name: string,
  own: bigint | undefined,
  agreed = input.committed?.offset,
): bigint {
  const { committed, start } = input;
  if (own === undefined) return committed?.offset ?? start;
  if (committed === undefined) throw offsetsExpired(input, name, `its state ends at ${own}`);
  if (agreed !== own) {
    throw new MillraceError(
      'POSITION_MISMATCH',
      `${partitionId(input)}: the group of ${name} is at ${agreed}, and its state at ${own}`,
      { remedy: `stop ${name}, then run ${restoreCommand(name)}: the group's offset becomes that of the state` },
    );
  }
  return committed.offset;
}

export function offsetsExpired(
  at: TopicPartition,
  name: string,
  state: string,
  remedy = `stop ${name}, then run ${restoreCommand(name)}: it goes on where its state ends`,
): MillraceError {
  return new MillraceError(
    'OFFSETS_EXPIRED',
    `${partitionId(at)}: the group of ${name} has no offset, and ${state}: Kafka has deleted the offset (offsets.retention.minutes)`,
    { remedy },
  );
}

/** Whether a group is beyond the position, and all between is gone from the log: an operator has passed over it (`offsets restore --skip-lost`). */
export function isPassed(own: bigint, agreed: bigint | undefined, start: bigint): boolean {
  return agreed !== undefined && own < agreed && agreed <= start;
}

/** Offsets of the first portion that is read; a transaction of one record takes two. */
const firstPortion = 64n;

/**
 * The newest committed record of a partition, or the newest one that matches. Reads backwards from the end in growing portions: one fetch
 * where the record is near the end. Undefined when there is none. Waits for transactions that are open there.
 *
 * @param at `before` is the first offset after what counts; default: the end
 * @throws MillraceError KAFKA_UNREACHABLE, TOPIC_MISSING
 */
export async function newestRecord(
  log: Log,
  { before, ...at }: TopicPartition & { readonly before?: bigint | undefined },
  matches: (record: LogRecord) => boolean = () => true,
  signal?: AbortSignal,
): Promise<LogRecord | undefined> {
  const start = (await log.starts(at.topic))[at.partition] ?? 0n;
  let to = before ?? (await log.ends(at.topic))[at.partition] ?? 0n;
  for (let portion = firstPortion; to > start; portion *= 4n) {
    const from = to - portion > start ? to - portion : start;
    let found: LogRecord | undefined;
    const options = { maxWaitMs: 250, maxBytesPerPartition: 1_048_576, ...(signal === undefined ? {} : { signal }) };
    for await (const records of readRange(log, { ...at, from, to }, options)) {
      found = records.findLast(matches) ?? found;
    }
    if (found !== undefined) return found;
    to = from;
  }
  return undefined;
}
