/** Runs the tally of test/faults/harness/tally.ts until a signal: `node test/faults/processes/tally.ts STACK`. */

import { startProcessor } from '../../../cli/run/services.ts';
import { configOf } from '../../../cli/settings/config.ts';
import { untilSignal } from '../../../cli/terminal/signals.ts';
import { Registry } from '../../../core/avro/registry/registry.ts';
import { KafkaLog } from '../../../core/kafka/log.ts';
import { createLogger } from '../../../core/observability/logger.ts';
import { Metrics } from '../../../core/observability/metrics.ts';
import { Control } from '../../../core/runtime/control.ts';
import { RunningStates } from '../../../core/state/shown/running.ts';
import { tally } from '../harness/tally.ts';

const config = configOf(process.argv[2] ?? 'soak', process.env);
const logger = createLogger({ level: 'info' });
const signal = untilSignal();
await using resources = new AsyncDisposableStack();
const log = resources.use(new KafkaLog({ brokers: config.kafka.brokers, clientId: 'tally' }));
const schemas = resources.use(new Registry({ url: config.registry.url }));
const control = resources.use(
  await Control.open({ log, schemas, onError: (error) => logger.warn({ err: error }, 'orders cannot be read') }),
);
const context = { config, log, schemas, control, metrics: new Metrics(), logger, states: new RunningStates() };
const service = resources.use(await startProcessor(context, tally, false));
await Promise.race([
  service.done,
  new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true })),
]);
