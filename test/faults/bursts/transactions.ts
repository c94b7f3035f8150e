/** Faults at a chosen step of a processor's transaction. Its process reaches the broker through a link that sees each request. */
import { setTimeout as delay } from 'node:timers/promises';
import { type Burst, type Stage, smallCuts } from '../burst.ts';
import { preloading } from '../harness/fleet.ts';
import { type KafkaRequest, kafkaApi, Link } from '../harness/link.ts';

const sink = { runs: ['parquet'], env: smallCuts };
const supervisor = { runs: ['supervisor'] };
/** A process that was just killed has to start, join its group and take over first. */
const patienceMs = 300_000;
/** The broker lets a transaction be open for 15 s, and looks for those that are older every 10 s. */
const outlivesMs = 27_000;
/** Requests are given up after 15 s. */
const delayedMs = 16_500;

let link: Link;

/** The candle processor alone behind the link, so that each kill is of the process whose transaction it is. */
const behindLink: Pick<Burst, 'prepare' | 'members'> = {
  async prepare({ stack, resources }) {
    link = resources.use(await Link.open({ port: stack.ports.kafka, kafka: true }));
  },
  members: ({ stack }) => ({
    ohlcv: {
      runs: ['ohlcv'],
      env: { NODE_OPTIONS: preloading('redirect'), FAULTS_REDIRECT: `${stack.ports.kafka}:${link.port}` },
    },
    anomaly: { runs: ['anomaly'] },
    sink,
    supervisor,
  }),
};

/** Restart included, so that the next injection finds a process at work. */
async function killAnew({ member }: Stage): Promise<void> {
  await member('ohlcv').kill();
  member('ohlcv').start();
}

/** Waits until the link has seen what it was armed for, as often as said. */
async function armed(arm: (hit: () => void) => void, times = 1): Promise<void> {
  const seen = new Promise<void>((resolve) => {
    let left = times;
    arm(() => {
      left--;
      if (left === 0) resolve();
    });
  });
  const over = new AbortController();
  try {
    const timeout = delay(patienceMs, undefined, { signal: over.signal }).then(() => {
      throw new Error('the processor did not come to the step of its transaction');
    });
    timeout.catch(() => undefined);
    await Promise.race([seen, timeout]);
  } finally {
    over.abort();
    link.onRequest = () => undefined;
    link.onAnswer = () => undefined;
  }
}

const never = new Promise<'drop'>(() => undefined);

export const killInTransaction: Burst = {
  fault: 5,
  title: 'processor killed (SIGKILL) inside a transaction: partitions added, records not all written',
  injections: 20,
  ...behindLink,
  async inject(stage) {
    await armed((hit) => {
      link.onRequest = ({ api }) => {
        if (api !== kafkaApi.produce) return undefined;
        hit();
        return never;
      };
    });
    await killAnew(stage);
  },
};

export const killBeforeOffsets: Burst = {
  fault: 6,
  title: 'processor killed (SIGKILL) after its records were written, before their offsets',
  injections: 20,
  ...behindLink,
  async inject(stage) {
    await armed((hit) => {
      link.onRequest = ({ api }) => (api === kafkaApi.addOffsetsToTxn || api === kafkaApi.endTxn ? never : undefined);
      link.onAnswer = ({ api }) => {
        if (api === kafkaApi.produce) hit();
        return undefined;
      };
    });
    await killAnew(stage);
  },
};

export const killInCommit: Burst = {
  fault: 7,
  title: 'processor killed (SIGKILL) with its commit under way: the request sent, or answered and the answer not read',
  injections: 20,
  ...behindLink,
  async inject(stage, index) {
    const commits = ({ api, commits: commit }: KafkaRequest): boolean => api === kafkaApi.endTxn && commit;
    await armed((hit) => {
      if (index % 2 === 0) {
        link.onRequest = (request) => {
          // Passed on, and killed at the same moment: the coordinator may be at any step.
          if (commits(request)) setImmediate(hit);
          return undefined;
        };
      } else {
        link.onAnswer = (request) => {
          if (!commits(request)) return undefined;
          hit();
          return never;
        };
      }
    });
    await killAnew(stage);
  },
};

export const commitAnswerDelayed: Burst = {
  fault: 9,
  title: 'answer to the commit delayed beyond the client’s timeout, of four tasks at a time',
  injections: 5,
  ...behindLink,
  async inject({ note }) {
    const held = new Set<string>();
    await armed((hit) => {
      link.onAnswer = ({ api, commits, transactionalId }) => {
        if (api !== kafkaApi.endTxn || !commits || held.size === 4 || held.has(transactionalId)) return undefined;
        held.add(transactionalId);
        hit();
        return delay(delayedMs, 'pass' as const);
      };
    }, 4);
    note(`answers to ${[...held].join(', ')} held`);
    await delay(delayedMs + 1_000);
  },
};

export const transactionTimeout: Burst = {
  fault: 10,
  title: 'processor stopped (SIGSTOP) for 27 s with its commit held back: the transaction outlives its timeout',
  injections: 20,
  ...behindLink,
  async inject({ member, note }) {
    const asleep = Promise.withResolvers<'pass'>();
    let held = '';
    await armed((hit) => {
      link.onRequest = ({ api, commits, transactionalId }) => {
        if (api !== kafkaApi.endTxn || !commits || held !== '') return undefined;
        held = transactionalId;
        hit();
        return asleep.promise;
      };
    });
    member('ohlcv').signal('SIGSTOP');
    note(`commit of ${held} held`);
    await delay(outlivesMs);
    member('ohlcv').signal('SIGCONT');
    asleep.resolve('pass');
  },
};
