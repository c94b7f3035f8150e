import { cp, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MillraceError } from '../../../core/errors.ts';
import { ensurePrometheus, type PrometheusTools } from '../../prometheus/install.ts';
import type { Host } from '../install/install.ts';
import { prometheus as part } from '../parts.ts';
import { askHttp, cleanEnv, type Service } from './service.ts';

/** Rules and configuration files, in the repository. */
export const rulesFolder = join(import.meta.dirname, '../../prometheus');

export const alertmanagerIn = (dir: string): string => join(dir, 'alertmanager');

/** @throws MillraceError TOOL_MISSING */
export async function prometheusTools(
  host: Host,
  note: (text: string) => void,
  signal: AbortSignal,
): Promise<PrometheusTools> {
  note('looking for Prometheus');
  const found = await ensurePrometheus({ cacheDir: host.cacheDir, path: host.env['PATH'] ?? '', signal });
  if (!('missing' in found)) return found;
  throw new MillraceError('TOOL_MISSING', found.missing, {
    remedy: 'Install Prometheus and Alertmanager, or start the stack without --with monitoring.',
  });
}

/** The rules are copied at each start; `targets` is filled by the processes that serve /metrics and stays. */
export const prometheus: Service = {
  name: 'prometheus',
  ports: ['prometheus'],
  needs: ['alertmanager'],
  stop: { signal: 'SIGTERM', graceMs: 10_000 },

  async launch({ dir, host, ports, signal, note }) {
    const tools = await prometheusTools(host, note, signal);
    const home = join(dir, 'prometheus');
    for (const folder of ['targets', 'alertmanagers']) await mkdir(join(home, folder), { recursive: true });
    await rm(join(home, 'rules'), { recursive: true, force: true });
    for (const each of ['prometheus.yml', 'rules']) {
      await cp(join(rulesFolder, each), join(home, each), { recursive: true });
    }
    const managers = [{ targets: [`127.0.0.1:${ports.alertmanager}`] }];
    await writeFile(join(home, 'alertmanagers', 'alertmanager.json'), `${JSON.stringify(managers)}\n`);
    return {
      command: tools.prometheus,
      args: [
        `--config.file=${join(home, 'prometheus.yml')}`,
        `--storage.tsdb.path=${join(dir, 'data', 'prometheus')}`,
        `--storage.tsdb.retention.time=${part.retention}`,
        `--web.listen-address=127.0.0.1:${ports.prometheus}`,
      ],
      cwd: home,
      env: cleanEnv(host),
    };
  },

  async ask({ ports }, timeoutMs) {
    await (await askHttp(`http://127.0.0.1:${ports.prometheus}/-/ready`, timeoutMs)).text();
  },
};
