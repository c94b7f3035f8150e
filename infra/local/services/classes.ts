/**
 * Parsed classes kept between starts (the JVM's class data sharing): saves a JVM about a third of the work of starting.
 *
 * The first clean end of a part writes an archive, a later start uses it. Without one, or with one that does not fit, the JVM starts as usual.
 */
import { createHash } from 'node:crypto';
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Context } from './service.ts';

/** First bytes of a dynamic archive. The JVM writes them last, so a file that begins with them is whole. */
const magic = 0xf00baba8;

/** Options of a JVM that runs `part` with the jars of `jars`. */
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
    // Of stacks that ended meanwhile; one that is being written loses nothing that anybody needs.
    for (const file of candidates) await rm(file, { force: true });
  } else {
    const whole = await firstOf(candidates, isWhole);
    // Every stack writes its own, so that two never write one.
    if (whole === undefined) return [`-XX:ArchiveClassesAtExit=${join(folder, `${archive}.${hash([dir])}`)}`, ...quiet];
    await rename(whole, join(folder, archive)).catch(() => {}); // another start was faster
  }
  return [`-XX:SharedArchiveFile=${join(folder, archive)}`, ...quiet];
}

/** An archive that does not fit is no news. */
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
