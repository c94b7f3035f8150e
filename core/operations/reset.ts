import { schemas as contracts } from '../../schemas/gen/index.ts';
import type { JournalEntry } from '../../schemas/gen/journal_entry.ts';
import { AvroEncoder } from '../avro/encoder.ts';
import type { Schemas } from '../avro/schemas.ts';
import { MillraceError } from '../base/errors.ts';
import { type Groups, requireStopped } from '../log/groups.ts';
import { type Log, type OutRecord, readRange } from '../log/log.ts';
import { resetEntry } from '../runtime/fold/journal.ts';
import { groupOf } from '../runtime/runner.ts';
import { transactionalId } from '../runtime/takeover.ts';
import { barrierKey, changelogTopic, resetRecord, taskKey } from '../state/changelog/changelog.ts';
import { snapshotReset } from '../state/changelog/snapshots.ts';
import { parseTimeOrDay } from '../values/time.ts';

export type ResetTarget =
  | { readonly kind: 'earliest' | 'latest' }
  | { readonly kind: 'offset'; readonly offset: bigint }
  | { readonly kind: 'time'; readonly millis: number };

/** @throws MillraceError CONFIG_INVALID */
export function parseTarget(text: string): ResetTarget {
  if (text === 'earliest' || text === 'latest') return { kind: text };
  if (/^\d{1,18}$/.test(text)) return { kind: 'offset', offset: BigInt(text) };
  try {
    return { kind: 'time', millis: Number(parseTimeOrDay(text) / 1000n) };
  } catch (cause) {
    throw new MillraceError('CONFIG_INVALID', `${JSON.stringify(text)} is no place in a topic`, {
      cause,
      remedy: 'give earliest, latest, an offset, or a time such as 2025-06-02T12:00:00Z',
    });
  }
}

export interface ResetOptions {
  readonly log: Log;
  readonly schemas: Schemas;
  readonly groups: Groups;
  readonly processor: string;
  /** Topics, the primary first. */
  readonly inputs: readonly string[];
  /** Topics that the processor writes, the late and the dead one included. */
  readonly outputs: readonly string[];
  readonly target: ResetTarget;
  /** Default: every partition. */
  readonly partition?: number;
  /** State entries that one transaction drops. Default 20,000. */
  readonly tombstonesPerTransaction?: number;
  readonly signal?: AbortSignal;
}

export interface InputReset {
  readonly topic: string;
  readonly start: bigint;
  readonly end: bigint;
  /** Undefined when the group never committed here. */
  readonly committed: bigint | undefined;
  readonly target: bigint;
}

export interface TaskReset {
  readonly partition: number;
  readonly inputs: readonly InputReset[];
  /** Live entries of the changelog; all of them go. */
  readonly stateEntries: number;
}

export interface ResetPlan {
  readonly group: string;
  /** Who has to be stopped first. */
  readonly members: readonly string[];
  readonly tasks: readonly TaskReset[];
}

/** What a reset would do. Changes nothing. @throws MillraceError CONFIG_INVALID for a target that is not in the topic. */
export async function planReset(options: ResetOptions): Promise<ResetPlan> {
  const { log, groups, processor, inputs, signal } = options;
  const group = groupOf(processor);
  const members = await groups.members(group);
  const byInput = await Promise.all(inputs.map((topic) => planInput(options, topic)));
  const count = byInput[0]?.length ?? 0;
  const { partition: only } = options;
  if (only !== undefined && only >= count) {
    throw new MillraceError('CONFIG_INVALID', `${inputs[0]} has no partition ${only}`, {
      remedy: `choose one from 0 to ${count - 1}`,
    });
  }
  const tasks: TaskReset[] = [];
  for (let partition = 0; partition < count; partition++) {
    if (only !== undefined && partition !== only) continue;
    const keys = await liveKeys(log, changelogTopic(processor), partition, signal);
    tasks.push({
      partition,
      inputs: byInput.flatMap((resets) => resets[partition] ?? []),
      stateEntries: keys.filter((key) => !key.equals(taskKey)).length,
    });
  }
  return { group, members, tasks };
}

async function planInput(options: ResetOptions, topic: string): Promise<readonly InputReset[]> {
  const { log, groups, processor, inputs, target, partition: only } = options;
  if (target.kind === 'offset' && inputs.length > 1) {
    throw new MillraceError(
      'CONFIG_INVALID',
      `${processor} reads ${inputs.join(' and ')}: one offset cannot mean both`,
      {
        remedy: 'give earliest, latest or a time',
      },
    );
  }
  const [starts, ends, committed] = await Promise.all([
    log.starts(topic),
    log.ends(topic),
    log.committed(groupOf(processor), topic),
  ]);
  const times = target.kind === 'time' ? await groups.offsetsAt(topic, target.millis) : [];
  return ends.map((end, partition) => {
    const start = starts[partition] ?? 0n;
    const wanted = {
      earliest: start,
      latest: end,
      offset: target.kind === 'offset' ? target.offset : 0n,
      time: times[partition] ?? end,
    }[target.kind];
    if ((wanted < start || wanted > end) && (only === undefined || only === partition)) {
      throw new MillraceError('CONFIG_INVALID', `${topic}/${partition} has offsets ${start} to ${end}, not ${wanted}`, {
        remedy: 'choose an offset in that range, and --partition where partitions differ',
      });
    }
    const at = committed.find((each) => each.partition === partition)?.offset;
    return { topic, start, end, committed: at, target: wanted };
  });
}

/** Keeps a transaction well below its timeout. */
const tombstonesAtOnce = 20_000;

/**
 * Carries a plan out, partition by partition. A partition whose state fits one transaction changes in one step. With more state, the first
 * transaction forbids the task to start, the next ones drop the state, and the last one moves the offsets and lifts the ban: a reset that was
 * interrupted leaves a task that refuses to start until the reset is said again, never one with half its state.
 *
 * @param nowMicros the operator's clock: timestamps of what is written.
 * @throws MillraceError GROUP_ACTIVE while the group has members. FENCED when the processor was started meanwhile: that partition is as it was.
 */
export async function reset(
  options: ResetOptions,
  plan: ResetPlan,
  nowMicros: bigint,
  onTask: (task: TaskReset) => void = () => undefined,
): Promise<void> {
  const { log, schemas, groups, processor, inputs, outputs, signal } = options;
  const { group, tasks } = plan;
  const portion = options.tombstonesPerTransaction ?? tombstonesAtOnce;
  await requireStopped(groups, group, processor);
  const topic = changelogTopic(processor);
  const [primary = ''] = inputs;
  const journal = `${processor}.journal`;
  const encoder = await AvroEncoder.open<JournalEntry>(schemas, `${journal}-value`, contracts.journal_entry);
  const timestamp = nowMicros / 1000n;
  for (const task of tasks) {
    signal?.throwIfAborted();
    const { partition } = task;
    // Fences an owner that is not in the group any more but not gone either.
    await using writer = await log.writer(transactionalId(group, { topic: primary, partition }));
    const keys = await liveKeys(log, topic, partition, signal);
    const tombstones = keys.map((key): OutRecord => ({ topic, partition, key, value: null, timestamp }));
    const state = tombstones.filter(({ key }) => key?.equals(taskKey) !== true);
    const own = tombstones.filter(({ key }) => key?.equals(taskKey) === true);
    if (state.length > portion) {
      await writer.transact({ records: [resetRecord(topic, partition, timestamp)] });
      while (state.length > portion) {
        await writer.transact({ records: state.splice(0, portion) });
      }
      own.splice(0, 1, { topic, partition, key: taskKey, value: null, timestamp });
    }
    const positions = task.inputs.map((input) => ({ topic: input.topic, partition, offset: input.target }));
    const outputEnds: Record<string, bigint> = {};
    for (const output of outputs) outputEnds[output] = (await log.ends(output))[partition] ?? 0n;
    const entry = resetEntry(primary, positions[0]?.offset ?? 0n, outputEnds);
    const note = { topic: journal, partition, key: null, value: encoder.encode(entry), timestamp };
    const snapshots = snapshotReset(processor, partition, timestamp);
    await writer.transact({ records: [...state, ...own, note, snapshots], offsets: { group, positions } });
    onTask(task);
  }
}

/** Keys of a changelog partition that have a value, the barrier left out. */
async function liveKeys(
  log: Log,
  topic: string,
  partition: number,
  signal: AbortSignal | undefined,
): Promise<Buffer[]> {
  const [starts, ends] = await Promise.all([log.starts(topic), log.ends(topic)]);
  const live = new Map<string, Buffer>();
  const range = { topic, partition, from: starts[partition] ?? 0n, to: ends[partition] ?? 0n };
  const fetch = { maxWaitMs: 250, maxBytesPerPartition: 1_048_576, ...(signal === undefined ? {} : { signal }) };
  for await (const records of readRange(log, range, fetch)) {
    for (const { key, value } of records) {
      if (key === null || key.equals(barrierKey)) continue;
      if (value === null) live.delete(key.toString('latin1'));
      else live.set(key.toString('latin1'), key);
    }
  }
  return [...live.values()];
}
