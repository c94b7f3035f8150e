/** A burst: one fault, injected again and again at seeded instants under load, and one verification at the end. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from 'pg';
import { verify } from '../../cli/proof/verify.ts';
import { configOf } from '../../cli/settings/config.ts';
import { setUp } from '../../cli/stack/setup.ts';
import { up } from '../../cli/stack/stack.ts';
import { readSlot } from '../../connectors/supervision/slot.ts';
import { Registry } from '../../core/avro/registry/registry.ts';
import type { Config } from '../../core/base/config.ts';
import { dispositionOf } from '../../core/base/errors.ts';
import { connectPostgres } from '../../core/base/postgres.ts';
import { KafkaLog } from '../../core/kafka/log.ts';
import { groupOf } from '../../core/runtime/runner.ts';
import type { Stack } from '../../infra/local/stack.ts';
import { tradesTopic } from '../../proof/reading/topic.ts';
import type { Check } from '../../proof/report/report.ts';
import { checkInvariants } from '../witness/invariants.ts';
import { Witness } from '../witness/witness.ts';
import { Member, type MemberOptions } from './harness/fleet.ts';
import { caughtUp, seeded } from './harness/load.ts';
import { Market } from './harness/market.ts';

export interface Burst {
  /** Its number in docs/faults.md. */
  readonly fault: number;
  readonly title: string;
  /** How often it is injected unless told otherwise. */
  readonly injections: number;
  /** Brokers of the stack: 1 or 3. Default 1. */
  readonly brokers?: number;
  /** Changes per second of wall time. Default 120. */
  readonly rate?: number;
  /** What runs while it is injected; default: processors, sink and supervisor in one process each. */
  members?(stage: Stage): Readonly<Record<string, Omit<MemberOptions, 'stack'>>>;
  /** False where captures begin anew, so that the witness' changes are not those of the log. Default true. */
  readonly witnessed?: boolean;
  /** Before anything is started. */
  prepare?(stage: Stage): Promise<void>;
  /** One injection, from the fault to its end. Recovery need not be waited for. */
  inject(stage: Stage, index: number): Promise<void>;
  /** After the last injection, before everything comes to rest. */
  finish?(stage: Stage): Promise<void>;
  /** An alert of infra/prometheus/rules that a real Prometheus must have fired. */
  readonly alert?: string;
  /** Checks of its own, besides the invariants. One sentence for each violation. */
  check?(stage: Stage): Promise<readonly string[]>;
}

export interface Outcome {
  readonly fault: number;
  readonly title: string;
  readonly injections: number;
  readonly changes: number;
  readonly verified: readonly string[];
  readonly violations: readonly string[];
  /** Largest resident size of a Millrace process, bytes. */
  readonly peakBytes: number;
  /** Largest write-ahead log that Postgres kept for the capture, bytes. */
  readonly peakWalBytes: number;
  /** From the end of the load until everything agreed. */
  readonly settleSeconds: number;
  readonly seconds: number;
  readonly seed: number;
}

/** What the parts of a burst work with. */
export interface Stage {
  readonly stack: Stack;
  readonly config: Config;
  readonly log: KafkaLog;
  readonly schemas: Registry;
  readonly db: Client;
  readonly market: Market;
  readonly members: Map<string, Member>;
  readonly random: () => number;
  /** LSNs of recaptured records, in their order. */
  readonly recaptured: bigint[];
  /** Closed when the burst is over. */
  readonly resources: AsyncDisposableStack;
  /** For people. */
  readonly note: (text: string) => void;
  member(name: string): Member;
  /** Seeded, milliseconds. */
  pause(from: number, to: number): Promise<void>;
}

export interface BurstOptions {
  readonly stack: string;
  readonly seed: number;
  readonly injections?: number;
  readonly signal: AbortSignal;
  readonly note: (text: string) => void;
}

const witnessOptions = { slot: 'millrace_witness', publication: 'millrace' };
/** Small cuts, so that faults meet every step of many. */
export const smallCuts = { MILLRACE_PARQUET_FLUSH_MS: '1500', MILLRACE_PARQUET_FLUSH_SIZE: '8000' };
/** Every process is held to it. */
const memoryLimit = 512 * 1024 * 1024;
const settleMs = 900_000;
const startMs = 300_000;

const usual = {
  processors: { runs: ['ohlcv', 'anomaly'] },
  sink: { runs: ['parquet'], env: smallCuts },
  supervisor: { runs: ['supervisor'] },
};

/** On the named stack, which is started if it does not run, and stays: whoever began with a fresh one removes it. */
export async function runBurst(burst: Burst, options: BurstOptions): Promise<Outcome> {
  const begun = performance.now();
  const { seed, signal, note } = options;
  const wanted = Math.max(1, options.injections ?? burst.injections);
  await using resources = new AsyncDisposableStack();
  const { brokers = 1 } = burst;
  const { stack } = await up(options.stack, { signal, brokers, monitoring: burst.alert !== undefined });
  const config = configOf(options.stack, {});
  await setUp(config, { connectors: true, signal });
  const log = resources.use(new KafkaLog({ brokers: config.kafka.brokers, clientId: 'faults' }));
  const schemas = resources.use(new Registry({ url: config.registry.url }));
  const db = await connection(config, resources);
  await Witness.open(db, witnessOptions);
  const random = seeded(seed);
  const members = new Map<string, Member>();
  const market = resources.use(
    Market.open({ url: config.postgres.url, seed, rate: burst.rate ?? 120, venue: `fault-${burst.fault}` }),
  );
  const stage: Stage = {
    stack,
    config,
    log,
    schemas,
    db,
    market,
    members,
    random,
    recaptured: [],
    resources,
    note,
    member(name) {
      const found = members.get(name);
      if (found === undefined) throw new Error(`no member ${name}`);
      return found;
    },
    pause: (from, to) => delay(from + random() * (to - from)),
  };
  await burst.prepare?.(stage);
  for (const [name, each] of Object.entries(burst.members?.(stage) ?? usual)) {
    members.set(name, resources.use(new Member({ stack: options.stack, ...each })));
  }
  let peakWalBytes = 0;
  const over = new AbortController();
  resources.defer(async () => over.abort());
  void everyTwoSeconds(over.signal, async () => {
    const meter = await connectPostgres({ url: config.postgres.url, name: 'faults', answerTimeoutMs: 5_000 });
    const slot = await readSlot(meter, config.capture.slot).finally(() => meter.end());
    peakWalBytes = Math.max(peakWalBytes, Number(slot?.retainedBytes ?? 0n));
  });
  await atWork(stage, signal);
  let injections = 0;
  for (; injections < wanted; injections++) {
    signal.throwIfAborted();
    await stage.pause(300, 1_500);
    await burst.inject(stage, injections);
    note(`${injections + 1} of ${wanted} injected, ${market.changes} changes committed`);
  }
  await burst.finish?.(stage);
  for (const member of members.values()) if (!member.running) member.start();
  await stage.pause(1_000, 2_000);
  const changes = await market.close();
  const atRest = performance.now();
  note(`${changes} changes committed; comes to rest`);
  const { checks, ok } = await settle(stage, burst.witnessed !== false, resources, signal);
  const settleSeconds = (performance.now() - atRest) / 1000;
  const own = (await burst.check?.(stage)) ?? [];
  const peakBytes = Math.max(...[...members.values()].map((member) => member.peakBytes));
  const violations = [
    ...checks.flatMap(({ name, differences, examples }) =>
      differences === 0 ? [] : [`${name}: ${differences}, such as ${examples.slice(0, 3).join(' | ')}`],
    ),
    ...own,
    ...(burst.alert === undefined || (await hasFired(stack, burst.alert))
      ? []
      : [`I6 the alert ${burst.alert} did not fire`]),
    ...(peakBytes > memoryLimit ? [`I6 a process took ${mebibytes(peakBytes)}`] : []),
    ...(ok || checks.some(({ differences }) => differences > 0) ? [] : ['I6 it did not come to rest']),
  ];
  return {
    fault: burst.fault,
    title: burst.title,
    injections,
    changes,
    verified: checks.map(({ name }) => name),
    violations,
    peakBytes,
    peakWalBytes,
    settleSeconds,
    seconds: (performance.now() - begun) / 1000,
    seed,
  };
}

/** One call after the other. What fails is tried again: the parts are being disturbed. */
async function everyTwoSeconds(signal: AbortSignal, work: () => Promise<void>): Promise<void> {
  while (!signal.aborted) {
    await work().catch(() => undefined);
    await delay(2_000, undefined, { signal }).catch(() => undefined);
  }
}

/** Until something of this burst's load has been committed by the processors: a fault before that would meet nobody. */
async function atWork({ log }: Stage, signal: AbortSignal): Promise<void> {
  const done = async (): Promise<bigint> =>
    (await log.committed(groupOf('ohlcv'), tradesTopic)).reduce((sum, { offset }) => sum + offset, 0n);
  const before = await done();
  const giveUpAt = performance.now() + startMs;
  while ((await done()) <= before + 200n) {
    signal.throwIfAborted();
    if (performance.now() > giveUpAt) throw new Error('the processors did not begin to work');
    await delay(500);
  }
}

async function hasFired(stack: Stack, alert: string): Promise<boolean> {
  const url = new URL(`http://127.0.0.1:${stack.ports.prometheus}/api/v1/query`);
  url.searchParams.set('query', `max_over_time(ALERTS{alertname="${alert}",alertstate="firing"}[1h])`);
  const answer = (await (await fetch(url)).json()) as { data: { result: readonly object[] } };
  return answer.data.result.length > 0;
}

async function connection(config: Config, resources: AsyncDisposableStack): Promise<Client> {
  const db = await connectPostgres({ url: config.postgres.url, name: 'faults' });
  resources.defer(() => db.end().catch(() => undefined));
  return db;
}

/** Until every check holds, or for as long as recovery may take; then the last word. */
async function settle(
  { log, schemas, config, recaptured }: Stage,
  witnessed: boolean,
  resources: AsyncDisposableStack,
  signal: AbortSignal,
): Promise<{ checks: readonly Check[]; ok: boolean }> {
  // Not the stage's: the database may have been restarted under it.
  const db = await connection(config, resources);
  await db.query("SET TIME ZONE 'UTC'");
  const witness = await Witness.open(db, witnessOptions);
  const giveUpAt = performance.now() + settleMs;
  for (;;) {
    signal.throwIfAborted();
    const late = performance.now() > giveUpAt;
    if (late || (await caughtUp(log, schemas))) {
      try {
        await witness.follow();
        const invariants = await checkInvariants(db, log, schemas, {
          witness: witnessed ? witness.table : undefined,
          group: groupOf('ohlcv'),
          intervals: config.ohlcv.intervals,
          recaptured,
        });
        const sound = invariants.every(({ differences }) => differences === 0);
        // The second, slower opinion only when the first has nothing to say.
        const verification = sound || late ? await verify(config, log, schemas) : undefined;
        const checks = [...invariants, ...(verification?.checks ?? [])];
        if (late || (sound && verification?.ok === true)) return { checks, ok: sound && verification?.ok === true };
      } catch (error) {
        if (late || dispositionOf(error) !== 'retry') throw error;
      }
    }
    await delay(4_000);
  }
}

export function mebibytes(bytes: number): string {
  return `${Math.round(bytes / 1024 / 1024)} MiB`;
}
