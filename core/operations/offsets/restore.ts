import { MillraceError } from '../../base/errors.ts';
import { type Groups, requireStopped } from '../../log/groups.ts';
import { type Log, partitionId } from '../../log/log.ts';
import { isPassed, resetRemedy } from '../../log/position.ts';
import { groupOf } from '../../runtime/runner.ts';
import { transactionalId } from '../../runtime/takeover.ts';
import type { OwnPositions } from './positions.ts';

export interface RestoreOptions {
  readonly log: Log;
  readonly groups: Groups;
  readonly positions: OwnPositions;
  /** Go on at the start of the log where records that were not taken are gone from it. Default false: refused. */
  readonly skipLost?: boolean;
  readonly signal?: AbortSignal;
}

/**
 * `keep`: the group is where the state is, or there is no state. `restore`: the state's position becomes the group's. `skip`: the start of
 * the log becomes the group's, and records are lost. `refuse`: no offset would be right.
 */
export type RestoreAction = 'keep' | 'restore' | 'skip' | 'refuse';

export interface InputRestore {
  readonly topic: string;
  readonly partition: number;
  /** Undefined when the group has no offset here. */
  readonly committed: bigint | undefined;
  /** Undefined when the task has no state of this input. */
  readonly own: bigint | undefined;
  readonly start: bigint;
  readonly end: bigint;
  readonly action: RestoreAction;
  /** The group's offset afterwards; undefined where nothing changes. */
  readonly target: bigint | undefined;
  /** Offsets between the state's position and the start of the log: their records are gone. */
  readonly lost: bigint;
  /** The cause of a refusal, and the way on. */
  readonly refusal: { readonly cause: string; readonly remedy: string } | undefined;
}

export interface RestorePlan {
  readonly group: string;
  /** Have to be stopped first. */
  readonly members: readonly string[];
  /** By task, the primary input first. */
  readonly tasks: readonly (readonly InputRestore[])[];
}

/** The plan of a restore. Changes nothing. @throws MillraceError KAFKA_UNREACHABLE, TOPIC_MISSING, STATE_CORRUPT */
export async function planRestore(options: RestoreOptions): Promise<RestorePlan> {
  const { log, groups, positions, signal } = options;
  const group = groupOf(positions.name);
  const members = await groups.members(group);
  const tasks: InputRestore[][] = [];
  for (const topics of positions.inputs) {
    const inputs = await Promise.all(
      topics.map(async (topic) => ({
        topic,
        starts: await log.starts(topic),
        ends: await log.ends(topic),
        offsets: await log.committed(group, topic),
      })),
    );
    for (const partition of inputs[0]?.starts.keys() ?? []) {
      const own = await positions.read(log, topics[0], partition, signal);
      tasks.push(
        inputs.map(({ topic, starts, ends, offsets }) => {
          const committed = offsets.find((each) => each.partition === partition);
          return planInput(options, own === 'unwritten' ? own : own?.get(topic), {
            topic,
            partition,
            committed: committed?.offset,
            compared: committed && positions.compared(committed),
            start: starts[partition] ?? 0n,
            end: ends[partition] ?? 0n,
          });
        }),
      );
    }
  }
  return { group, members, tasks };
}

type Standing = Pick<InputRestore, 'topic' | 'partition' | 'committed' | 'start' | 'end'>;

function planInput(
  { positions: { name, skips }, skipLost = false }: RestoreOptions,
  own: bigint | 'unwritten' | undefined,
  { compared, ...standing }: Standing & { readonly compared: bigint | undefined },
): InputRestore {
  const { committed, start, end } = standing;
  const id = partitionId(standing);
  const fresh = { ...standing, own: undefined, target: undefined, lost: 0n, refusal: undefined };
  if (own === undefined || (own === 'unwritten' && committed !== undefined)) return { ...fresh, action: 'keep' };
  if (own === 'unwritten') {
    const cause = `${id}: the state of ${name} is of a release that wrote no position into it`;
    return { ...fresh, action: 'refuse', refusal: { cause, remedy: resetRemedy(name) } };
  }
  const lost = own < start ? start - own : 0n;
  const found = { ...fresh, own, lost };
  if (compared === own || (skips && isPassed(own, compared, start))) return { ...found, action: 'keep' };
  if (own > end) {
    const cause = `${id}: the state of ${name} is at ${own}, and the log ends at ${end}: the topic was made anew`;
    const remedy = skips
      ? 'see runbooks/errors/OFFSETS_EXPIRED.md: the listed objects are of another log'
      : resetRemedy(name);
    return { ...found, action: 'refuse', refusal: { cause, remedy } };
  }
  if (lost === 0n) return { ...found, action: 'restore', target: own };
  if (skips && skipLost) return { ...found, action: 'skip', target: start };
  const cause = `${id}: ${lost} offsets from ${own} on were not taken by ${name}, and the log begins at ${start}`;
  const remedy = skips
    ? `run it again with --skip-lost: ${name} goes on at ${start}, and millrace verify names the gap`
    : resetRemedy(name);
  return { ...found, action: 'refuse', refusal: { cause, remedy } };
}

/**
 * Carries a plan out, task by task, each in one transaction. A second run changes nothing.
 *
 * @throws MillraceError GROUP_ACTIVE while the group has members. OFFSET_OUT_OF_RANGE: some offset is refused; nothing was changed.
 *   FENCED when it was started meanwhile, or its last transaction was completed: the offsets of that task are as they were.
 */
export async function restoreOffsets(options: RestoreOptions, plan: RestorePlan): Promise<void> {
  const { log, groups, positions, signal } = options;
  const { group, tasks } = plan;
  await requireStopped(groups, group, positions.name);
  const refusals = tasks.flat().flatMap(({ refusal }) => refusal ?? []);
  const [first] = refusals;
  if (first !== undefined) {
    const others = refusals.length > 1 ? `; ${refusals.length - 1} more in the plan` : '';
    throw new MillraceError('OFFSET_OUT_OF_RANGE', `${first.cause}${others}`, { remedy: first.remedy });
  }
  for (const inputs of tasks) {
    signal?.throwIfAborted();
    const offsets = inputs.flatMap(({ topic, partition, target }) =>
      target === undefined ? [] : [{ topic, partition, offset: target }],
    );
    const [primary] = inputs;
    if (primary === undefined || offsets.length === 0) continue;
    // Fences an owner that is not in the group any more but not gone either, and completes its last transaction.
    await using writer = await log.writer(transactionalId(group, primary));
    const own = await positions.read(log, primary.topic, primary.partition, signal);
    if (own === 'unwritten' || inputs.some((input) => input.own !== own?.get(input.topic))) {
      throw new MillraceError('FENCED', `${partitionId(primary)}: ${positions.name} has moved on since the plan`, {
        remedy: 'run the command again',
      });
    }
    await writer.transact({ records: [], offsets: { group, positions: offsets } });
  }
}
