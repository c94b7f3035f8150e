import { mkdir, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ClassicLevel } from 'classic-level';
import { type Clock, wallClock } from '../../base/clock.ts';
import { MillraceError } from '../../base/errors.ts';
import type { Disk, DiskOperation, DiskRange, Disks } from './disk.ts';

export interface LevelOptions {
  /** Bytes that LevelDB caches of its blocks, per task. Default 8 MiB. */
  readonly cacheBytes?: number;
  /** Bytes that LevelDB gathers in memory before it writes a sorted file, per task. Default 8 MiB. */
  readonly writeBufferBytes?: number;
  /** How long to wait for an earlier owner in this or another process to let go of the directory, milliseconds. Default 5000. */
  readonly lockWaitMs?: number;
  readonly clock?: Clock;
}

const lockRetryMs = 50;
const rangePortion = 1_000;
const asBuffers = { valueEncoding: 'buffer' } as const;

/** LevelDB, one database for each task. A crash of the process loses nothing that was written; one of the machine loses at most the newest writes, in order. */
export class LevelDisks implements Disks {
  readonly #options: LevelOptions;

  constructor(options: LevelOptions = {}) {
    this.#options = options;
  }

  async open(path: string): Promise<Disk> {
    const { cacheBytes = 8 << 20, writeBufferBytes = 8 << 20, lockWaitMs = 5_000, clock = wallClock } = this.#options;
    const giveUpAt = clock.now() + lockWaitMs;
    await mkdir(dirname(path), { recursive: true }).catch((error: unknown) => fail(path, 'cannot be created', error));
    for (;;) {
      const level = new ClassicLevel<string, Buffer>(path, { keyEncoding: 'utf8', ...asBuffers });
      try {
        await level.open({ cacheSize: cacheBytes, writeBufferSize: writeBufferBytes, maxOpenFiles: 256 });
        return new LevelDisk(path, level);
      } catch (error) {
        if (isDamage(error)) return await this.#openAnew(path);
        if (!isLocked(error)) return fail(path, 'cannot be opened', error);
        if (clock.now() >= giveUpAt) return fail(path, 'is in use by another task or process', error);
        await clock.sleep(lockRetryMs);
      }
    }
  }

  /** Damaged files are of no use: what they held is in the changelog. */
  async #openAnew(path: string): Promise<Disk> {
    await this.wipe(path);
    const level = new ClassicLevel<string, Buffer>(path, { keyEncoding: 'utf8', ...asBuffers });
    await level.open().catch((error: unknown) => fail(path, 'cannot be opened', error));
    return new LevelDisk(path, level);
  }

  async wipe(path: string): Promise<void> {
    await rm(path, { recursive: true, force: true }).catch((error: unknown) => fail(path, 'cannot be deleted', error));
  }
}

class LevelDisk implements Disk {
  readonly #path: string;
  readonly #level: ClassicLevel<string, Buffer>;
  #damaged = false;

  constructor(path: string, level: ClassicLevel<string, Buffer>) {
    this.#path = path;
    this.#level = level;
  }

  getMany(keys: readonly string[]): Promise<readonly (Buffer | undefined)[]> {
    return this.#level.getMany([...keys]).catch((error: unknown) => this.#failed('cannot be read', error));
  }

  getSync(key: string): Buffer | undefined {
    try {
      return this.#level.getSync(key);
    } catch (error) {
      return this.#failed('cannot be read', error);
    }
  }

  async write(operations: readonly DiskOperation[]): Promise<void> {
    try {
      const batch = this.#level.batch();
      for (const { key, value } of operations) {
        if (value === null) batch.del(key);
        else batch.put(key, value);
      }
      await batch.write();
    } catch (error) {
      this.#failed('cannot be written', error);
    }
  }

  async *range({ after, before, limit = -1 }: DiskRange): AsyncGenerator<readonly [string, Buffer]> {
    const iterator = this.#level.iterator({ gt: after, lt: before, limit, highWaterMarkBytes: 1 << 20 });
    try {
      for (;;) {
        const entries = await iterator.nextv(rangePortion);
        if (entries.length === 0) return;
        yield* entries;
      }
    } catch (error) {
      this.#failed('cannot be read', error);
    } finally {
      await iterator.close();
    }
  }

  async close(): Promise<void> {
    await this.#level.close();
    if (this.#damaged) await rm(this.#path, { recursive: true, force: true });
  }

  /** Files that prove damaged are deleted with the close: the next owner rebuilds them from the changelog. */
  #failed(what: string, error: unknown): never {
    if (isDamage(error)) this.#damaged = true;
    return fail(this.#path, what, error);
  }
}

function fail(path: string, what: string, cause: unknown): never {
  if (cause instanceof MillraceError) throw cause;
  throw new MillraceError('STATE_DISK', `the state in ${path} ${what}: ${messageOf(cause)}`, {
    cause,
    remedy: 'check the disk’s room and rights; what is in the directory can be rebuilt from the changelog',
  });
}

/** What LevelDB threw; its own words are in the cause of the error that says that opening failed. */
interface Thrown {
  readonly code?: string;
  readonly message?: string;
  readonly cause?: Thrown;
}

/** Files that contradict themselves, or of which some are missing: LevelDB says so in its words, not always in a code. */
function isDamage(thrown: unknown): boolean {
  const { code, message = '', cause } = (thrown ?? {}) as Thrown;
  if (code === 'LEVEL_CORRUPTION' || /^Corruption|No such file/.test(message)) return true;
  return cause !== undefined && isDamage(cause);
}

function isLocked(thrown: unknown): boolean {
  const { code, cause } = (thrown ?? {}) as Thrown;
  return code === 'LEVEL_LOCKED' || (cause !== undefined && isLocked(cause));
}

function messageOf(thrown: unknown): string {
  const { message = String(thrown), cause } = (thrown ?? {}) as Thrown;
  return cause === undefined ? message : `${message} (${messageOf(cause)})`;
}
