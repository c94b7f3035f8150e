import { execFile } from 'node:child_process';
import { access, constants, mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface PrometheusTools {
  readonly prometheus: string;
  readonly promtool: string;
}

export interface PrometheusOptions {
  /** Cache of installed parts, shared by all clones. */
  readonly cacheDir: string;
  /** Folders to search first, in the form of PATH. */
  readonly path?: string;
  readonly signal?: AbortSignal;
  /** Folder of apt's package lists to try first. If it has none, they are fetched into the cache. */
  readonly aptLists?: string;
}

export type PrometheusResult = PrometheusTools | { readonly missing: string };

const names = ['prometheus', 'promtool'] as const;

/**
 * Finds Prometheus and promtool on the path or in the cache, or unpacks the Debian package into the cache. Needs no root: nothing is
 * installed into the system. (Debian's Alertmanager does not run unpacked: it reads a template under /usr.) Safe to interrupt and to run
 * twice at once: a complete folder appears by one rename.
 *
 * @returns the tools, or `missing` with the reason in one sentence: monitoring is optional, so this is not an error.
 */
export async function ensurePrometheus(options: PrometheusOptions): Promise<PrometheusResult> {
  const onPath = await locate((options.path ?? '').split(delimiter).filter((folder) => folder !== ''));
  if (onPath !== undefined) return onPath;
  const home = join(options.cacheDir, 'prometheus-debian');
  const cached = await locate([join(home, 'usr/bin')]);
  if (cached !== undefined) return cached;
  try {
    await install(home, options);
  } catch (error) {
    options.signal?.throwIfAborted();
    return { missing: `Prometheus is not on the PATH and could not be fetched with apt-get: ${reason(error)}` };
  }
  return (
    (await locate([join(home, 'usr/bin')])) ?? { missing: 'the Debian packages hold no promtool for this machine' }
  );
}

async function locate(folders: readonly string[]): Promise<PrometheusTools | undefined> {
  const [prometheus, promtool] = await Promise.all(names.map((name) => findCommand(folders, [name])));
  return prometheus === undefined || promtool === undefined ? undefined : { prometheus, promtool };
}

/** The first of the names that exists in one of the folders and is executable. */
export async function findCommand(folders: readonly string[], files: readonly string[]): Promise<string | undefined> {
  for (const folder of folders) {
    for (const file of files) {
      const path = join(folder, file);
      const found = await access(path, constants.X_OK).then(
        () => true,
        () => false,
      );
      if (found) return path;
    }
  }
  return undefined;
}

async function install(home: string, options: PrometheusOptions): Promise<void> {
  await mkdir(options.cacheDir, { recursive: true });
  const work = await mkdtemp(join(options.cacheDir, '.prometheus-'));
  const spawn = { cwd: work, timeout: 180_000, ...(options.signal === undefined ? {} : { signal: options.signal }) };
  try {
    await download(work, options, spawn);
    const packages = (await readdir(work)).filter((file) => file.endsWith('.deb'));
    for (const file of packages) await run('dpkg-deb', ['-x', file, 'root'], spawn);
    await rm(home, { recursive: true, force: true });
    await rename(join(work, 'root'), home);
  } catch (error) {
    if (await locate([join(home, 'usr/bin')])) return; // another process was faster
    throw error;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/**
 * Downloads with the system's package lists if they are present and current, otherwise with own lists: only root may refresh the system's.
 */
async function download(
  work: string,
  options: PrometheusOptions,
  spawn: { readonly cwd: string; readonly signal?: AbortSignal },
): Promise<void> {
  const get = (apt: readonly string[]) => run('apt-get', [...apt, 'download', 'prometheus'], spawn);
  const lists = options.aptLists ?? '/var/lib/apt/lists';
  const files = await readdir(lists).catch(() => []);
  if (files.some((file) => /_Packages(\.|$)/.test(file))) {
    try {
      await get(['-o', `Dir::State::lists=${lists}`]);
      return;
    } catch {
      spawn.signal?.throwIfAborted(); // otherwise: they name a version that the mirror has replaced
    }
  }
  const own = join(work, 'lists');
  await mkdir(join(own, 'partial'), { recursive: true });
  await mkdir(join(work, 'archives/partial'), { recursive: true });
  // Without a sandbox user, apt downloads as the present user, into folders that only that user can reach.
  const apt = ['-o', `Dir::State::lists=${own}`, '-o', `Dir::Cache=${work}`, '-o', 'APT::Sandbox::User='];
  await run('apt-get', [...apt, 'update'], spawn);
  await get(apt);
}

function reason(error: unknown): string {
  const { stderr, message } = error as { stderr?: string; message: string };
  const lines = (stderr ?? '').split('\n').filter((line) => /^E:/.test(line));
  return lines.at(-1)?.slice(3) ?? message.split('\n', 1)[0] ?? 'unknown';
}
