/** A capture of its own on a stack that others use too: its database, slot, topics and connector, all gone at the end. */
import { randomBytes } from 'node:crypto';
import { Client } from 'pg';
import { definitionOf } from '../../cli/capture/capture.ts';
import { projectDir } from '../../cli/settings/config.ts';
import { ConnectClient } from '../../connectors/client.ts';
import type { Definition } from '../../connectors/definition/definition.ts';
import type { Config } from '../../core/base/config.ts';
import { TopicAdmin } from '../../core/kafka/admin.ts';
import { migrate } from '../../storage/migrate.ts';
import { eventually } from './patience.ts';
import { testConfig } from './stack.ts';

export interface TestDatabase extends AsyncDisposable {
  readonly url: string;
  readonly client: Client;
}

/** A migrated database of its own. */
export async function testDatabase(
  config: Config,
  name = `it_${randomBytes(4).toString('hex')}`,
): Promise<TestDatabase> {
  const admin = new Client(config.postgres.url);
  await admin.connect();
  await admin.query(`CREATE DATABASE ${name}`);
  const url = new URL(config.postgres.url);
  url.pathname = `/${name}`;
  await migrate({
    url: url.href,
    dir: `${projectDir}/infra/sql`,
    ...(config.capture.password === '' ? {} : { capturePassword: config.capture.password }),
  });
  const client = new Client(url.href);
  client.on('error', () => {});
  await client.connect();
  return {
    url: url.href,
    client,
    [Symbol.asyncDispose]: async () => {
      await client.end().catch(() => {});
      await admin.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
      await admin.end();
    },
  };
}

export interface TestCapture extends AsyncDisposable {
  readonly config: Config;
  readonly database: TestDatabase;
  readonly client: ConnectClient;
  readonly definition: Definition;
  /** Of a captured table. */
  readonly topic: (table: string) => string;
}

export async function testCapture(): Promise<TestCapture> {
  const id = `it_${randomBytes(4).toString('hex')}`;
  const shared = testConfig();
  const database = await testDatabase(shared, id);
  const config: Config = {
    ...shared,
    postgres: { url: database.url },
    capture: { ...shared.capture, slot: id, prefix: id, postgresUrl: '' },
  };
  const client = new ConnectClient({ url: config.connect.url });
  const trades = await definitionOf(config);
  const definition: Definition = { ...trades, name: `millrace-${id.replace('_', '-')}` };
  const tables = ['trades', 'instruments', 'heartbeat'];
  return {
    config,
    database,
    client,
    definition,
    topic: (table) => `${id}.public.${table}`,
    [Symbol.asyncDispose]: async () => {
      await client.delete(definition.name);
      await dropSlot(database.client, id);
      await database[Symbol.asyncDispose]();
      await using admin = await TopicAdmin.open({ brokers: config.kafka.brokers, clientId: 'millrace-test' });
      await admin.delete([
        ...tables.map((table) => `${id}.public.${table}`),
        `__debezium-heartbeat.${id}`,
        `${id}.transaction`,
        `${id}.notifications`,
      ]);
    },
  };
}

async function dropSlot(client: Client, slot: string): Promise<void> {
  await eventually(async () => {
    await client.query('SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1', [
      slot,
    ]);
    return true;
  });
}
