import { randomUUID } from 'node:crypto';
import { mkdir, readdir, rename, rm, stat, statfs, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { MillraceError } from '../../base/errors.ts';
import { inLanes } from '../../lanes.ts';
import { sha256Of } from '../../values/sha256.ts';
import { damaged } from '../damaged.ts';
import type { ListedObject } from '../listing/objects.ts';
import type { ObjectStore } from '../s3/store.ts';
import { pathColumns } from './views.ts';

export interface CopiesOptions {
  readonly store: Pick<ObjectStore, 'get'>;
  /** Folder of the copies, made when it is missing. Several processes may share it. */
  readonly dir: string;
  /** Bytes that `prune` leaves. Default 4 GiB. */
  readonly limitBytes?: number;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

export interface FetchOptions {
  readonly signal?: AbortSignal;
  /** Told before the first and after each fetched object, when there is one to fetch. */
  readonly onProgress?: (progress: FetchProgress) => void;
}

export interface FetchProgress {
  readonly objects: number;
  readonly totalObjects: number;
  readonly bytes: bigint;
  readonly totalBytes: bigint;
}

export interface Copy {
  readonly object: ListedObject;
  readonly path: string;
}

/** Objects are whole in memory while they are fetched. */
const lanes = 4;
const defaultLimitBytes = 4 * 1024 ** 3;
/** Another process may be reading what was used so recently. */
const inUseMs = 3_600_000;
const spareBytes = 256n * 1024n ** 2n;

/**
 * Copies of listed objects on local disk, by the SHA-256 of their records: an object never changes, so a copy is good for ever. They lie
 * under `year=…/month=…/day=…` as the objects do, for readers that take columns from the path.
 */
export class Copies {
  readonly #store: Pick<ObjectStore, 'get'>;
  readonly #dir: string;
  readonly #limitBytes: number;
  readonly #now: () => number;

  constructor(options: CopiesOptions) {
    this.#store = options.store;
    this.#dir = options.dir;
    this.#limitBytes = options.limitBytes ?? defaultLimitBytes;
    this.#now = options.now ?? Date.now;
  }

  /**
   * Local files with exactly the objects' bytes, in their order; those that are not here are fetched and checked.
   *
   * @throws MillraceError ARCHIVE_DAMAGED for an object that is gone or has other bytes; COPIES_FULL before anything is fetched when the
   *   disk has no room; what `ObjectStore` throws.
   */
  async fetch(objects: readonly ListedObject[], options: FetchOptions = {}): Promise<readonly Copy[]> {
    const copies = objects.map((object) => ({ object, path: this.#pathOf(object) }));
    const missing: Copy[] = [];
    for (const copy of copies) if (!(await this.#use(copy))) missing.push(copy);
    if (missing.length > 0) await this.#fetchAll(missing, options);
    return copies;
  }

  /** Removes copies beyond the limit, those first that were not used for longest; never one that was used within the last hour. */
  async prune(): Promise<void> {
    const old: { path: string; bytes: number; usedMs: number }[] = [];
    let total = 0;
    const entries = await readdir(this.#dir, { recursive: true, withFileTypes: true }).catch(() => []);
    for (const entry of entries) {
      if (!entry.isFile()) continue;
      const path = join(entry.parentPath, entry.name);
      const found = await statOf(path);
      if (found === undefined) continue;
      total += found.size;
      if (this.#now() - found.mtimeMs < inUseMs) continue;
      // A file of a process that was killed while it fetched.
      const usedMs = entry.name.endsWith(partial) ? 0 : found.mtimeMs;
      old.push({ path, bytes: found.size, usedMs });
    }
    old.sort((a, b) => a.usedMs - b.usedMs);
    for (const { path, bytes, usedMs } of old) {
      if (total <= this.#limitBytes && usedMs > 0) break;
      await rm(path, { force: true });
      total -= bytes;
    }
  }

  #pathOf({ key, day, sha256 }: ListedObject): string {
    // The record decides a path here: only what it can be.
    if (!/^\d{4}-\d\d-\d\d$/.test(day) || !/^[0-9a-f]{64}$/.test(sha256)) {
      throw damaged(`the record of ${key} has no day or no SHA-256`);
    }
    const parts = day.split('-').map((part, i) => `${pathColumns[i]}=${part}`);
    return join(this.#dir, ...parts, `${sha256}.parquet`);
  }

  /** Whether the copy is here; if so, it was used now. */
  async #use({ object, path }: Copy): Promise<boolean> {
    const found = await statOf(path);
    if (found === undefined || BigInt(found.size) !== object.bytes) return false;
    const now = new Date(this.#now());
    return utimes(path, now, now).then(
      () => true,
      () => false,
    );
  }

  async #fetchAll(missing: readonly Copy[], { signal, onProgress }: FetchOptions): Promise<void> {
    const totalBytes = missing.reduce((sum, { object }) => sum + object.bytes, 0n);
    await this.#requireRoom(totalBytes);
    let [objects, bytes] = [0, 0n];
    const report = (): void => onProgress?.({ objects, totalObjects: missing.length, bytes, totalBytes });
    report();
    await inLanes(missing, lanes, async (copy) => {
      signal?.throwIfAborted();
      await this.#fetch(copy, signal);
      objects++;
      bytes += copy.object.bytes;
      report();
    });
  }

  async #fetch({ object, path }: Copy, signal: AbortSignal | undefined): Promise<void> {
    const stored = await this.#store.get(object.key, signal);
    if (stored === undefined) throw damaged(`${object.key} is listed but not in the bucket`);
    const sha256 = sha256Of(stored.bytes);
    if (sha256 !== object.sha256) {
      throw damaged(`${object.key} has SHA-256 ${sha256}, its record says ${object.sha256}`);
    }
    await mkdir(dirname(path), { recursive: true });
    // Under its own name only when it is whole.
    const work = `${path}.${randomUUID()}${partial}`;
    try {
      await writeFile(work, stored.bytes);
      await rename(work, path);
    } finally {
      await rm(work, { force: true });
    }
  }

  async #requireRoom(bytes: bigint): Promise<void> {
    await mkdir(this.#dir, { recursive: true });
    const { bavail, bsize } = await statfs(this.#dir, { bigint: true });
    const free = bavail * bsize;
    if (bytes + spareBytes <= free) return;
    throw new MillraceError(
      'COPIES_FULL',
      `${megabytes(bytes)} are to be fetched, ${this.#dir} has ${megabytes(free)}`,
      {
        remedy: 'read fewer days (--day, --from, --to), or point MILLRACE_CACHE at a larger disk',
      },
    );
  }
}

const partial = '.part';

async function statOf(path: string): Promise<{ size: number; mtimeMs: number } | undefined> {
  return stat(path).catch(() => undefined);
}

function megabytes(bytes: bigint): string {
  return `${(bytes / 1_000_000n).toLocaleString('en-US')} MB`;
}
