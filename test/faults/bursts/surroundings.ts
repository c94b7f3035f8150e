/** Faults of what a process stands on: disk, registry, clock. */
import { execFile } from 'node:child_process';
import { readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { readTopic } from '../../../proof/reading/topic.ts';
import type { DeadLetter } from '../../../schemas/gen/dead_letter.ts';
import { schemas as contracts } from '../../../schemas/gen/index.ts';
import { type Burst, type Stage, smallCuts } from '../burst.ts';
import { preloading } from '../harness/fleet.ts';
import { Link } from '../harness/link.ts';

const run = promisify(execFile);
const supervisor = { runs: ['supervisor'] };

/** As full for one process as a full disk is for all: no file of the broker's may grow beyond what its largest is now. */
export const brokerDiskFull: Burst = {
  fault: 4,
  title: 'broker’s disk full (RLIMIT_FSIZE), then space again and a restart',
  injections: 20,
  async inject({ stack, note }) {
    const part = stack.part('kafka');
    if (part === undefined) throw new Error('no broker');
    const limit = await largestLog(join(stack.dir, 'data', 'kafka'));
    await run('prlimit', ['--pid', `${part.pid}`, `--fsize=${limit}:${limit}`]);
    for (let waited = 0; waited < 20_000 && (await stack.isRunning('kafka')); waited += 250) await delay(250);
    note(
      `no file beyond ${limit} bytes: the broker ${(await stack.isRunning('kafka')) ? 'goes on without' : 'stopped itself'}`,
    );
    await stack.restart('kafka');
  },
};

async function largestLog(dir: string): Promise<number> {
  let largest = 0;
  for (const name of await readdir(dir, { recursive: true })) {
    if (!name.endsWith('.log') || !name.includes('cdc.public.trades-')) continue;
    const { size } = await stat(join(dir, name)).catch(() => ({ size: 0 }));
    largest = Math.max(largest, size);
  }
  return largest + 4_096;
}

let link: Link;
/** Dead letters of other bursts on this stack. */
let earlier: ReadonlySet<string> = new Set();

export const registryDown: Burst = {
  fault: 19,
  title: 'registry unreachable: in mid-run, while a new schema comes, and at start',
  injections: 21,
  async prepare(stage) {
    link = stage.resources.use(await Link.open({ port: Number(new URL(stage.config.registry.url).port) }));
    earlier = new Set((await deadLetters(stage)).keys());
  },
  members: () => {
    const env = { MILLRACE_REGISTRY_URL: `http://127.0.0.1:${link.port}` };
    return {
      processors: { runs: ['ohlcv', 'anomaly'], env },
      sink: { runs: ['parquet'], env: { ...env, ...smallCuts } },
      supervisor,
    };
  },
  async inject({ db, member, random }, index) {
    link.cut();
    try {
      if (index % 3 === 1) {
        // Short of lock: the market's transactions go on.
        await db.query(`SET lock_timeout = '5s'; ALTER TABLE trades ADD COLUMN extra_${index} text DEFAULT 'new'`);
      }
      if (index % 3 === 2) {
        await member('processors').kill();
        member('processors').start();
      }
      await delay(3_000 + random() * 3_000);
    } finally {
      link.mend();
    }
  },
  async check(stage) {
    return [...(await deadLetters(stage))].flatMap(([place, reason]) =>
      earlier.has(place) || reason === 'FUTURE_EVENT_TIME'
        ? []
        : [`I1 the good record ${place} is a dead letter: ${reason}`],
    );
  },
};

async function deadLetters({ log, schemas }: Stage): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  for await (const portion of readTopic<DeadLetter>(log, schemas, 'ohlcv.dead', contracts.dead_letter)) {
    for (const { value } of portion) found.set(`${value.origin.partition}/${value.origin.offset}`, value.reason);
  }
  return found;
}

const HOUR = 3_600_000;
let clockFile: string;

export const clockSkew: Burst = {
  fault: 26,
  title: 'clock of one of two processes and of the sink an hour ahead or behind, stepped forwards and backwards',
  injections: 20,
  async prepare({ stack }) {
    clockFile = join(stack.dir, 'clock-offset');
    await writeFile(clockFile, `${HOUR}`);
  },
  members: () => {
    const env = { NODE_OPTIONS: preloading('clock'), FAULTS_CLOCK: clockFile };
    return {
      processors: { runs: ['ohlcv', 'anomaly'], env },
      others: { runs: ['ohlcv', 'anomaly'] },
      sink: { runs: ['parquet'], env: { ...env, ...smallCuts } },
      supervisor,
    };
  },
  async inject({ random }, index) {
    const offset = index % 2 === 0 ? -HOUR : Math.round((random() - 0.5) * 2 * HOUR);
    await writeFile(clockFile, `${offset}`);
    await delay(2_000);
  },
  // S3 refuses requests whose clock is a quarter of an hour off, so until then the sink stops and says so.
  finish: () => writeFile(clockFile, '0'),
};
