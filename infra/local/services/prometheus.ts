import { cp, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MillraceError } from '../../../core/base/errors.ts';
import { ensurePrometheus, type PrometheusTools } from '../../prometheus/install.ts';
import { prometheus as part } from '../parts.ts';
import { findAlertmanager, rulesFolder } from './alertmanager.ts';
import { askHttp, type Context, cleanEnv, type Service } from './service.ts';

/** @throws MillraceError TOOL_MISSING */
async function toolsOf({ host, note, signal }: Context): Promise<PrometheusTools> {
  note('looking for Prometheus');
  const found = await ensurePrometheus({ cacheDir: host.cacheDir, path: host.env['PATH'] ?? '', signal });
  if (!('missing' in found)) return found;
  throw new MillraceError('TOOL_MISSING', found.missing, {
    remedy: 'Install Prometheus, or start the stack without --with monitoring.',
  });
}

/** The rules are copied at each start. The processes that serve /metrics write `targets`, which stays. */
export const prometheus: Service = {
  name: 'prometheus',
  ports: ['prometheus'],
  needs: ['alertmanager'],
  stop: { signal: 'SIGTERM', graceMs: 10_000 },

  async launch(context) {
    const { dir, host, ports } = context;
    const tools = await toolsOf(context);
    const home = join(dir, 'prometheus');
    for (const folder of ['targets', 'alertmanagers']) await mkdir(join(home, folder), { recursive: true });
    await rm(join(home, 'rules'), { recursive: true, force: true });
    for (const each of ['prometheus.yml', 'rules']) {
      await cp(join(rulesFolder, each), join(home, each), { recursive: true });
    }
    // Without an Alertmanager, Prometheus shows the alerts itself.
    const managers = (await findAlertmanager(host)) === undefined ? [] : [`127.0.0.1:${ports.alertmanager}`];
    const groups = managers.length === 0 ? [] : [{ targets: managers }];
    await writeFile(join(home, 'alertmanagers', 'alertmanager.json'), `${JSON.stringify(groups)}\n`);
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
