/** Finds a recent enough Java. Not its job: installing one. */
import { execFile } from 'node:child_process';
import { access, constants, readdir, realpath } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { MillraceError } from '../../../core/base/errors.ts';
import { findOnPath, type Host } from './command.ts';

const run = promisify(execFile);

export interface Java {
  readonly command: string;
  readonly home: string;
  readonly major: number;
}

/** Usual folders of JVMs, by system and version manager. */
function folders(env: Host['env']): string[] {
  const home = env['HOME'] ?? '/nonexistent';
  return [
    '/usr/lib/jvm',
    '/usr/java',
    '/opt/java',
    '/opt/jdk',
    '/Library/Java/JavaVirtualMachines',
    '/opt/homebrew/opt',
    join(home, '.sdkman/candidates/java'),
    join(home, '.jdks'),
    join(home, '.asdf/installs/java'),
    join(home, '.local/share/mise/installs/java'),
  ];
}

/**
 * Searches JAVA_HOME, then PATH, then the usual folders, there for the newest. @throws MillraceError TOOL_MISSING: names the versions found
 * instead.
 */
export async function findJava(minimum: number, env: Host['env'], searched = folders(env)): Promise<Java> {
  const tooOld: Java[] = [];
  const take = async (command: string | undefined): Promise<Java | undefined> => {
    const java = command === undefined ? undefined : await inspect(command);
    if (java === undefined) return undefined;
    if (java.major >= minimum) return java;
    tooOld.push(java);
    return undefined;
  };
  const first = (env['JAVA_HOME'] ?? '') === '' ? undefined : join(env['JAVA_HOME'] ?? '', 'bin/java');
  const named = (await take(first)) ?? (await take(await findOnPath('java', env)));
  if (named !== undefined) return named;
  const found: Java[] = [];
  for (const folder of searched) {
    for (const entry of await readdir(folder).catch(() => [])) {
      for (const inside of ['bin/java', 'Contents/Home/bin/java', 'libexec/openjdk.jdk/Contents/Home/bin/java']) {
        const java = await take(join(folder, entry, inside));
        if (java !== undefined) found.push(java);
      }
    }
  }
  found.sort((a, b) => b.major - a.major);
  if (found[0] !== undefined) return found[0];
  const instead = [...new Set(tooOld.map(({ home, major }) => `Java ${major} in ${home}`))].join(', ');
  throw new MillraceError(
    'TOOL_MISSING',
    `the stack needs a JDK ${minimum} or newer; found ${instead === '' ? 'none' : instead}`,
    { remedy: `Install a JDK ${minimum} or newer (e.g. Temurin 25), or point JAVA_HOME at one.` },
  );
}

async function inspect(command: string): Promise<Java | undefined> {
  try {
    await access(command, constants.X_OK);
    const { stdout, stderr } = await run(command, ['-version'], { timeout: 20_000 });
    const version = /version "(\d+)(?:\.(\d+))?/.exec(stdout + stderr);
    if (version === null) return undefined;
    const major = Number(version[1] === '1' ? version[2] : version[1]);
    return { command, major, home: dirname(dirname(await realpath(command))) };
  } catch {
    return undefined;
  }
}
