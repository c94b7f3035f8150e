import { randomBytes } from 'node:crypto';
import { access, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { TopicAdmin } from '../../../core/kafka/admin.ts';
import { runCommand } from '../install/command.ts';
import { kafka as part } from '../parts.ts';
import { answersTcp } from '../ports.ts';
import { sharedClasses } from './classes.ts';
import { type Context, cleanEnv, properties, type Service } from './service.ts';

export const log4j = join(import.meta.dirname, '..', 'log4j2.properties');

/** For all our JVMs: two cores and little memory, so the collector with the smallest footprint. */
export const javaOptions: readonly string[] = [
  '-XX:+UseSerialGC',
  '-XX:+ExitOnOutOfMemoryError',
  '-Djava.awt.headless=true',
];

/**
 * Kafka's form: 16 bytes in base 64, which must not look like an option of the command line. A log that begins anew is another one, and the
 * archive tells them apart by it.
 */
function clusterId(): string {
  for (;;) {
    const id = randomBytes(16).toString('base64url');
    if (!id.startsWith('-')) return id;
  }
}

export const kafka: Service = {
  name: 'kafka',
  ports: ['kafka', 'kafkaController'],
  needs: [],
  stop: { signal: 'SIGTERM', graceMs: 20_000 },

  async launch(context) {
    const { dir, installed, ports, host, signal } = context;
    const config = join(dir, 'config', 'kafka.properties');
    const data = join(dir, 'data', 'kafka');
    await mkdir(data, { recursive: true });
    await mkdir(join(dir, 'config'), { recursive: true });
    await writeFile(
      config,
      properties({
        ...part.settings,
        'controller.quorum.voters': `1@127.0.0.1:${ports.kafkaController}`,
        listeners: `PLAINTEXT://127.0.0.1:${ports.kafka},CONTROLLER://127.0.0.1:${ports.kafkaController}`,
        'advertised.listeners': `PLAINTEXT://127.0.0.1:${ports.kafka}`,
        'log.dirs': data,
      }),
    );
    const env = cleanEnv(host);
    const classPath = ['-cp', join(installed.kafka, '*')];
    const logging = `-Dlog4j2.configurationFile=${log4j}`;
    const formatted = await access(join(data, 'meta.properties')).then(
      () => true,
      () => false,
    );
    if (!formatted) {
      context.note('formatting its storage');
      const tool = ['-XX:TieredStopAtLevel=1', ...javaOptions, '-Dmillrace.log.level=error', logging, ...classPath];
      const format = ['kafka.tools.StorageTool', 'format', '--ignore-formatted', '-t', clusterId(), '-c', config];
      await runCommand(installed.java.command, [...tool, ...format], { env, signal });
    }
    return {
      command: installed.java.command,
      args: [
        ...part.heap,
        ...javaOptions,
        ...(await sharedClasses('kafka', installed.kafka, context)),
        logging,
        ...classPath,
        'kafka.Kafka',
        config,
      ],
      cwd: dir,
      env,
    };
  },

  async ask({ ports }: Context, timeoutMs) {
    // Asking by Kafka's protocol retries with growing pauses; so first wait until somebody listens at all.
    await answersTcp(ports.kafka);
    await using admin = await TopicAdmin.open({
      brokers: [`127.0.0.1:${ports.kafka}`],
      clientId: 'millrace-up',
      timeoutMs,
    });
    await admin.partitions();
  },
};
