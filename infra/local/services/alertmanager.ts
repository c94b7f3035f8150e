import { copyFile, mkdir } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { MillraceError } from '../../../core/base/errors.ts';
import { findCommand } from '../../prometheus/install.ts';
import type { Host } from '../install/install.ts';
import { askHttp, cleanEnv, type Service } from './service.ts';

/** Folder with the rules and configuration files of Prometheus and Alertmanager, in the repository. */
export const rulesFolder = join(import.meta.dirname, '../../prometheus');

/** Searches the PATH only: monitoring works without Alertmanager. */
export function findAlertmanager(host: Host): Promise<string | undefined> {
  const folders = (host.env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  return findCommand(folders, ['alertmanager', 'prometheus-alertmanager']);
}

export const alertmanager: Service = {
  name: 'alertmanager',
  ports: ['alertmanager'],
  needs: [],
  stop: { signal: 'SIGTERM', graceMs: 5_000 },

  async launch({ dir, host, ports }) {
    const command = await findAlertmanager(host);
    if (command === undefined) throw new MillraceError('TOOL_MISSING', 'there is no alertmanager on the PATH');
    const home = join(dir, 'alertmanager');
    await mkdir(home, { recursive: true });
    await copyFile(join(rulesFolder, 'alertmanager.yml'), join(home, 'alertmanager.yml'));
    return {
      command,
      args: [
        `--config.file=${join(home, 'alertmanager.yml')}`,
        `--storage.path=${join(home, 'data')}`,
        `--web.listen-address=127.0.0.1:${ports.alertmanager}`,
        // A single instance: no cluster port.
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
