/** Installs jars and archives by coordinates, through Maven and a pom file. */
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { MillraceError } from '../../../core/base/errors.ts';
import { ensureCached, folderOf, isCached } from './cache.ts';
import { findOnPath, type Host, runCommand } from './command.ts';

const plugin = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1';

/** Inputs that decide the place of the artifacts in the cache. */
export interface PomPlace {
  readonly host: Pick<Host, 'cacheDir'>;
  readonly name: string;
  /** Pom file. Its direct dependencies are installed, and their dependencies unless it excludes them. */
  readonly pom: string;
  /** Unpack the one archive instead of keeping it. Default false. */
  readonly unpack?: boolean;
  /** Subfolder of the installed folder for the files. Default: the folder itself. */
  readonly inside?: string;
  /** Name of the last installation step: a change of it reinstalls. */
  readonly lastStep?: string;
}

export interface PomFolder extends PomPlace {
  readonly host: Host;
  readonly runLastStep?: (folder: string) => Promise<void>;
  readonly javaHome: string;
  readonly note?: (text: string) => void;
  readonly signal?: AbortSignal | undefined;
}

/** Place in the cache, and the inputs that decide its content. */
async function placeOf({ host, name, pom, unpack, inside = '', lastStep = '' }: PomPlace) {
  const ingredients = [await readFile(pom, 'utf8'), String(unpack), inside, lastStep];
  return { cacheDir: host.cacheDir, name, ingredients };
}

/** Whether the artifacts are in the cache, so that Maven is not needed. */
export async function isPomInstalled(place: PomPlace): Promise<boolean> {
  return await isCached(folderOf(await placeOf(place)));
}

/** @returns the folder with the artifacts. @throws MillraceError TOOL_MISSING, INSTALL_FAILED */
export async function ensurePom(options: PomFolder): Promise<string> {
  const { host, name, pom, signal } = options;
  const wanted = await placeOf(options);
  if (await isCached(folderOf(wanted))) return folderOf(wanted);
  const maven = await findOnPath('mvn', host.env);
  if (maven === undefined) {
    throw new MillraceError('TOOL_MISSING', `${name} is fetched with Maven, and there is no mvn on the PATH`, {
      remedy: 'Install Maven 3.8 or newer, e.g. `apt-get install maven`.',
    });
  }
  options.note?.('resolving with Maven');
  let downloads = 0;
  return ensureCached({
    ...wanted,
    install: async (folder) => {
      const args = ['--batch-mode', '-f', pom, `${plugin}:copy-dependencies`, '-DincludeScope=runtime'];
      await runCommand(
        maven,
        [...args, `-DoutputDirectory=${join(folder, options.inside ?? '')}`, '-Dstyle.color=never'],
        {
          env: { ...host.env, JAVA_HOME: options.javaHome },
          cwd: folder,
          signal,
          onLine: (line) => {
            const file = /^\[INFO\] Downloaded from [^:]+: .*\/([^/ ]+\.(?:jar|tar\.gz)) /.exec(line)?.[1];
            if (file === undefined) return;
            downloads += 1;
            options.note?.(`${downloads} downloaded, last ${file}`);
          },
        },
      );
      await options.runLastStep?.(folder);
      if (options.unpack !== true) return;
      const archive = (await readdir(folder)).find((file) => file.endsWith('.tar.gz'));
      if (archive === undefined) throw new MillraceError('INSTALL_FAILED', `Maven brought no archive for ${name}`);
      options.note?.('unpacking');
      await runCommand('tar', ['-xzf', archive, '--no-same-owner'], { cwd: folder, env: host.env, signal });
      await rm(join(folder, archive));
    },
  });
}
