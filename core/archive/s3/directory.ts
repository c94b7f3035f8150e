import { randomUUID } from 'node:crypto';
import { link, mkdir, open, readdir, readFile, rm, stat, unlink, writeFile } from 'node:fs/promises';
import { dirname, join, sep } from 'node:path';
import { MillraceError } from '../../base/errors.ts';
import { sha256Of } from '../../values/sha256.ts';
import type { ObjectInfo, ObjectStore, PutOptions, StoredObject } from './store.ts';

export interface DirectoryOptions {
  /** An existing directory; each bucket is one in it. */
  readonly directory: string;
  readonly bucket: string;
}

/** What is not an object: files in the making, and what is kept beside objects. */
const aside = '.millrace';
/** After so long nobody works on a file any more. */
const staleMs = 86_400_000;

/**
 * A bucket in a directory of a file system: an object is a file whose path is its key.
 *
 * An object is written aside, synced, and then linked to its name, which the file system does once and never over another file; the
 * directories are synced after it. So a file with an object's name is whole, also after a power cut. What is kept with an object is a file of its
 * own that is there before, named by the content, so that of several writers' it is the winner's that is found.
 *
 * Needs a file system with hard links that fails if the name is taken: every local one of Linux and macOS, and NFS. No key can be the folder of
 * another one.
 */
export class DirectoryStore implements ObjectStore {
  readonly #options: DirectoryOptions;
  readonly #root: string;

  constructor(options: DirectoryOptions) {
    this.#options = options;
    this.#root = join(options.directory, options.bucket);
  }

  async putIfAbsent(key: string, bytes: Uint8Array, options: PutOptions = {}): Promise<'created' | 'exists'> {
    const path = this.#pathOf(key);
    return this.#guard(`storing ${key}`, async () => {
      options.signal?.throwIfAborted();
      await this.#bucket();
      const noted = this.#notePath(key, sha256Of(bytes));
      await this.#writeOnce(noted, Buffer.from(JSON.stringify(options.metadata ?? {})));
      return this.#writeOnce(path, bytes);
    });
  }

  async get(key: string, signal?: AbortSignal): Promise<StoredObject | undefined> {
    const path = this.#pathOf(key);
    return this.#guard(`reading ${key}`, async () => {
      const bytes = await unlessMissing(readFile(path, signal === undefined ? {} : { signal }));
      if (bytes === undefined) return undefined;
      const note = await unlessMissing(readFile(this.#notePath(key, sha256Of(bytes)), 'utf8'));
      return { bytes, metadata: note === undefined ? {} : (JSON.parse(note) as Record<string, string>) };
    });
  }

  async head(key: string): Promise<ObjectInfo | undefined> {
    const path = this.#pathOf(key);
    return this.#guard(`looking at ${key}`, async () => {
      const found = await unlessMissing(stat(path));
      return found?.isFile() === true ? { key, bytes: found.size, modifiedMs: found.mtimeMs } : undefined;
    });
  }

  async *list(prefix: string, signal?: AbortSignal): AsyncGenerator<ObjectInfo> {
    const folder = prefix.slice(0, prefix.lastIndexOf('/') + 1);
    const found = await this.#guard(`listing ${prefix}`, async () => {
      const entries = await unlessMissing(readdir(join(this.#root, folder), { recursive: true, withFileTypes: true }));
      return (entries ?? [])
        .filter((entry) => entry.isFile())
        .map((entry) =>
          join(entry.parentPath, entry.name)
            .slice(this.#root.length + 1)
            .split(sep)
            .join('/'),
        )
        .filter((key) => key.startsWith(prefix) && !key.startsWith(`${aside}/`))
        .sort();
    });
    for (const key of found) {
      signal?.throwIfAborted();
      const info = await this.head(key);
      if (info !== undefined) yield info;
    }
  }

  /** Also folders that all objects were removed from. */
  async folders(prefix: string): Promise<readonly string[]> {
    return this.#guard(`listing ${prefix}`, async () => {
      const entries = (await unlessMissing(readdir(join(this.#root, prefix), { withFileTypes: true }))) ?? [];
      const names = entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
      return names.filter((name) => prefix !== '' || name !== aside).sort();
    });
  }

  async remove(keys: readonly string[]): Promise<void> {
    for (const key of keys) {
      const path = this.#pathOf(key);
      await this.#guard(`removing ${key}`, async () => {
        await unlessMissing(unlink(path));
        await rm(dirname(this.#notePath(key, '')), { recursive: true, force: true });
        await syncFolder(dirname(path));
      });
    }
  }

  /** Also drops what a crash left in the making. */
  async ensureBucket(): Promise<void> {
    await this.#guard(`opening ${this.#root}`, async () => {
      if ((await unlessMissing(stat(this.#options.directory))) === undefined)
        throw this.#missing(this.#options.directory);
      await makeFolder(join(this.#root, aside, 'making'));
      const making = join(this.#root, aside, 'making');
      for (const name of await readdir(making)) {
        const file = join(making, name);
        const { mtimeMs } = (await unlessMissing(stat(file))) ?? { mtimeMs: Number.POSITIVE_INFINITY };
        if (Date.now() - mtimeMs > staleMs) await rm(file, { force: true });
      }
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  async #bucket(): Promise<void> {
    if ((await unlessMissing(stat(join(this.#root, aside, 'making')))) === undefined) throw this.#missing(this.#root);
  }

  /** A whole file under a name that is free, or nothing. */
  async #writeOnce(path: string, bytes: Uint8Array): Promise<'created' | 'exists'> {
    if ((await unlessMissing(stat(path))) !== undefined) {
      // Who made it may not have come to this yet, and ours is relied on at once.
      await syncFolder(dirname(path));
      return 'exists';
    }
    const making = join(this.#root, aside, 'making', randomUUID());
    try {
      await writeFile(making, bytes, { flag: 'wx', flush: true });
      await makeFolder(dirname(path));
      try {
        await link(making, path);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
        await syncFolder(dirname(path));
        return 'exists';
      }
      await syncFolder(dirname(path));
      return 'created';
    } finally {
      await rm(making, { force: true });
    }
  }

  #pathOf(key: string): string {
    const parts = key.split('/');
    if (
      parts[0] === aside ||
      parts.some((part) => part === '' || part === '.' || part === '..' || /[\0\\]/.test(part))
    ) {
      throw new MillraceError('CONFIG_INVALID', `not a path of an object: ${JSON.stringify(key.slice(0, 200))}`);
    }
    return join(this.#root, ...parts);
  }

  #notePath(key: string, hash: string): string {
    return join(this.#root, aside, 'metadata', key, `${hash}.json`);
  }

  async #guard<T>(what: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw this.#errorOf(error, what);
    }
  }

  #errorOf(error: unknown, what: string): unknown {
    const { code } = error as NodeJS.ErrnoException;
    if (error instanceof MillraceError || typeof code !== 'string' || code === 'ABORT_ERR') return error;
    const reason = `${what}: ${(error as Error).message}`;
    if (denied.has(code)) {
      return new MillraceError('S3_DENIED', reason, {
        cause: error,
        remedy: `let this user write to ${this.#root}, on a file system with hard links (s3.directory, MILLRACE_S3_DIRECTORY)`,
      });
    }
    return new MillraceError('S3_UNREACHABLE', reason, {
      cause: error,
      remedy: `check the disk of ${this.#root} (s3.directory, MILLRACE_S3_DIRECTORY): is it full, is it mounted?`,
    });
  }

  #missing(path: string): MillraceError {
    return new MillraceError('S3_BUCKET_MISSING', `there is no directory ${path}`, {
      remedy: 'create or mount it, or correct s3.directory (MILLRACE_S3_DIRECTORY)',
    });
  }
}

const denied: ReadonlySet<string> = new Set([
  'EACCES',
  'EPERM',
  'EROFS',
  'ENOTSUP',
  'EOPNOTSUPP',
  'ENAMETOOLONG',
  'ENOTDIR',
  'EISDIR',
]);

/** Creates folders so that they outlive a power cut: each new one's entry is in the one above. */
async function makeFolder(path: string): Promise<void> {
  const first = await mkdir(path, { recursive: true });
  if (first === undefined) return;
  for (let folder = path; folder.length >= first.length; folder = dirname(folder)) await syncFolder(dirname(folder));
}

async function syncFolder(path: string): Promise<void> {
  const folder = await unlessMissing(open(path, 'r'));
  if (folder === undefined) return;
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

async function unlessMissing<T>(found: Promise<T>): Promise<T | undefined> {
  try {
    return await found;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
