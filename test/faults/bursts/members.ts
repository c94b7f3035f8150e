/** Faults of a processor's process as a member of its group. */
import { setTimeout as delay } from 'node:timers/promises';
import { type Burst, smallCuts } from '../burst.ts';

const processors = { runs: ['ohlcv', 'anomaly'] };
const sink = { runs: ['parquet'], env: smallCuts };
const supervisor = { runs: ['supervisor'] };
const names = ['one', 'two', 'three'] as const;

/** The session timeout is 10 s: by then another process owns the partitions and works. */
const zombieMs = 14_000;

export const zombie: Burst = {
  fault: 8,
  title:
    'zombie: a processor stopped (SIGSTOP) past the session timeout goes on (SIGCONT) when another owns its partitions',
  injections: 20,
  members: () => ({ one: processors, two: processors, three: processors, sink, supervisor }),
  async inject({ member, resources }, index) {
    // Two of three are asleep at any time, one waking while the other falls asleep.
    const name = names[index % names.length] ?? 'one';
    member(name).signal('SIGSTOP');
    const wake = delay(zombieMs).then(() => member(name).signal('SIGCONT'));
    resources.defer(() => wake);
    await delay(zombieMs / 2);
    if (index % names.length === names.length - 1) await wake;
  },
};

export const rebalanceStorm: Burst = {
  fault: 11,
  title: 'rebalance storm: a member joins or leaves, in order or killed, every 2 s',
  injections: 30,
  members: () => ({ one: processors, two: processors, three: processors, sink, supervisor }),
  async inject({ member, random }, index) {
    const of = member(names[index % names.length] ?? 'one');
    if (!of.running) of.start();
    else if (random() < 0.5) await of.kill();
    else await of.stop();
    await delay(random() * 1_000);
  },
};
