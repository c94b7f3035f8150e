import { randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { TopicAdmin } from '../../../core/kafka/admin.ts';
import { runCommand } from '../install/command.ts';
import { answersTcp } from '../machine/ports.ts';
import { type BrokerName, kafka as part, replicated } from '../parts.ts';
import { sharedClasses } from './classes.ts';
import { type Context, cleanEnv, properties, type Service } from './service.ts';

export const log4j = join(import.meta.dirname, '..', 'log4j2.properties');

/** Options for all JVMs of the stack: two cores and little memory, so the collector with the smallest footprint. */
export const javaOptions: readonly string[] = [
  '-XX:+UseSerialGC',
  '-XX:+ExitOnOutOfMemoryError',
  '-Djava.awt.headless=true',
];

/**
 * New cluster id in Kafka's form: 16 bytes in base 64, not like a command-line option. A new log has a new id, and the archive tells logs
 * apart by it.
 */
function newClusterId(): string {
  for (;;) {
    const id = randomBytes(16).toString('base64url');
    if (!id.startsWith('-')) return id;
  }
}

/** Broker `id`. The first one is also the controller; the others join its cluster. */
function broker(id: number, name: BrokerName): Service {
  const first = id === 1;
  return {
    name,
    ports: first ? [name, 'kafkaController'] : [name],
    needs: [],
    stop: { signal: 'SIGTERM', graceMs: 20_000 },

    async launch(context) {
      const { dir, installed, ports, host, signal, brokers } = context;
      const config = join(dir, 'config', `${name}.properties`);
      const data = join(dir, 'data', name);
      await mkdir(data, { recursive: true });
      await mkdir(join(dir, 'config'), { recursive: true });
      const plain = `PLAINTEXT://127.0.0.1:${ports[name]}`;
      await writeFile(
        config,
        properties({
          ...part.settings,
          ...(brokers < 3 ? {} : replicated),
          ...(first ? {} : { 'process.roles': 'broker', 'node.id': String(id) }),
          'controller.quorum.voters': `1@127.0.0.1:${ports.kafkaController}`,
          listeners: first ? `${plain},CONTROLLER://127.0.0.1:${ports.kafkaController}` : plain,
          'advertised.listeners': plain,
          'log.dirs': data,
        }),
      );
      const env = cleanEnv(host);
      const classPath = ['-cp', join(installed.kafka, '*')];
      const logging = `-Dlog4j2.configurationFile=${log4j}`;
      const classes = await sharedClasses('kafka', installed.kafka, context);
      if ((await clusterOf(data)) === undefined) {
        const cluster = first ? newClusterId() : await clusterOfFirst(context);
        context.note('formatting its storage');
        // The tool reads the archive of the broker, but it never writes one: it knows a part of the classes.
        const shared = classes.some((option) => option.startsWith('-XX:SharedArchiveFile')) ? classes : [];
        const options = ['-XX:TieredStopAtLevel=1', ...javaOptions, ...shared, '-Dmillrace.log.level=error', logging];
        const format = ['kafka.tools.StorageTool', 'format', '--ignore-formatted', '-t', cluster, '-c', config];
        await runCommand(installed.java.command, [...options, ...classPath, ...format], { env, signal });
      }
      return {
        command: installed.java.command,
        args: [...part.heap, ...javaOptions, ...classes, logging, ...classPath, 'kafka.Kafka', config],
        cwd: dir,
        env,
      };
    },

    async ask({ ports }: Context, timeoutMs) {
      // A request by Kafka's protocol retries with growing pauses, so wait for a listener first.
      await answersTcp(ports[name]);
      await using admin = await TopicAdmin.open({
        brokers: [`127.0.0.1:${ports[name]}`],
        clientId: 'millrace-up',
        timeoutMs,
      });
      if (!(await admin.brokers()).includes(id)) throw new Error(`broker ${id} has not joined the cluster`);
    },
  };
}

export const kafka = broker(1, 'kafka');
/** The other brokers of a stack of three. */
export const moreBrokers: readonly Service[] = [broker(2, 'kafka2'), broker(3, 'kafka3')];

/** Cluster id of a data folder; undefined for an unformatted one. */
async function clusterOf(data: string): Promise<string | undefined> {
  const text = await readFile(join(data, 'meta.properties'), 'utf8').catch(() => '');
  return /^cluster\.id=(.+)$/m.exec(text)?.[1]?.trim();
}

/** Waits until the first broker has formatted its storage. */
async function clusterOfFirst({ dir, signal }: Context): Promise<string> {
  for (;;) {
    const cluster = await clusterOf(join(dir, 'data', 'kafka'));
    if (cluster !== undefined) return cluster;
    await sleep(50, undefined, { signal });
  }
}
