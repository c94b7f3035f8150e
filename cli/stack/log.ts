import { Registry } from '../../core/avro/registry/registry.ts';
import type { Config } from '../../core/base/config.ts';
import { KafkaLog } from '../../core/kafka/log.ts';

/** Opens the log and the registry for `work`, and closes them afterwards. */
export async function withLog<T>(config: Config, work: (log: KafkaLog, schemas: Registry) => Promise<T>): Promise<T> {
  await using log = new KafkaLog({ brokers: config.kafka.brokers, clientId: config.kafka.clientId });
  await using schemas = new Registry({ ...config.registry, lagMs: 0 });
  return await work(log, schemas);
}
