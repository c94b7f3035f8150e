/** Sets up the parts of a running stack for Millrace. Idempotent; applies the connectors only on request. */
import { ConnectClient } from '../../connectors/client.ts';
import { applyTopics } from '../../connectors/definition/topics.ts';
import { openStore } from '../../core/archive/s3/open.ts';
import { Registry } from '../../core/avro/registry/registry.ts';
import type { Config } from '../../core/base/config.ts';
import { TopicAdmin } from '../../core/kafka/admin.ts';
import { KafkaLog } from '../../core/kafka/log.ts';
import { topics } from '../../schemas/topics.ts';
import { applyCapture, definitions, migrateDatabase, requireNoGap } from '../capture/capture.ts';
import { findingLines } from '../capture/source/lines.ts';

export interface SetUpOptions {
  /** Called with one line for each change. Default: no output. */
  readonly log?: (line: string) => void;
  /** Also apply the connectors, which begin to capture at once. Default false. */
  readonly connectors?: boolean;
  readonly signal?: AbortSignal;
}

/** Sets up database, topics, compatibility level and bucket concurrently. */
export async function setUp(config: Config, options: SetUpOptions = {}): Promise<void> {
  const log = options.log ?? (() => {});
  const signal = options.signal === undefined ? {} : { signal: options.signal };
  await Promise.all([
    migrateDatabase(config, { log, ...signal }),
    setUpTopics(config, log),
    setUpRegistry(config),
    setUpBucket(config, options.signal),
  ]);
  if (options.connectors !== true) return;
  const client = new ConnectClient({ url: config.connect.url });
  await using kafka = new KafkaLog(config.kafka);
  for (const definition of await definitions(config)) {
    const settled = await requireNoGap(config, client, definition, kafka);
    const { name, action, findings } = await applyCapture(config, client, settled, signal);
    if (action !== 'unchanged') log(`connector ${name} ${action}`);
    for (const line of findingLines(findings)) log(line);
  }
}

async function setUpTopics(config: Config, log: (line: string) => void): Promise<void> {
  await using admin = await TopicAdmin.open({ brokers: config.kafka.brokers, clientId: config.kafka.clientId });
  const plan = await applyTopics(admin, topics);
  for (const action of ['create', 'alter'] as const) {
    const names = plan.filter((each) => each.action === action).map(({ topic }) => topic.name);
    if (names.length > 0) log(`${action === 'create' ? 'created' : 'altered'} ${names.length} topics`);
  }
}

async function setUpRegistry(config: Config): Promise<void> {
  await using registry = new Registry({ url: config.registry.url });
  await registry.setCompatibility('BACKWARD');
}

async function setUpBucket(config: Config, signal: AbortSignal | undefined): Promise<void> {
  await using store = openStore(config.s3);
  await store.ensureBucket(signal);
}
