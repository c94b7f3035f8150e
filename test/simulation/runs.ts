import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { replay } from '../../proof/replay/replay.ts';
import { candlesScenario } from './candles/scenario.ts';
import type { Random } from './engine/random.ts';
import type { Scenario } from './engine/scenario.ts';
import { type SimulationResult, simulate } from './engine/simulation.ts';
import { type Climate, calm } from './engine/weather.ts';
import { ledgerScenario } from './ledger/scenario.ts';

type Make = (random: Random, stormMs: number) => Promise<Scenario>;

/** By name: what can be simulated. */
export const scenarios: Readonly<Record<string, Make>> = {
  ledger: ledgerScenario,
  candles: candlesScenario,
};

export interface Failure {
  readonly scenario: string;
  readonly seed: number;
  readonly violations: readonly string[];
  /** The end of its trace. */
  readonly trace: readonly string[];
}

export interface Report {
  readonly runs: number;
  readonly processes: number;
  readonly events: number;
  /** Of virtual time. */
  readonly seconds: number;
  readonly failures: readonly Failure[];
}

export interface RunOptions {
  /** Names of scenarios; seeds go round. */
  readonly scenarios: readonly string[];
  readonly from: number;
  readonly count: number;
  readonly climate?: Partial<Climate>;
  /** Ends at the first failure. */
  readonly once?: boolean;
  readonly onRun?: (outcome: SimulationResult, scenario: string) => void;
}

const traceLines = 60;
/** Of so many seeds one is compared with a run in which nothing goes wrong, and one is replayed from its journal. */
const everyThird = 3;
export const none: Report = { runs: 0, processes: 0, events: 0, seconds: 0, failures: [] };

/** Runs `count` seeds from `from` on, one after the other: seed S runs the scenario S mod their number. */
export async function runSeeds(options: RunOptions): Promise<Report> {
  let report = none;
  for (let seed = options.from; seed < options.from + options.count; seed++) {
    const scenario = options.scenarios[seed % options.scenarios.length] as string;
    const make = scenarios[scenario];
    if (make === undefined)
      throw new RangeError(`no scenario is called ${scenario}: ${Object.keys(scenarios).join(', ')}`);
    const outcome = await simulate(make, options.climate === undefined ? { seed } : { seed, climate: options.climate });
    options.onRun?.(outcome, scenario);
    const { trace } = outcome;
    const violations = [...outcome.violations];
    if (violations.length === 0 && seed % everyThird === 0) violations.push(...(await compare(make, outcome)));
    if (violations.length === 0 && seed % everyThird === 1) violations.push(...(await replayed(outcome)));
    const failure = { scenario, seed, violations, trace: trace.slice(-traceLines) };
    report = add(report, {
      runs: 1,
      processes: outcome.processes,
      events: outcome.events,
      seconds: outcome.lasted / 1_000,
      failures: violations.length > 0 ? [failure] : [],
    });
    if (options.once === true && report.failures.length > 0) break;
  }
  return report;
}

/** Whether the run left what the same input leaves when nothing goes wrong. */
async function compare(make: Make, { seed, lasting }: SimulationResult): Promise<string[]> {
  if (lasting.size === 0) return [];
  const reference = await simulate(make, { seed, climate: calm });
  if (reference.violations.length > 0) return reference.violations.map((each) => `in calm weather: ${each}`);
  const names = new Set([...lasting.keys(), ...reference.lasting.keys()]);
  return [...names]
    .filter((name) => lasting.get(name)?.join() !== reference.lasting.get(name)?.join())
    .map((name) => `${name} has other bytes than without faults`)
    .slice(0, 3);
}

/** Whether a replay of the journal gives what was published. */
async function replayed({ log, scenario }: SimulationResult): Promise<string[]> {
  const wrong: string[] = [];
  for (const { processor } of scenario.processors) {
    const { examples } = await replay({ log, schemas: scenario.schemas, processor, verify: true });
    wrong.push(...examples.map((each) => `a replay of ${processor.name} differs: ${each}`));
  }
  return wrong;
}

/**
 * Likewise in processes of their own, which share the seeds. `root` is the folder of the sources, by default ours. A `root` that is given gets
 * a folder `compiled`: what Node compiles is kept there for the next processes.
 */
export async function runApart(
  options: Omit<RunOptions, 'onRun'> & {
    readonly processes: number;
    readonly root?: string;
    readonly signal?: AbortSignal;
  },
): Promise<Report> {
  const share = Math.ceil(options.count / options.processes);
  const reports = await Promise.all(
    Array.from({ length: options.processes }, (_, at) => {
      const from = options.from + at * share;
      const count = Math.min(share, options.from + options.count - from);
      return count > 0 ? runChild({ ...options, from, count }) : none;
    }),
  );
  return reports.reduce(add, none);
}

/** What a reader needs to see it again. */
export function explain({ scenario, seed, violations, trace }: Failure): string {
  return [
    `seed ${seed} of ${scenario}:`,
    ...violations.map((each) => `  ${each}`),
    `  alone: npm run soak -- simulation --scenario ${scenario} --seed ${seed}`,
    '  the end of its trace:',
    ...trace.map((line) => `    ${line}`),
  ].join('\n');
}

function add(a: Report, b: Report): Report {
  return {
    runs: a.runs + b.runs,
    processes: a.processes + b.processes,
    events: a.events + b.events,
    seconds: a.seconds + b.seconds,
    failures: [...a.failures, ...b.failures],
  };
}

function runChild(options: Parameters<typeof runApart>[0]): Promise<Report> {
  const root = options.root ?? join(import.meta.dirname, '../..');
  const cache = options.root === undefined ? {} : { NODE_COMPILE_CACHE: join(root, 'compiled') };
  const { scenarios: names, from, count, climate, once = false, signal } = options;
  const request = JSON.stringify({ scenarios: names, from, count, climate, once });
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [join(root, 'test/simulation/child.ts'), request], {
      stdio: ['ignore', 'pipe', 'pipe'],
      cwd: root,
      env: { ...process.env, ...cache, NODE_OPTIONS: '' },
      ...(signal === undefined ? {} : { signal }),
    });
    const out: Buffer[] = [];
    const errors: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => errors.push(chunk));
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve(JSON.parse(Buffer.concat(out).toString('utf8')) as Report);
      else reject(new Error(`the simulation ended with code ${code}: ${Buffer.concat(errors).toString('utf8')}`));
    });
  });
}
