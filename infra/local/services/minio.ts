import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { minio as part } from '../parts.ts';
import { askHttp, cleanEnv, type Service } from './service.ts';

export const minio: Service = {
  name: 'minio',
  ports: ['minio', 'minioConsole'],
  needs: [],
  stop: { signal: 'SIGTERM', graceMs: 10_000 },

  async launch({ dir, installed, ports, secrets, host }) {
    const data = join(dir, 'data', 'minio');
    await mkdir(data, { recursive: true });
    const addresses = ['--address', `127.0.0.1:${ports.minio}`, '--console-address', `127.0.0.1:${ports.minioConsole}`];
    return {
      command: installed.minio,
      args: ['server', data, ...addresses],
      cwd: dir,
      env: cleanEnv(host, {
        MINIO_ROOT_USER: part.user,
        MINIO_ROOT_PASSWORD: secrets.s3,
        MINIO_REGION: part.region,
        MINIO_UPDATE: 'off',
        GOMEMLIMIT: '256MiB',
      }),
    };
  },

  async ask({ ports }, timeoutMs) {
    await (await askHttp(`http://127.0.0.1:${ports.minio}/minio/health/ready`, timeoutMs)).text();
  },
};
