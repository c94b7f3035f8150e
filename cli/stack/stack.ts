/** The local stack for commands, the demo and tests: the parts of infra/local, then the set-up for Millrace. */
import type { Config } from '../../core/base/config.ts';
import { type PartName, titles } from '../../infra/local/parts.ts';
import { openStack, type Stack, type StackEvent, type StackOptions, startStack } from '../../infra/local/stack.ts';
import { cacheDir, configOf, stackDir } from '../settings/config.ts';
import { setUp } from './setup.ts';

export interface UpOptions {
  /** Called with lines of progress. Default: no output. */
  readonly log?: (line: string) => void;
  /** Also apply the connectors, so that capture begins. Default false. */
  readonly connectors?: boolean;
  /** Also start Prometheus, and Alertmanager if it is on the PATH. Default false. */
  readonly monitoring?: boolean;
  /** Brokers of a new stack: 1 or 3. Default: those of the existing stack, or 1. */
  readonly brokers?: number;
  readonly signal?: AbortSignal;
}

export interface RunningStack {
  readonly stack: Stack;
  readonly config: Config;
}

/** Starts the missing parts of the named stack and sets them up. Returns when all answer. Idempotent. */
export async function up(name: string, options: UpOptions = {}): Promise<RunningStack> {
  // A wrong setting fails before anything is started.
  configOf(name, process.env);
  const stack = await startStack({
    ...stackOptions(name, options.log),
    monitoring: options.monitoring === true,
    ...(options.brokers === undefined ? {} : { brokers: options.brokers }),
    ...signalOf(options),
  });
  try {
    const config = configOf(name, process.env);
    await setUp(config, { ...options, log: (line) => options.log?.(`set-up: ${line}`) });
    return { stack, config };
  } catch (error) {
    await stack.stopParts(stack.startedNow);
    throw error;
  }
}

/** Attaches to a stack, running or not. @throws MillraceError PART_FAILED: it was never started. */
export function attach(name: string, log?: (line: string) => void): Promise<Stack> {
  return openStack(stackOptions(name, log));
}

export function stackOptions(name: string, log?: (line: string) => void): StackOptions {
  const say = log === undefined ? undefined : describer(log);
  return {
    name,
    dir: stackDir(name),
    host: { env: process.env, cacheDir: cacheDir() },
    ...(say === undefined ? {} : { onProgress: say }),
  };
}

const noteEveryMs = 2000;

/** Turns events into lines. Frequent events of an installation are limited to one line every two seconds for each part. */
function describer(log: (line: string) => void): (event: StackEvent) => void {
  const said = new Map<string, number>();
  return ({ subject, state, text, ms }) => {
    const name = titles[subject as PartName] ?? subject;
    const took = ms === undefined ? '' : ` after ${(ms / 1000).toFixed(1)} s`;
    if (state === 'installing') {
      if (performance.now() - (said.get(subject) ?? Number.NEGATIVE_INFINITY) < noteEveryMs) return;
      said.set(subject, performance.now());
      log(`installing ${subject}: ${text ?? ''}`);
    } else if (state === 'starting') {
      if (text !== undefined) log(`${name}: ${text}`);
    } else {
      log(`${name} ${state === 'killed' ? 'did not stop in time and was killed' : state}${took}`);
    }
  };
}

function signalOf({ signal }: UpOptions): { signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}
