/** Faults of one of three brokers, and of a topic that is deleted. */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { projectDir } from '../../../cli/settings/config.ts';
import { TopicAdmin } from '../../../core/kafka/admin.ts';
import { tradesTopic } from '../../../proof/reading/topic.ts';
import { type Burst, type Stage, smallCuts } from '../burst.ts';
import { moveLeaders } from '../harness/leaders.ts';

/** The first one is the controller, too: without it no leader is elected, which is fault 2. */
const victims = ['kafka2', 'kafka3'] as const;

/** A process that ends by itself has taken a fault that passes for one that does not. */
async function noneEnded({ members }: Stage): Promise<readonly string[]> {
  return [...members].flatMap(([name, { endedByItself }]) =>
    endedByItself > 0 ? [`I6 the process ${name} ended ${endedByItself} times by itself`] : [],
  );
}

export const leaderMoved: Burst = {
  fault: 37,
  title: 'three brokers: the leaders of trades and candles moved to the next broker',
  injections: 20,
  brokers: 3,
  async inject({ config }) {
    await moveLeaders(config.kafka.brokers, [tradesTopic, 'market.candles']);
    await delay(1_000);
  },
  check: noneEnded,
};

export const oneBrokerKilled: Burst = {
  fault: 38,
  title: 'three brokers: one killed (SIGKILL) under load, and started again after 0 to 15 s',
  injections: 20,
  brokers: 3,
  async inject({ stack, random }, index) {
    const victim = victims[index % victims.length] ?? 'kafka2';
    await stack.kill(victim, 'SIGKILL');
    await delay(random() * 15_000);
    await stack.restart(victim);
  },
  check: noneEnded,
};

export const oneBrokerSlow: Burst = {
  fault: 39,
  title: 'three brokers: one stalled (SIGSTOP) for 2–12 s',
  injections: 20,
  brokers: 3,
  async inject({ stack, random }, index) {
    const victim = victims[index % victims.length] ?? 'kafka2';
    await stack.kill(victim, 'SIGSTOP');
    await delay(2_000 + random() * 10_000);
    await stack.kill(victim, 'SIGCONT');
  },
  check: noneEnded,
};

export const topicDeleted: Burst = {
  fault: 40,
  title: 'a topic deleted that the processors’ process had read and written',
  injections: 20,
  members: () => ({
    processors: { runs: ['ohlcv', 'anomaly'], program: join(projectDir, 'test/faults/processes/touching.ts') },
    sink: { runs: ['parquet'], env: smallCuts },
    supervisor: { runs: ['supervisor'] },
  }),
  async inject({ config }, index) {
    await using admin = await TopicAdmin.open({ brokers: config.kafka.brokers, clientId: 'faults' });
    const name = `faults.gone.${index}`;
    await admin.create([{ name, partitions: 1, settings: {} }]);
    await delay(2_000);
    await admin.delete([name]);
    await delay(2_000);
  },
  check: noneEnded,
};
