import type { Schemas } from '../../../../core/avro/schemas.ts';
import { MillraceError } from '../../../../core/base/errors.ts';
import type { Log } from '../../../../core/log/log.ts';
import { Metrics } from '../../../../core/observability/metrics.ts';
import { openCodecs } from '../../../../core/runtime/fold/codecs.ts';
import { FoldHandler } from '../../../../core/runtime/fold/fold-handler.ts';
import { Heartbeats } from '../../../../core/runtime/heartbeats.ts';
import { Runner, type RunnerEvent } from '../../../../core/runtime/runner.ts';
import type { Scenario, SimulatedProcessor } from '../scenario.ts';
import type { Host } from './host.ts';

/** Nobody looks at them, and making them takes longer than a run: one set for all runs. */
const metrics = new Metrics({ node: false });
const fetchBytes = 1_048_576;

export interface Services extends AsyncDisposable {
  /** Rejects with what a process cannot go on from. */
  readonly failed: Promise<never>;
  /** Whether each partition that it was given is taken over. */
  readonly ready: boolean;
}

/** Starts in one process what `millrace run` starts: a runner per processor, and the heartbeats. */
export async function startServices(
  host: Host,
  log: Log,
  scenario: Scenario,
  onEvent: (event: RunnerEvent) => void,
): Promise<Services> {
  const schemas = remote(host, scenario.schemas);
  const running: AsyncDisposable[] = [];
  const runners: Runner[] = [];
  for (const each of scenario.processors) {
    const runner = await startRunner(host, log, schemas, each, onEvent);
    runners.push(runner);
    running.unshift(runner);
    if (each.heartbeats) running.unshift(follow(host, log, scenario, runner));
  }
  const failed = new Promise<never>((_, reject) => {
    for (const { done } of runners) done.catch(reject);
  });
  failed.catch(() => undefined);
  return {
    failed,
    get ready() {
      return runners.every((runner) => runner.ready);
    },
    async [Symbol.asyncDispose]() {
      for (const each of running) await each[Symbol.asyncDispose]();
    },
  };
}

async function startRunner(
  host: Host,
  log: Log,
  schemas: Schemas,
  { processor, settings, queueRecords }: SimulatedProcessor,
  onEvent: (event: RunnerEvent) => void,
): Promise<Runner> {
  const { name } = processor;
  const { clock } = host;
  const codecs = await openCodecs(processor, schemas);
  const [primary, ...others] = processor.inputs.map(({ topic }) => topic);
  return Runner.start({
    log,
    name,
    inputs: [[primary as string, ...others]],
    tables: (processor.tables ?? []).map(({ topic }) => topic),
    factory: (ownership) => {
      const { topic, partition } = ownership;
      const task = metrics.task({ name, topic, partition });
      return new FoldHandler(ownership, { processor, codecs, settings, metrics: task, clock });
    },
    metrics: (at) => metrics.task({ name, ...at }),
    fetchBytes,
    queueRecords,
    clock,
    onEvent,
  });
}

function follow(host: Host, log: Log, { heartbeatTopic, readBeat }: Scenario, runner: Runner): Heartbeats {
  return new Heartbeats({
    log,
    topic: heartbeatTopic,
    clock: host.clock,
    read: async (value) => readBeat(value),
    onBeat: (beat) => {
      // One that is not delivered costs a delay: the next one says more.
      runner.beat(beat).catch(() => undefined);
    },
    onError: () => undefined,
  });
}

/** The registry, as far away as the broker. */
function remote(host: Host, schemas: Schemas): Schemas {
  const ask = async <T>(request: Promise<T>): Promise<T> => {
    const outcome = await request.then(
      (value) => ({ value }),
      (error: unknown) => ({ error }),
    );
    try {
      return await host.call<T>('Schema', (answer) => answer(outcome));
    } catch (cause) {
      if (cause instanceof MillraceError) throw cause;
      throw new MillraceError('REGISTRY_UNREACHABLE', (cause as Error).message, { cause });
    }
  };
  return {
    lagMs: schemas.lagMs ?? 0,
    register: (subject, schema) => ask(schemas.register(subject, schema)),
    byId: (id) => ask(schemas.byId(id)),
  };
}
