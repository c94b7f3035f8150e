import type { Command } from 'commander';
import { Registry } from '../../../core/avro/registry/registry.ts';
import { wallClock } from '../../../core/base/clock.ts';
import type { Config } from '../../../core/base/config.ts';
import { maskConfig } from '../../../core/base/config.ts';
import { MillraceError } from '../../../core/base/errors.ts';
import { TopicAdmin } from '../../../core/kafka/admin.ts';
import { KafkaLog } from '../../../core/kafka/log.ts';
import { createLogger } from '../../../core/observability/logger.ts';
import { Metrics } from '../../../core/observability/metrics.ts';
import { openObservability } from '../../../core/observability/server.ts';
import { Control } from '../../../core/runtime/control.ts';
import { RunningStates } from '../../../core/state/shown/running.ts';
import packageJson from '../../../package.json' with { type: 'json' };
import { captureHint } from '../../capture/hint.ts';
import { importProcessor, loadProcessor } from '../../processors/module.ts';
import { openVariant, variant } from '../../processors/variant.ts';
import { announce } from '../../run/announce.ts';
import { Stages } from '../../run/children.ts';
import type { Start } from '../../run/service.ts';
import { serviceNames, services, startProcessor } from '../../run/services.ts';
import { loadConfig } from '../../settings/config.ts';
import { portNumber } from '../../terminal/options.ts';
import { type PatienceOptions, patiently } from '../../terminal/patience.ts';
import { aborted, untilSignal } from '../../terminal/signals.ts';

interface RunOptions {
  readonly all?: boolean;
  readonly module?: readonly string[];
  readonly suffix?: string;
  readonly route: string;
  readonly port?: string;
}

export function register(program: Command): void {
  program
    .command('run')
    .description('run processors, sinks and the connector supervisor in this process, until a signal')
    .argument('[name...]', `any of ${Object.keys(services).join(', ')}`)
    .option('--all', 'run all')
    .option(
      '--module <file>',
      'module of your own processor, repeatable',
      (file, files: readonly string[]) => [...files, file],
      [],
    )
    .option('--suffix <suffix>', 'run a variant, with the topics of `deploy start`')
    .option(
      '--route <fields>',
      'with --suffix: key fields that partition the outputs, if their number of partitions differs',
      'venue,symbol',
    )
    .option('--port <port>', 'port of /health, /ready and /metrics; 0: a free one')
    .action(async (names: readonly string[], options: RunOptions, command: Command) => {
      const warnings: string[] = [];
      const config = loadConfig(command, (message) => warnings.push(message));
      const modules = options.module ?? [];
      const port = options.port === undefined ? undefined : portNumber(options.port);
      const starts =
        options.suffix === undefined
          ? await startsOf(names, options.all === true, modules)
          : await variantsOf(config, names, modules, options.suffix, options.route);
      await run(config, warnings, starts, port, untilSignal());
    });
}

/** The requested starts by name: built-in services and users' processors. @throws MillraceError CONFIG_INVALID */
async function startsOf(
  names: readonly string[],
  all: boolean,
  modules: readonly string[],
): Promise<ReadonlyMap<string, Start>> {
  const starts = new Map<string, Start>();
  if (names.length > 0 || all || modules.length === 0) {
    for (const name of serviceNames(names, all)) starts.set(name, services[name] as Start);
  }
  for (const file of modules) {
    const processor = await importProcessor(file);
    if (starts.has(processor.name) || services[processor.name] !== undefined) {
      throw new MillraceError(
        'CONFIG_INVALID',
        `${file}: there is another processor or sink called ${processor.name}`,
        {
          remedy: 'give it another name: group, state and topics use the name',
        },
      );
    }
    starts.set(processor.name, (context) => startProcessor(context, processor, true));
  }
  return starts;
}

/** Variants beside the running versions, each with its own name, state and topics. @throws MillraceError CONFIG_INVALID, TOPIC_MISSING */
async function variantsOf(
  config: Config,
  names: readonly string[],
  modules: readonly string[],
  suffix: string,
  route: string,
): Promise<ReadonlyMap<string, Start>> {
  await using admin = await TopicAdmin.open(config.kafka);
  const wanted = [
    ...names.map((name) => loadProcessor(config, name, undefined)),
    ...modules.map((file) => loadProcessor(config, undefined, file)),
  ];
  const starts = new Map<string, Start>();
  for (const { processor, heartbeats } of await Promise.all(wanted)) {
    const beside = await openVariant(admin, processor, variant(processor, suffix).suffix, route);
    starts.set(beside.name, (context) => startProcessor(context, beside, heartbeats));
  }
  if (starts.size > 0) return starts;
  throw new MillraceError('CONFIG_INVALID', '--suffix needs a processor', {
    remedy: 'name it, or give it with --module',
  });
}

/**
 * Runs until the signal, or until every stage has failed. Then it ends all stages in order.
 *
 * @throws the error of a stage that has failed and has not been proven since
 */
async function run(
  config: Config,
  warnings: readonly string[],
  starts: ReadonlyMap<string, Start>,
  port: number | undefined,
  signal: AbortSignal,
): Promise<void> {
  const names = [...starts.keys()];
  const logger = createLogger({ level: config.log.level, pretty: process.stderr.isTTY });
  logger.info({ config: maskConfig(config), names }, 'starting');
  for (const warning of warnings) logger.warn(warning);
  const metrics = new Metrics();
  metrics.buildInfo.set({ version: packageJson.version, node: process.version }, 1);
  await using stack = new AsyncDisposableStack();
  const log = stack.use(new KafkaLog({ brokers: config.kafka.brokers, clientId: config.kafka.clientId }));
  const schemas = stack.use(new Registry(config.registry));
  const running: { stages?: Stages } = {};
  const state = { healthy: true };
  const states = new RunningStates();
  const server = stack.use(
    await openObservability({
      registry: metrics.registry,
      host: config.http.host,
      port: port ?? config.http.port,
      healthy: () => state.healthy,
      failures: () => running.stages?.failures() ?? {},
      states,
      checks: Object.fromEntries(names.map((name) => [name, () => running.stages?.ready(name) ?? false])),
    }),
  );
  stack.use(await announce(config, names.join('+'), server.url));
  const patience = (name: string, until: AbortSignal): PatienceOptions => ({
    signal: until,
    onRetry: (error) => logger.warn({ name, err: error }, 'cannot start yet; it is tried again'),
  });
  const control = await patiently(patience('control', signal), () =>
    Control.open({
      log,
      schemas,
      onError: (error) => logger.warn({ err: error }, 'pause orders cannot be read; the known ones stay in force'),
    }),
  );
  stack.use(control);
  const context = { config, log, schemas, control, metrics, logger, states };
  const stages = stack.use(
    new Stages({
      starts: new Map(
        [...starts].map(([name, start]) => [
          name,
          (ending: AbortSignal) => patiently(patience(name, ending), () => start(context)),
        ]),
      ),
      retryMs: config.runtime.stageRetryMs,
      signal,
      clock: wallClock,
      logger,
      up: (name, up) => metrics.stageUp.set({ name }, up ? 1 : 0),
    }),
  );
  running.stages = stages;
  try {
    await Promise.race([aborted(signal), stages.done, stages.started]);
    if (!signal.aborted) logger.info({ url: server.url, names }, 'running');
    const hint = starts.has('supervisor') ? await Promise.race([captureHint(config), aborted(signal)]) : undefined;
    if (hint !== undefined) logger.warn(hint);
    await Promise.race([aborted(signal), stages.done]);
  } catch (error) {
    state.healthy = false;
    throw error;
  } finally {
    logger.info('stopping: finished work is committed');
  }
  stages.throwIfFailed();
}
