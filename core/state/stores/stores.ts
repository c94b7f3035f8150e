import type { InputRecord, Store, StoreDefinition } from '../../processor/define.ts';
import type { Disk, DiskOperation } from './disk.ts';
import { DiskStore } from './disk-store.ts';
import { type Change, type KeyedState, parseKey, type StoredEntry } from './keyed.ts';
import { MemoryStore } from './memory-store.ts';
import { corruptState, type ValueCodec } from './value.ts';

/** A changelog entry that is being restored. */
export interface Restored {
  /** `parseKey` has taken it apart. */
  readonly store: string;
  readonly key: string;
  readonly bytes: Buffer | null;
  /** Log time of its record, microseconds. */
  readonly writtenAt: bigint;
}

/** What has been committed, as the local copy of the changelog takes it. */
export interface Committing {
  readonly operations: readonly DiskOperation[];
  /** Entries of each store on disk, by name. */
  readonly sizes: Readonly<Record<string, number>>;
}

type AnyStore = MemoryStore<unknown> | DiskStore<unknown>;

/**
 * All keyed state of one task. Changes are collected per key and encoded once per commit, so a window that took a thousand trades
 * since the last commit is one changelog record. Thrown away as a whole after a failed commit.
 */
export class Stores {
  readonly #stores = new Map<string, AnyStore>();
  readonly #memory: MemoryStore<unknown>[] = [];
  readonly #disk: DiskStore<unknown>[] = [];
  /** With a local copy: what the stores in memory have given to transactions that are not committed; the oldest first. */
  readonly #flying: (readonly DiskOperation[])[] = [];

  /** @param disk the local copy. Without one, stores that are declared to be on disk are in memory: in tests and replays. */
  constructor(definitions: readonly StoreDefinition<never>[], disk?: Disk) {
    for (const definition of definitions) {
      if (definition.disk !== undefined && disk !== undefined) {
        const store = new DiskStore<unknown>(definition, disk);
        this.#disk.push(store);
        this.#stores.set(definition.name, store);
      } else {
        const store = new MemoryStore<unknown>(definition);
        this.#memory.push(store);
        this.#stores.set(definition.name, store);
      }
    }
  }

  get size(): number {
    let size = 0;
    for (const store of this.#stores.values()) size += store.size;
    return size;
  }

  get names(): readonly string[] {
    return [...this.#stores.keys()];
  }

  /** Whether all of it is in memory: only then can it be written to a snapshot. */
  get inMemory(): boolean {
    return this.#disk.length === 0;
  }

  /** Whether records are to be given to `fetch` before they are folded. */
  get fetches(): boolean {
    return this.#disk.length > 0;
  }

  /** Reads of the disk that a fold had to wait for, because `keys` of the declaration did not name them. */
  get misses(): number {
    return this.#disk.reduce((sum, store) => sum + store.misses, 0);
  }

  store<V>(name: string): Store<V> {
    return this.#named(name) as Store<V>;
  }

  /** Log time has reached this many microseconds: what has outlived its time to live is gone. */
  advance(logTime: bigint): void {
    for (const store of this.#stores.values()) store.advance(logTime);
  }

  /** Reads ahead what these records need of the stores on disk. Once per batch, before its first record is folded. */
  async fetch(records: readonly InputRecord<unknown>[]): Promise<void> {
    for (const store of this.#disk) await store.fetch(keysOf(store, records));
  }

  /**
   * Takes the changes since the last call, encoded now: the fold may go on while they are being written. When they are committed `committing`
   * and `committed` follow; when they are not, the stores are thrown away.
   */
  takeChanges(): Change[] {
    const changes = this.#memory.flatMap((store) => store.takeChanges());
    if (this.#disk.length === 0) return changes;
    this.#flying.push(changes.map(({ key, value }) => ({ key: `d${key.toString('utf8')}`, value })));
    for (const store of this.#disk) for (const change of store.takeChanges()) changes.push(change);
    return changes;
  }

  /** What the local copy has to take, now that the oldest changes are committed. */
  committing(): Committing {
    const operations = [...(this.#flying[0] ?? [])];
    const sizes: Record<string, number> = {};
    for (const store of this.#disk) {
      const committing = store.committing();
      for (const operation of committing.operations) operations.push(operation);
      sizes[store.codec.store] = committing.size;
    }
    return { operations, sizes };
  }

  /** The local copy has taken them. */
  committed(): void {
    this.#flying.shift();
    for (const store of this.#disk) store.committed();
  }

  /**
   * Loads one entry of a changelog or snapshot into a store in memory.
   *
   * @param writtenAt log time of the entry's record, microseconds: the set time of values that have none.
   * @throws MillraceError STATE_CORRUPT, STATE_VERSION for an entry that this version cannot read.
   */
  load(key: Buffer, value: Buffer | null, writtenAt = 0n): void {
    const { store, key: name } = this.parse(key.toString('utf8'));
    (this.#named(store) as MemoryStore<unknown>).load(name, value, writtenAt);
  }

  /** What the local copy has to take so that it holds these entries, in this order. Those in memory are loaded at once. */
  async loading(entries: readonly Restored[]): Promise<Committing> {
    const operations: DiskOperation[] = [];
    const sizes: Record<string, number> = {};
    const newest = new Map(this.#disk.map((store) => [store.codec.store, new Map<string, Restored>()]));
    for (const entry of entries) {
      const { store, key, bytes, writtenAt } = entry;
      const onDisk = newest.get(store);
      if (onDisk !== undefined) {
        onDisk.set(key, entry);
        continue;
      }
      const memory = this.#named(store) as MemoryStore<unknown>;
      memory.load(key, bytes, writtenAt);
      operations.push({ key: `d${store}\u0000${key}`, value: memory.copied(key, bytes, writtenAt) });
    }
    for (const store of this.#disk) {
      const entriesOf = newest.get(store.codec.store);
      if (entriesOf !== undefined && entriesOf.size > 0) {
        for (const operation of await store.loading(entriesOf)) operations.push(operation);
      }
      sizes[store.codec.store] = store.size;
    }
    return { operations, sizes };
  }

  /** The local copy goes on from where it was left. */
  resume(sizes: Readonly<Record<string, number>>): void {
    for (const store of this.#disk) store.resume(sizes[store.codec.store] ?? 0);
  }

  /** @throws MillraceError STATE_CORRUPT for a key of no store of this version. */
  parse(text: string): { readonly store: string; readonly key: string } {
    const parsed = parseKey(text);
    if (parsed === undefined || !this.#stores.has(parsed.store)) {
      throw corruptState(`entry ${JSON.stringify(text)}`, 'no such store in this version of the processor');
    }
    return parsed;
  }

  /** Whether a store is kept in memory. */
  holds(name: string): boolean {
    return this.#stores.get(name) instanceof MemoryStore;
  }

  /** All entries as the changelog has them. Only with everything in memory. */
  *encoded(): IterableIterator<Change> {
    for (const store of this.#memory) yield* store.encoded();
  }

  /** For people: an entry as it is now, changes that are not committed included. */
  lookup(name: string, key: string): StoredEntry | undefined {
    return (this.#named(name) as KeyedState).lookup(key);
  }

  /** For people: entries whose keys are greater than `after`, in order. */
  list(name: string, after: string): Iterable<StoredEntry> | AsyncIterable<StoredEntry> {
    return this.#named(name).list(after);
  }

  sizeOf(name: string): number {
    return this.#named(name).size;
  }

  codec(name: string): ValueCodec<unknown> {
    return this.#named(name).codec;
  }

  #named(name: string): AnyStore {
    const found = this.#stores.get(name);
    if (found === undefined) throw new TypeError(`no store ${JSON.stringify(name)} is declared`);
    return found;
  }
}

function* keysOf(store: DiskStore<unknown>, records: readonly InputRecord<unknown>[]): Iterable<string> {
  for (const record of records) yield* store.keysOf(record);
}
