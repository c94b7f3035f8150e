/**
 * The archive at length: rows inserted, updated and deleted at random while Kafka Connect, the broker, the processors and the sinks are killed; then everything
 * comes to rest, `millrace verify` compares all of it, and DuckDB says what the listed files alone come to.
 */
import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { tableNames, type Verification } from '../../../cli/proof/verify.ts';
import { configOf } from '../../../cli/settings/config.ts';
import { setUp } from '../../../cli/stack/setup.ts';
import { stackOptions, up } from '../../../cli/stack/stack.ts';
import { readSlot } from '../../../connectors/supervision/slot.ts';
import { listObjects } from '../../../core/archive/listing/objects.ts';
import { Copies } from '../../../core/archive/reading/copies.ts';
import { ArchiveQuery } from '../../../core/archive/reading/query.ts';
import { openStore } from '../../../core/archive/s3/open.ts';
import { Registry } from '../../../core/avro/registry/registry.ts';
import type { Config } from '../../../core/base/config.ts';
import { connectPostgres } from '../../../core/base/postgres.ts';
import { KafkaLog } from '../../../core/kafka/log.ts';
import { groupOf } from '../../../core/runtime/runner.ts';
import { type Stack, stopStack } from '../../../infra/local/stack.ts';
import { eventually } from '../../support/patience.ts';
import { Member } from '../harness/fleet.ts';
import { seeded, verifyAtRest } from '../harness/load.ts';
import { type ArchiveOutcome, writeArchiveResult } from './page.ts';
import { compareHoldings, holdingsQuery, Sessions } from './sessions.ts';

export interface ArchiveSoakOptions {
  readonly stack: string;
  /** Rows inserted, updated and deleted. Default 2,000,000. */
  readonly rows?: number;
  /** Longest time for the load, minutes; what is committed by then is what is verified. Default 60. */
  readonly minutes?: number;
  readonly seed: number;
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
}

const topic = 'cdc.public.trades';
const sessions = 3;
/** Of each session. */
const symbols = 2;
/** Event time of the first trade: two hours before midnight, so that there are two days at least. */
const start = 1_704_146_400_000_000n;
/** Event time per change, microseconds: a week for two million of them. */
const step = 302_400n;
/** Cuts that are small enough for kills to meet every step of many. */
const env = {
  MILLRACE_PARQUET_FLUSH_MS: '5000',
  MILLRACE_PARQUET_FLUSH_SIZE: '20000',
  // So that there are anomalies to compare: prices stay within 4 %.
  MILLRACE_ANOMALY_VOLUME_MULTIPLE: '2',
  MILLRACE_ANOMALY_PRICE_CHANGE: '0.02',
};
const runs: Readonly<Record<string, readonly string[]>> = {
  processors: ['ohlcv', 'anomaly', 'features'],
  archive: ['parquet', 'manifests'],
  'hot store': ['hot-store'],
};
const parts = { 'Kafka Connect': 'connect', broker: 'kafka' } as const;
/** Milliseconds to the next kill, once the processors have got on since the one before: on a slow machine they would do nothing but begin. */
const shortest = 5_000;
const longest = 45_000;
const getOn = 2_000n;
const getOnMs = 180_000;
/**
 * The load waits while more write-ahead log than this has not been captured, bytes, or more than that is left for the processors, offsets: otherwise it
 * would be over before the first kill. What the hot store writes is in the log, too.
 */
const mostWal = 8_000_000n;
const mostOffsets = 40_000n;
const memoryLimit = 512 * 1024 * 1024;
const startMs = 300_000;
const restMs = 2_400_000;
const sayEveryMs = 15_000;

/** On a fresh stack, which is removed when nothing was violated; otherwise it is stopped and its data stays. True when nothing was. */
export async function soakArchive(options: ArchiveSoakOptions): Promise<boolean> {
  const { say, stack: name } = options;
  await stopStack({ ...stackOptions(name), wipe: true });
  let sound = false;
  const { signal } = options;
  try {
    const outcome = await soak(options);
    sound = outcome.violations.length === 0;
    await writeArchiveResult(outcome);
    for (const violation of outcome.violations) say(`✗ ${violation}`);
    const { insert, update, delete: deleted } = outcome.counts;
    const changes = (insert + update + deleted).toLocaleString('en-US');
    say(
      `${sound ? '✓' : '✗'} ${changes} changes, ${outcome.checks} checks, ${outcome.violations.length} violations; see docs/reference/soak.md`,
    );
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    const wipe = sound || signal.aborted;
    await stopStack({ ...stackOptions(name), wipe });
    if (!wipe) say(`what the stack stored is kept: millrace up --stack ${name}; millrace down --wipe --stack ${name}`);
  }
  return sound;
}

async function soak(options: ArchiveSoakOptions): Promise<ArchiveOutcome> {
  const { rows = 2_000_000, minutes = 60, seed, signal, say } = options;
  await using resources = new AsyncDisposableStack();
  const { stack } = await up(options.stack, { signal });
  const config = configOf(options.stack, {});
  await setUp(config, { connectors: true, signal });
  const members = new Map(
    Object.entries(runs).map(([place, names]) => [
      place,
      resources.use(new Member({ stack: options.stack, runs: names, env })),
    ]),
  );
  resources.use(new Member({ stack: options.stack, runs: ['supervisor'] }));
  const over = new AbortController();
  const log = resources.use(new KafkaLog({ brokers: config.kafka.brokers, clientId: 'soak' }));
  const behind: Behind = { captured: false, bytes: 0n, offsets: 0n, done: 0n };
  const measured = measure(config, log, behind, over.signal);
  resources.defer(async () => {
    over.abort();
    await measured;
  });
  // Past its first snapshot, which is another matter (docs/concepts/capture/first-snapshot.md).
  await eventually(async () => behind.captured, startMs);
  const begun = performance.now();
  const load = new Sessions({
    ...{ url: config.postgres.url, seed, changes: rows, sessions, symbols },
    ...{ start, span: BigInt(rows) * step },
    hold: () => behind.bytes > mostWal || behind.offsets > mostOffsets,
    signal: AbortSignal.any([signal, AbortSignal.timeout(minutes * 60_000)]),
  });
  const kills: Record<string, number> = {};
  const telling = setInterval(() => {
    const done = `${load.changes.toLocaleString('en-US')} of ${rows.toLocaleString('en-US')} changes committed`;
    const left = `${(Number(behind.bytes) / 1e6).toFixed(0)} MB to capture, ${behind.offsets} offsets to process`;
    say(`${seconds(begun)} s: ${done}, ${total(kills)} kills; ${left}`);
  }, sayEveryMs);
  try {
    const loaded = new AbortController();
    const loading = load.run().finally(() => loaded.abort());
    await Promise.all([
      loading,
      disturb({ stack, members, random: seeded(seed), behind, until: loaded.signal, kills, say }),
    ]);
  } finally {
    clearInterval(telling);
  }
  signal.throwIfAborted();
  const loadSeconds = seconds(begun);
  const atRest = performance.now();
  say(
    `${load.changes.toLocaleString('en-US')} changes committed after ${loadSeconds} s and ${total(kills)} kills; comes to rest`,
  );
  const schemas = resources.use(new Registry({ url: config.registry.url }));
  const verification = await verifyAtRest(config, log, schemas, restMs, { signal, onWait: sparingly(say) });
  const found = violationsOf(verification);
  const { trades, files, wrong } = await compareWithLoad(config, log, schemas, load, join(stack.dir, 'copies'));
  const peakBytes = Math.max(...[...members.values()].map((member) => member.peakBytes));
  return {
    ...{ seed, counts: load.counts, kills, trades, files, checks: verification.checks.length, peakBytes, loadSeconds },
    violations: [
      ...found,
      ...wrong,
      ...(peakBytes > memoryLimit ? [`a process took ${Math.round(peakBytes / 1024 / 1024)} MiB`] : []),
    ],
    settleSeconds: seconds(atRest),
  };
}

/** How far it is. */
interface Behind {
  /** The first snapshot is over. */
  captured: boolean;
  /** Not captured yet, write-ahead log. */
  bytes: bigint;
  /** Captured, and not processed yet. */
  offsets: bigint;
  /** Processed, offsets. */
  done: bigint;
}

interface Disturbance {
  readonly stack: Stack;
  readonly members: ReadonlyMap<string, Member>;
  readonly random: () => number;
  readonly behind: Behind;
  readonly until: AbortSignal;
  readonly kills: Record<string, number>;
  readonly say: (line: string) => void;
}

/** SIGKILL to one after the other at seeded instants: each once in a round, in an order by chance. What is killed is started again at once. */
async function disturb({ stack, members, random, behind, until, kills, say }: Disturbance): Promise<void> {
  const all = [...Object.keys(parts), ...members.keys()];
  let round: string[] = [];
  for (;;) {
    const { done } = behind;
    await eventually(async () => until.aborted || behind.done >= done + getOn, getOnMs).catch(() => undefined);
    await delay(shortest + random() * (longest - shortest), undefined, { signal: until }).catch(() => undefined);
    if (until.aborted) return;
    if (round.length === 0) round = [...all];
    const [name = ''] = round.splice(Math.floor(random() * round.length), 1);
    say(`kill -9: ${name}`);
    kills[name] = (kills[name] ?? 0) + 1;
    const member = members.get(name);
    if (member !== undefined) {
      await member.kill();
      member.start();
    } else {
      const part = parts[name as keyof typeof parts];
      await stack.kill(part, 'SIGKILL');
      await stack.restart(part);
    }
  }
}

/** Looks every second, until the signal. While the broker is down the last look counts. */
async function measure(config: Config, log: KafkaLog, behind: Behind, signal: AbortSignal): Promise<void> {
  const db = await connectPostgres({ url: config.postgres.url, name: 'soak' });
  const sum = (offsets: readonly bigint[]): bigint => offsets.reduce((all, offset) => all + offset, 0n);
  try {
    while (!signal.aborted) {
      const slot = await readSlot(db, config.capture.slot);
      behind.captured = slot?.active === true;
      behind.bytes = slot?.confirmedLagBytes ?? 0n;
      await Promise.all([log.ends(topic), log.committed(groupOf('ohlcv'), topic)]).then(
        ([ends, committed]) => {
          behind.done = sum(committed.map(({ offset }) => offset));
          behind.offsets = sum(ends) - behind.done;
        },
        () => undefined,
      );
      await delay(1_000, undefined, { signal }).catch(() => undefined);
    }
  } finally {
    await db.end();
  }
}

/** Everything has to have been compared, and nothing may differ. */
function violationsOf({ checks, behind }: Verification): readonly string[] {
  return [
    ...checks.flatMap(({ name, differences, examples, skipped }) => {
      if (skipped === true) return [`${name}: was skipped`];
      return differences === 0
        ? []
        : [`${name}: ${differences} differences, such as ${examples.slice(0, 3).join(' | ')}`];
    }),
    ...behind.map(({ name, offsets }) => `${name} does not run and has ${offsets} offsets to go`),
    ...tableNames
      .filter((table) => !checks.some(({ name }) => name.includes(table)))
      .map((table) => `no check of ${table}`),
  ];
}

/** What Postgres holds, and what the listed files alone come to, is what the load committed. */
async function compareWithLoad(
  config: Config,
  log: KafkaLog,
  schemas: Registry,
  load: Sessions,
  dir: string,
): Promise<{ trades: number; files: number; wrong: readonly string[] }> {
  const expected = load.holdings();
  const db = await connectPostgres({ url: config.postgres.url, name: 'soak' });
  const { rows } = await db.query({ text: holdingsQuery('public.trades'), rowMode: 'array' }).finally(() => db.end());
  await using store = openStore(config.s3);
  const objects = await listObjects(log, schemas, topic);
  const copies = await new Copies({ store, dir }).fetch(objects);
  const files = new Map([[topic, copies.map(({ path }) => path)] as const]);
  await using query = await ArchiveQuery.open({ files, scratchDir: await mkdtemp(join(dir, 'duckdb-')) });
  const archived: (readonly (string | null)[])[] = [];
  for await (const portion of (await query.run(holdingsQuery('trades_now'))).cells()) archived.push(...portion);
  return {
    trades: [...expected.values()].reduce((sum, holding) => sum + holding.rows, 0),
    files: objects.length,
    wrong: [
      ...compareHoldings(expected, rows).map((each) => `in Postgres ${each}`),
      ...compareHoldings(expected, archived).map((each) => `in the listed files ${each}`),
    ],
  };
}

/** What is waited for changes with every look. */
function sparingly(say: (line: string) => void): (line: string) => void {
  let saidMs = Number.NEGATIVE_INFINITY;
  return (line) => {
    if (performance.now() - saidMs < sayEveryMs) return;
    saidMs = performance.now();
    say(`  ${line}`);
  };
}

function seconds(sinceMs: number): number {
  return Math.round((performance.now() - sinceMs) / 1000);
}

function total(kills: Readonly<Record<string, number>>): number {
  return Object.values(kills).reduce((sum, count) => sum + count, 0);
}
