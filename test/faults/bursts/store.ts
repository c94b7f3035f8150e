/** Faults of the bucket, and of the sink while it uploads. */
import { setTimeout as delay } from 'node:timers/promises';
import { type Burst, type Stage, smallCuts } from '../burst.ts';
import { type Fate, Front, pass } from '../harness/front.ts';

let front: Front;

const withFront = {
  async prepare({ resources, config }: Stage): Promise<void> {
    front = resources.use(await Front.open(config.s3.endpoint));
  },
  members: () => ({
    processors: { runs: ['ohlcv', 'anomaly'] },
    sink: { runs: ['parquet'], env: { ...smallCuts, MILLRACE_S3_ENDPOINT: front.url } },
    supervisor: { runs: ['supervisor'] },
  }),
};

/** Until the next upload gets there. What is done then is done before it goes on. */
async function atNextPut(step: 'received' | 'stored', then: () => Promise<void>): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    let met = false;
    front.onPut = async (at) => {
      if (met || at !== step) return pass;
      met = true;
      await then().then(resolve, reject);
      return pass;
    };
  });
  front.onPut = () => pass;
}

const fates: readonly Fate[] = [
  { kind: 'refuse', status: 500 },
  { kind: 'refuse', status: 503 },
  { kind: 'slow', ms: 4_000 },
  { kind: 'reset' },
];

export const storeDisturbed: Burst = {
  fault: 29,
  title: 'two of three uploads answered with 500, with 503, 4 s late, or reset, in turn, for 6 s each',
  injections: 20,
  ...withFront,
  async inject({ random }, index) {
    const fate = fates[index % fates.length] ?? pass;
    front.onPut = (step) => (step === 'received' && random() < 2 / 3 ? fate : pass);
    await delay(6_000);
    front.onPut = () => pass;
  },
};

export const killInUpload: Burst = {
  fault: 30,
  title: 'sink killed when an upload is on its way, and when it is stored and not yet known to be, in turn',
  injections: 20,
  ...withFront,
  async inject({ member }, index) {
    await atNextPut(index % 2 === 0 ? 'received' : 'stored', () => member('sink').kill());
    member('sink').start();
  },
};

export const answerLost: Burst = {
  fault: 31,
  title: 'uploads that are stored and whose answers are lost, each for 4 s',
  injections: 20,
  ...withFront,
  async inject() {
    let lost = 0;
    front.onPut = (step) => {
      if (step === 'stored') return pass;
      lost++;
      return lost % 2 === 1 ? { kind: 'lost' } : pass;
    };
    await delay(4_000);
    front.onPut = () => pass;
  },
};

export const endInUpload: Burst = {
  fault: 32,
  title: 'sink told to end (SIGTERM) while it uploads',
  injections: 20,
  ...withFront,
  async inject({ member }) {
    let ended: Promise<void> | undefined;
    await atNextPut('received', async () => {
      ended = member('sink').stop();
      await delay(300);
    });
    await ended;
    member('sink').start();
  },
};
