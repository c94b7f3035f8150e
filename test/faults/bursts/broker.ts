/** Faults of the broker. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Burst } from '../burst.ts';

export const brokerRestart: Burst = {
  fault: 1,
  title: 'broker restarted in order',
  injections: 20,
  async inject({ stack }) {
    await stack.restart('kafka');
  },
};

export const brokerKill: Burst = {
  fault: 2,
  title: 'broker killed (SIGKILL) under load',
  injections: 20,
  async inject({ stack }) {
    await stack.kill('kafka', 'SIGKILL');
    await stack.restart('kafka');
  },
};

/** Beyond the session timeout of 10 s; the last one as long as the page of faults says. */
export const brokerStall: Burst = {
  fault: 3,
  title: 'broker stalled (SIGSTOP) for 11–13 s each, once for 30 s',
  injections: 20,
  async inject({ stack, random }, index) {
    await stack.kill('kafka', 'SIGSTOP');
    await delay(index === 0 ? 30_000 : 11_000 + random() * 2_000);
    await stack.kill('kafka', 'SIGCONT');
  },
  async check({ members }) {
    // Backpressure, not restarts: a stall ends no process.
    return [...members].flatMap(([name, { endedByItself }]) =>
      endedByItself > 0 ? [`I6 the process ${name} ended ${endedByItself} times by itself`] : [],
    );
  },
};
