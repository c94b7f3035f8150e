import type { Disk, DiskOperation, DiskRange, Disks } from '../state/stores/disk.ts';

/**
 * Disks in memory, by path: what was written outlives a `close` and a crashed owner, as files do. Who opens a path takes it from an owner that has
 * not closed it: that one has died, since a living one would have the lock. For tests and simulated processes.
 */
export class MemoryDisks implements Disks {
  readonly #contents = new Map<string, Map<string, Buffer>>();
  readonly #owners = new Map<string, Disk>();

  async open(path: string): Promise<Disk> {
    await this.#owners.get(path)?.close();
    const content = this.#contents.get(path) ?? new Map<string, Buffer>();
    this.#contents.set(path, content);
    const disk = new MemoryDisk(content);
    this.#owners.set(path, disk);
    return disk;
  }

  async wipe(path: string): Promise<void> {
    this.#contents.delete(path);
  }

  /** A copy of all files as they are now, as of a machine that is set back. */
  copy(): MemoryDisks {
    const copy = new MemoryDisks();
    for (const [path, content] of this.#contents) copy.#contents.set(path, new Map(content));
    return copy;
  }
}

class MemoryDisk implements Disk {
  readonly #content: Map<string, Buffer>;
  #closed = false;

  constructor(content: Map<string, Buffer>) {
    this.#content = content;
  }

  async getMany(keys: readonly string[]): Promise<readonly (Buffer | undefined)[]> {
    return keys.map((key) => this.getSync(key));
  }

  getSync(key: string): Buffer | undefined {
    this.#requireOpen();
    return this.#content.get(key);
  }

  async write(operations: readonly DiskOperation[]): Promise<void> {
    // A real write is a thread's work: others run meanwhile.
    await Promise.resolve();
    this.#requireOpen();
    for (const { key, value } of operations) {
      if (value === null) this.#content.delete(key);
      else this.#content.set(key, Buffer.from(value));
    }
  }

  async *range({ after, before, limit }: DiskRange): AsyncGenerator<readonly [string, Buffer]> {
    this.#requireOpen();
    const entries = [...this.#content].filter(([key]) => compare(key, after) > 0 && compare(key, before) < 0);
    yield* entries.sort(([a], [b]) => compare(a, b)).slice(0, limit);
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  #requireOpen(): void {
    if (this.#closed) throw new TypeError('the disk is closed');
  }
}

function compare(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a, 'utf8'), Buffer.from(b, 'utf8'));
}
