import { copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { alertmanagerIn, prometheusTools, rulesFolder } from './prometheus.ts';
import { askHttp, cleanEnv, type Service } from './service.ts';

export const alertmanager: Service = {
  name: 'alertmanager',
  ports: ['alertmanager'],
  needs: [],
  stop: { signal: 'SIGTERM', graceMs: 5_000 },

  async launch({ dir, host, ports, signal, note }) {
    const tools = await prometheusTools(host, note, signal);
    const home = alertmanagerIn(dir);
    await mkdir(home, { recursive: true });
    await copyFile(join(rulesFolder, 'alertmanager.yml'), join(home, 'alertmanager.yml'));
    return {
      command: tools.alertmanager,
      args: [
        `--config.file=${join(home, 'alertmanager.yml')}`,
        `--storage.path=${join(home, 'data')}`,
        `--web.listen-address=127.0.0.1:${ports.alertmanager}`,
        // One of its kind: no port for a cluster.
        '--cluster.listen-address=',
      ],
      cwd: home,
      env: cleanEnv(host),
    };
  },

  async ask({ ports }, timeoutMs) {
    await (await askHttp(`http://127.0.0.1:${ports.alertmanager}/-/ready`, timeoutMs)).text();
  },
};
