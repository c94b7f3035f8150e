import { registry as part } from '../parts.ts';
import { sharedClasses } from './classes.ts';
import { javaOptions } from './kafka.ts';
import { askHttp, cleanEnv, type Service } from './service.ts';

export const registry: Service = {
  name: 'registry',
  ports: ['registry', 'registryManagement'],
  needs: ['postgres'],
  // If its first database connection times out, the registry ends, or continues without storage.
  restartAfterMs: 45_000,
  stop: { signal: 'SIGTERM', graceMs: 20_000 },

  async launch(context) {
    const { installed, ports, secrets, host } = context;
    return {
      command: installed.java.command,
      // The registry answers a few requests a minute: the second compiler would cost more at start than it saves.
      args: [
        ...part.heap,
        '-XX:TieredStopAtLevel=1',
        ...javaOptions,
        ...(await sharedClasses('registry', installed.registry, context)),
        ...['-jar', 'quarkus-run.jar'],
      ],
      cwd: installed.registry,
      // Passed by environment: arguments are visible to every user of the machine.
      env: cleanEnv(host, {
        ...part.settings,
        APICURIO_DATASOURCE_URL: `jdbc:postgresql://127.0.0.1:${ports.postgres}/registry`,
        APICURIO_DATASOURCE_PASSWORD: secrets.registry,
        QUARKUS_HTTP_HOST: '127.0.0.1',
        QUARKUS_HTTP_PORT: String(ports.registry),
        QUARKUS_MANAGEMENT_HOST: '127.0.0.1',
        QUARKUS_MANAGEMENT_PORT: String(ports.registryManagement),
        QUARKUS_HTTP_ACCESS_LOG_ENABLED: 'false',
        QUARKUS_OTEL_SDK_DISABLED: 'true',
      }),
    };
  },

  async ask({ ports }, timeoutMs) {
    const response = await askHttp(`http://127.0.0.1:${ports.registry}/apis/ccompat/v7/subjects`, timeoutMs);
    await response.json();
  },
};
