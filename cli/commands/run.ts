import type { Command } from 'commander';
import { Registry } from '../../core/avro/registry.ts';
import type { Config } from '../../core/config.ts';
import { maskConfig } from '../../core/config.ts';
import { KafkaLog } from '../../core/kafka/log.ts';
import { createLogger } from '../../core/observability/logger.ts';
import { Metrics } from '../../core/observability/metrics.ts';
import { openObservability } from '../../core/observability/server.ts';
import { loadConfig } from '../config.ts';
import { type Service, serviceNames, services } from '../services.ts';
import { untilSignal } from '../signals.ts';

interface RunOptions {
  readonly all?: boolean;
  readonly port?: string;
}

export function register(program: Command): void {
  program
    .command('run')
    .description('run processors, sinks and the connector supervisor in this process, until a signal')
    .argument('[name...]', `any of ${Object.keys(services).join(', ')}`)
    .option('--all', 'run all of them')
    .option('--port <port>', 'port of /health, /ready and /metrics; 0 takes a free one')
    .action(async (names: readonly string[], options: RunOptions, command: Command) => {
      await run(loadConfig(command), serviceNames(names, options.all === true), options.port, untilSignal());
    });
}

/** Runs until the signal or the first error that no retry can cure, then ends in order. */
async function run(
  config: Config,
  names: readonly string[],
  port: string | undefined,
  signal: AbortSignal,
): Promise<void> {
  const logger = createLogger({ level: config.log.level, pretty: process.stderr.isTTY });
  logger.info({ config: maskConfig(config), names }, 'starting');
  const metrics = new Metrics();
  metrics.buildInfo.set({ version: '0.1.0', node: process.version }, 1);
  await using stack = new AsyncDisposableStack();
  const log = stack.use(new KafkaLog({ brokers: config.kafka.brokers, clientId: config.kafka.clientId }));
  const schemas = stack.use(new Registry({ url: config.registry.url }));
  const running: Service[] = [];
  const state = { healthy: true };
  const server = stack.use(
    await openObservability({
      registry: metrics.registry,
      host: config.http.host,
      port: port === undefined ? config.http.port : Number(port),
      healthy: () => state.healthy,
      checks: Object.fromEntries(
        names.map((name) => [name, () => running.find((service) => service.name === name)?.ready ?? false]),
      ),
    }),
  );
  for (const name of names) {
    if (signal.aborted) return;
    const start = services[name];
    if (start !== undefined) running.push(stack.use(await start({ config, log, schemas, metrics, logger })));
  }
  logger.info({ url: server.url, names }, 'running');
  try {
    await Promise.race([aborted(signal), ...running.map((service) => service.done)]);
  } catch (error) {
    state.healthy = false;
    throw error;
  } finally {
    logger.info('stopping: what is done is committed');
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
