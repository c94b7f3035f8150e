/**
 * Runs processors until a signal, and reads and writes each topic of the deleted-topic burst from the same process and connection:
 * `node test/faults/processes/touching.ts STACK NAME…`.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { services } from '../../../cli/run/services.ts';
import { configOf } from '../../../cli/settings/config.ts';
import { untilSignal } from '../../../cli/terminal/signals.ts';
import { Registry } from '../../../core/avro/registry/registry.ts';
import { TopicAdmin } from '../../../core/kafka/admin.ts';
import { KafkaLog } from '../../../core/kafka/log.ts';
import { createLogger } from '../../../core/observability/logger.ts';
import { Metrics } from '../../../core/observability/metrics.ts';
import { Control } from '../../../core/runtime/control.ts';
import { RunningStates } from '../../../core/state/shown/running.ts';

const [stack = 'soak', ...names] = process.argv.slice(2);
const config = configOf(stack, process.env);
const { brokers } = config.kafka;
const logger = createLogger({ level: 'info' });
const signal = untilSignal();
await using resources = new AsyncDisposableStack();
const log = resources.use(new KafkaLog({ brokers, clientId: 'touching' }));
const schemas = resources.use(new Registry({ url: config.registry.url }));
const control = resources.use(
  await Control.open({ log, schemas, onError: (error) => logger.warn({ err: error }, 'orders cannot be read') }),
);
const context = { config, log, schemas, control, metrics: new Metrics(), logger, states: new RunningStates() };
const running: Promise<void>[] = [];
for (const name of names) {
  const start = services[name];
  if (start === undefined) throw new Error(`nothing is called ${name}`);
  running.push(resources.use(await start(context)).done);
}
await Promise.race([...running, touch()]);

/** Until the signal. A topic may be deleted at any moment. */
async function touch(): Promise<void> {
  await using admin = await TopicAdmin.open({ brokers, clientId: 'touching' });
  await using fetcher = log.fetcher();
  while (!signal.aborted) {
    const topics = [...(await admin.partitions()).keys()].filter((name) => name.startsWith('faults.gone.'));
    for (const topic of topics) {
      try {
        await using writer = await log.writer(`touching.${topic}`);
        await writer.transact({ records: [{ topic, partition: 0, key: null, value: Buffer.of(1), timestamp: 1n }] });
        await fetcher.fetch([{ topic, partition: 0, offset: 0n }], { maxWaitMs: 100, maxBytesPerPartition: 1_000 });
      } catch (error) {
        logger.info({ err: error }, 'it is gone');
      }
    }
    await delay(300, undefined, { signal }).catch(() => undefined);
  }
}
