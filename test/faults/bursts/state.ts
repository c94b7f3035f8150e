/** Faults of what a process keeps on its own disk. */
import { cp, open, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { projectDir } from '../../../cli/settings/config.ts';
import { TopicAdmin } from '../../../core/kafka/admin.ts';
import { readTopic } from '../../../proof/reading/topic.ts';
import { type Burst, type Stage, smallCuts } from '../burst.ts';
import { type Tally, tallySchema, tallyTopic } from '../harness/tally.ts';

const partitions = 6;
const stateOf = ({ stack }: Stage): string => join(stack.dir, 'tally-state');
const keptOf = (stage: Stage): string => `${stateOf(stage)}.before`;

/** What becomes of the local copies while nobody runs. */
const harms: Readonly<Record<string, (stage: Stage) => Promise<void>>> = {
  deleted: (stage) => rm(stateOf(stage), { recursive: true, force: true }),
  // A copy of some injections ago, as from a backup.
  stale: async (stage) => {
    await rm(stateOf(stage), { recursive: true, force: true });
    await cp(keptOf(stage), stateOf(stage), { recursive: true }).catch(() => undefined);
  },
  corrupt: async (stage) => {
    for (const file of await filesOf(stateOf(stage))) await scribble(file, stage.random);
  },
  'cut short': async (stage) => {
    for (const file of await filesOf(stateOf(stage))) {
      const { size } = await stat(file);
      const handle = await open(file, 'r+');
      await handle.truncate(Math.floor(size * stage.random()));
      await handle.close();
    }
  },
};

async function filesOf(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

async function scribble(file: string, random: () => number): Promise<void> {
  const { size } = await stat(file);
  const handle = await open(file, 'r+');
  try {
    const noise = Buffer.from(Array.from({ length: 64 }, () => Math.floor(random() * 256)));
    await handle.write(noise, 0, noise.length, Math.floor(random() * Math.max(1, size - noise.length)));
  } finally {
    await handle.close();
  }
}

export const localState: Burst = {
  fault: 12,
  title: 'processor with state on disk killed (SIGKILL), and its local copy deleted, stale, corrupt or cut short',
  injections: 20,
  async prepare({ config, log }) {
    await using admin = await TopicAdmin.open({ brokers: config.kafka.brokers, clientId: 'faults' });
    const names = [tallyTopic, 'tally.journal', 'tally.dead', 'tally.late'];
    await admin.create([
      ...names.map((name) => ({ name, partitions, settings: {} })),
      { name: 'tally.changelog', partitions, settings: { 'cleanup.policy': 'compact' } },
    ]);
    await log.ends(tallyTopic);
  },
  members: (stage) => ({
    processors: { runs: ['ohlcv', 'anomaly'] },
    sink: { runs: ['parquet'], env: smallCuts },
    supervisor: { runs: ['supervisor'] },
    tally: {
      runs: ['tally'],
      program: join(projectDir, 'test/faults/processes/tally.ts'),
      env: { MILLRACE_RUNTIME_STATE_DIR: stateOf(stage) },
    },
  }),
  async inject(stage, index) {
    const of = stage.member('tally');
    await of.kill();
    const [name, harm] = Object.entries(harms)[index % 4] ?? ['', async () => undefined];
    await harm(stage);
    if (index % 3 === 0) {
      await rm(keptOf(stage), { recursive: true, force: true });
      await cp(stateOf(stage), keptOf(stage), { recursive: true }).catch(() => undefined);
    }
    stage.note(`${name}: ${(await filesOf(stateOf(stage))).length} files`);
    of.start();
  },
  async check(stage) {
    // The tally is none of the stages that were waited for.
    for (let waited = 0; waited < 300_000 && (await judge(stage)).length > 0; waited += 5_000) await delay(5_000);
    return judge(stage);
  },
};

/** Each change of a trade is told once and with its number: a state that lost or doubled something tells another. */
async function judge({ db, log, schemas }: Stage): Promise<readonly string[]> {
  const told = new Map<string, bigint[]>();
  for await (const portion of readTopic<Tally>(log, schemas, tallyTopic, tallySchema)) {
    for (const { value } of portion) told.set(value.trade, [...(told.get(value.trade) ?? []), value.changes]);
  }
  const { rows } = await db.query<{ trade: string; changes: number }>(
    `SELECT concat_ws(' ', venue, symbol, trade_id) AS trade, count(*)::int AS changes FROM millrace_witness.changes GROUP BY 1`,
  );
  const wrong = rows.flatMap(({ trade, changes }) => {
    const expected = Array.from({ length: changes }, (_, i) => BigInt(i + 1)).join(',');
    const found = told.get(trade)?.join(',') ?? '';
    return found === expected ? [] : [`I2 the tally of ${trade} told ${found || 'nothing'}, should ${expected}`];
  });
  return [...wrong.slice(0, 5), ...(wrong.length > 5 ? [`I2 and ${wrong.length - 5} other tallies`] : [])];
}
