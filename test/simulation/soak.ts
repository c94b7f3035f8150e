import { availableParallelism } from 'node:os';
import { explain, none, type Report, runApart, runSeeds, scenarios } from './runs.ts';

export interface SoakOptions {
  /** How many schedules. Default 10,000. */
  readonly seeds?: number;
  /** One schedule alone, with its whole trace. */
  readonly seed?: number;
  /** Default: all of them, in turn. */
  readonly scenario?: string;
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
}

const defaultSeeds = 10_000;
/** Failures that are told with their traces. */
const toldWhole = 3;
/** Schedules between two lines of progress. */
const portion = 500;

/** Simulates at length, and says how to see a failure again. True when there was none. */
export async function soakSimulation(options: SoakOptions): Promise<boolean> {
  const { seed, scenario, signal, say } = options;
  const names = scenario === undefined ? Object.keys(scenarios) : [scenario];
  if (scenario !== undefined && scenarios[scenario] === undefined) {
    say(`error: no scenario is called ${scenario}; there are ${Object.keys(scenarios).join(', ')}`);
    return false;
  }
  if (seed !== undefined) return tell(await alone(names, seed, say), say);
  const seeds = options.seeds ?? defaultSeeds;
  let report = none;
  for (let from = 1; from <= seeds && !signal.aborted; from += portion) {
    const count = Math.min(portion, seeds - from + 1);
    const more = await runApart({ scenarios: names, from, count, processes: availableParallelism(), signal }).catch(
      (error: unknown) => {
        if (signal.aborted) return none;
        throw error;
      },
    );
    if (signal.aborted) break;
    for (const failure of more.failures.slice(0, Math.max(0, toldWhole - report.failures.length)))
      say(explain(failure));
    report = {
      runs: report.runs + more.runs,
      processes: report.processes + more.processes,
      events: report.events + more.events,
      seconds: report.seconds + more.seconds,
      failures: [...report.failures, ...more.failures],
    };
    say(`${from + count - 1} of ${seeds} schedules, ${report.failures.length} with a violation`);
  }
  return tell(report, say);
}

function alone(names: readonly string[], seed: number, say: (line: string) => void): Promise<Report> {
  return runSeeds({
    scenarios: names,
    from: seed,
    count: 1,
    onRun: ({ trace, hash, climate }) => {
      for (const line of trace) say(line);
      say(`weather: ${JSON.stringify(climate)}`);
      say(`trace ${hash}`);
    },
  });
}

function tell({ runs, processes, events, seconds, failures }: Report, say: (line: string) => void): boolean {
  for (const { scenario, seed, violations } of failures) say(`${scenario} ${seed}: ${violations.join('; ')}`);
  say(
    `${runs} schedules, ${processes} processes, ${events} events, ${(seconds / 3600).toFixed(1)} hours of virtual time: ` +
      `${failures.length === 0 ? 'no violation' : `${failures.length} with a violation`}`,
  );
  return failures.length === 0;
}
