/** Faults of what Kafka keeps for a group. */
import { setTimeout as delay } from 'node:timers/promises';
import { GroupAdmin } from '../../../core/kafka/groups.ts';
import { positionsOfArchive, positionsOfProcessor } from '../../../core/operations/offsets/positions.ts';
import { planRestore, restoreOffsets } from '../../../core/operations/offsets/restore.ts';
import { groupOf } from '../../../core/runtime/runner.ts';
import { archivedTopics } from '../../../schemas/topics.ts';
import { type Burst, type Stage, smallCuts } from '../burst.ts';

const processors = ['ohlcv', 'anomaly'];
const names = ['processors', 'sink', 'hot'];
/** By then a group has forgotten a member that was killed. */
const leaveMs = 20_000;
/** By then a task has taken its partition over, or has refused to. */
const startMs = 60_000;

function positionsOf({ schemas }: Stage) {
  return [
    positionsOfProcessor('ohlcv', ['cdc.public.trades']),
    positionsOfProcessor('anomaly', ['market.candles', 'cdc.public.trades']),
    positionsOfArchive(schemas, 'parquet', archivedTopics),
  ];
}

/** Until the condition holds. @throws Error after `limitMs` */
async function until(what: string, limitMs: number, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (const giveUpAt = performance.now() + limitMs; !(await holds()); await delay(200)) {
    if (performance.now() > giveUpAt) throw new Error(`${what}: not after ${limitMs} ms`);
  }
}

export const offsetsExpired: Burst = {
  fault: 33,
  title: 'offsets of all groups of a stopped pipeline deleted, then restored; every third time started before that',
  injections: 20,
  members: () => ({
    processors: { runs: processors },
    sink: { runs: ['parquet', 'manifests'], env: smallCuts },
    hot: { runs: ['hot-store'] },
    supervisor: { runs: ['supervisor'] },
  }),
  async inject(stage, index) {
    const { log, config, member } = stage;
    await using groups = await GroupAdmin.open(config.kafka);
    const empty = async () => {
      for (const { name } of positionsOf(stage)) {
        await until(
          `${name} leaves its group`,
          leaveMs,
          async () => (await groups.members(groupOf(name))).length === 0,
        );
      }
    };
    await Promise.all(
      names.map((name) => (index % 2 === 0 || name === 'sink' ? member(name).stop() : member(name).kill())),
    );
    await empty();
    await until('the hot store leaves', leaveMs, async () => (await groups.members(groupOf('hot-store'))).length === 0);
    for (const name of [...processors, 'parquet', 'manifests', 'hot-store']) await groups.forget(groupOf(name));
    await stage.pause(300, 1_500);
    if (index % 3 === 2) {
      for (const name of ['processors', 'sink']) {
        const of = member(name);
        const before = of.endedByItself;
        of.start();
        await until(`${name} refuses to go on`, startMs, () => of.endedByItself > before);
        await of.kill();
      }
      await empty();
    }
    for (const positions of positionsOf(stage)) {
      const options = { log, groups, positions };
      const plan = await planRestore(options);
      await restoreOffsets(options, plan);
      stage.note(
        `${positions.name}: ${plan.tasks.flat().filter(({ action }) => action === 'restore').length} restored`,
      );
    }
    for (const name of names) member(name).start();
  },
};
