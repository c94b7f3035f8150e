import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect as part } from '../parts.ts';
import { sharedClasses } from './classes.ts';
import { javaOptions, log4j } from './kafka.ts';
import { askHttp, cleanEnv, properties, type Service } from './service.ts';

/** The only folder that Connect's ConfigProvider may read; its files are secrets by name. */
export function secretsFolder(dir: string): string {
  return join(dir, 'secrets', 'connect');
}

export const connect: Service = {
  name: 'connect',
  ports: ['connect'],
  needs: ['kafka', 'kafka2', 'kafka3'],
  stop: { signal: 'SIGTERM', graceMs: 20_000 },

  async launch(context) {
    const { dir, installed, ports, secrets, host, brokers } = context;
    const config = join(dir, 'config', 'connect.properties');
    const folder = secretsFolder(dir);
    await mkdir(join(dir, 'config'), { recursive: true });
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await writeFile(join(folder, 'capture.password'), secrets.capture, { mode: 0o600 });
    await writeFile(
      config,
      properties({
        'bootstrap.servers': `127.0.0.1:${ports.kafka}`,
        listeners: `http://127.0.0.1:${ports.connect}`,
        'rest.advertised.host.name': '127.0.0.1',
        'rest.advertised.port': String(ports.connect),
        'plugin.path': installed.debezium,
        ...part.settings,
        ...(brokers < 3 ? {} : part.replicated),
        'config.providers': 'dir',
        'config.providers.dir.class': 'org.apache.kafka.common.config.provider.DirectoryConfigProvider',
        'config.providers.dir.param.allowed.paths': folder,
      }),
    );
    return {
      command: installed.java.command,
      args: [
        ...part.heap,
        ...javaOptions,
        ...(await sharedClasses('connect', installed.kafka, context)),
        `-Dlog4j2.configurationFile=${log4j}`,
        ...['-cp', join(installed.kafka, '*'), 'org.apache.kafka.connect.cli.ConnectDistributed', config],
      ],
      cwd: dir,
      env: cleanEnv(host),
    };
  },

  async ask({ ports }, timeoutMs) {
    const response = await askHttp(`http://127.0.0.1:${ports.connect}/connectors`, timeoutMs);
    await response.json();
  },
};
