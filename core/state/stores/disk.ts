/**
 * What state on disk needs of an embedded database: sorted keys, atomic writes, and reads that may be synchronous. LevelDB in production
 * (level-disk.ts), memory in the simulation (core/testing). Not its job: knowing what is committed.
 */
export interface Disk {
  /** In the order of the keys. */
  getMany(keys: readonly string[]): Promise<readonly (Buffer | undefined)[]>;
  getSync(key: string): Buffer | undefined;
  /** All or nothing, also when the process dies. A null value deletes. */
  write(operations: readonly DiskOperation[]): Promise<void>;
  /** In the order of the keys, which is that of their UTF-8 bytes. */
  range(range: DiskRange): AsyncIterable<readonly [string, Buffer]>;
  close(): Promise<void>;
}

export interface DiskOperation {
  readonly key: string;
  readonly value: Buffer | null;
}

export interface DiskRange {
  /** Keys greater than this. */
  readonly after: string;
  /** Keys less than this. */
  readonly before: string;
  /** At most so many entries. Default: all. */
  readonly limit?: number;
}

export interface Disks {
  /** Opens the database of a path, creating it where there is none. @throws MillraceError STATE_DISK */
  open(path: string): Promise<Disk>;
  /** Deletes whatever is at the path, also what cannot be opened. @throws MillraceError STATE_DISK */
  wipe(path: string): Promise<void>;
}
