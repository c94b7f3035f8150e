/**
 * Class data sharing of the JVM: parsed classes are kept between starts, which saves about a third of a JVM's start work.
 *
 * The first clean end of a part writes an archive, and a later start uses it. Without a fitting archive the JVM starts as usual.
 */
import { createHash } from 'node:crypto';
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Context } from './service.ts';

/** First bytes of a dynamic archive. The JVM writes them last, so a file that begins with them is complete. */
const magic = 0xf00baba8;

/** JVM options to run `part` with the jars of `jars`. */
export async function sharedClasses(
  part: string,
  jars: string,
  { host, installed, dir }: Pick<Context, 'host' | 'installed' | 'dir'>,
): Promise<readonly string[]> {
  const folder = join(host.cacheDir, 'classes');
  const { home, major } = installed.java;
  const archive = `${part}-${hash([home, String(major), jars])}.jsa`;
  await mkdir(folder, { recursive: true });
  const files = await readdir(folder);
  const candidates = files.filter((file) => file.startsWith(`${archive}.`)).map((file) => join(folder, file));
  if (files.includes(archive)) {
    // Archives of ended stacks. If one is still being written, only that archive is lost.
    for (const file of candidates) await rm(file, { force: true });
  } else {
    const whole = await firstOf(candidates, isWhole);
    // Each stack writes its own file, so that no file has two writers.
    if (whole === undefined) return [`-XX:ArchiveClassesAtExit=${join(folder, `${archive}.${hash([dir])}`)}`, ...quiet];
    await rename(whole, join(folder, archive)).catch(() => {}); // another start was faster
  }
  return [`-XX:SharedArchiveFile=${join(folder, archive)}`, ...quiet];
}

/** A message about an archive that does not fit is noise. */
const quiet: readonly string[] = ['-Xlog:disable', '-Xlog:all=error:stderr'];

function hash(parts: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 12);
}

async function firstOf(
  files: readonly string[],
  test: (file: string) => Promise<boolean>,
): Promise<string | undefined> {
  for (const file of files) if (await test(file)) return file;
  return undefined;
}

async function isWhole(file: string): Promise<boolean> {
  try {
    await using handle = await open(file);
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(4), 0, 4, 0);
    return bytesRead === 4 && buffer.readUInt32LE(0) === magic;
  } catch {
    return false;
  }
}
