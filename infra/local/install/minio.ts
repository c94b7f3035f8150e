import { join } from 'node:path';
import { MillraceError } from '../../../core/base/errors.ts';
import { minio } from '../parts.ts';
import { ensureCached, folderOf, isCached } from './cache.ts';
import { findOnPath, type Host, runCommand } from './command.ts';

export interface MinioOptions {
  readonly host: Host;
  readonly note?: (text: string) => void;
  readonly signal?: AbortSignal | undefined;
}

function placeOf({ cacheDir }: Pick<Host, 'cacheDir'>) {
  return { cacheDir, name: 'minio', ingredients: [`${minio.module}@${minio.version}`] };
}

/** Whether MinIO was built into the cache, so that Go is not needed. */
export async function isMinioInstalled(host: Pick<Host, 'cacheDir'>): Promise<boolean> {
  return await isCached(folderOf(placeOf(host)));
}

/**
 * The `minio` on the PATH, or one that Go builds into the cache once, in about three minutes. @throws MillraceError TOOL_MISSING,
 * INSTALL_FAILED
 */
export async function ensureMinio({ host, note, signal }: MinioOptions): Promise<string> {
  const onPath = await findOnPath('minio', host.env);
  if (onPath !== undefined) return onPath;
  const wanted = placeOf(host);
  if (await isCached(folderOf(wanted))) return join(folderOf(wanted), 'minio');
  const go = (await findOnPath('go', host.env)) ?? (await findOnPath('go', { PATH: '/usr/local/go/bin' }));
  if (go === undefined) {
    throw new MillraceError('TOOL_MISSING', 'there is neither a minio nor a go on the PATH', {
      remedy: 'Install MinIO, or Go 1.24 or newer to build it (about three minutes, once).',
    });
  }
  note?.('building with Go, about three minutes, once');
  let packages = 0;
  const folder = await ensureCached({
    ...wanted,
    install: async (work) => {
      await runCommand(go, ['install', '-v', ...wanted.ingredients], {
        env: { ...host.env, GOBIN: work, CGO_ENABLED: '0' },
        cwd: work,
        signal,
        onLine: (line) => {
          if (line.startsWith('go: downloading ')) note?.(`downloading ${line.slice(16)}`);
          else {
            packages += 1;
            if (packages % 25 === 0) note?.(`${packages} packages compiled`);
          }
        },
      });
    },
  });
  return join(folder, 'minio');
}
