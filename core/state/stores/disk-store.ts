import type { InputRecord, Store, StoreDefinition } from '../../processor/define.ts';
import type { Disk, DiskOperation } from './disk.ts';
import { type Change, changeKey, type KeyedState, type StoredEntry } from './keyed.ts';
import { ValueCodec } from './value.ts';

/** Prefixes of a task's database: its copy of the changelog, and what is due when. */
const entryPrefix = 'd';
const duePrefix = 't';
const sweepLimit = 500;
/** What was read ahead is dropped with each batch; without batches, when it has grown to so many entries. */
const mostAhead = 10_000;

interface Entry<V> {
  /** Undefined: there is none. */
  readonly value: V | undefined;
  readonly setAt: bigint;
  /** The set time under which the disk will have this key's due entry when this change is written there; undefined for none. */
  readonly due?: bigint | undefined;
}

/** What a store on disk writes for one commit. */
type Generation<V> = ReadonlyMap<string, Entry<V> & { readonly bytes: Buffer | null }>;

/**
 * A store whose entries are on disk. A fold sees changes at once: those that are not on disk yet lie over it, in up to three layers (since the
 * last commit was begun; in the transaction in flight; what was read ahead). The disk gets a change only when its transaction is committed.
 *
 * `fetch` reads the keys of a batch ahead. A key that nobody named is read synchronously: right, but a wait for the disk.
 *
 * An entry that has outlived its time to live is gone at once for a fold; its removal (tombstone, room on disk) follows in portions, so that
 * `size`, which counts what is not removed yet, is for operators.
 */
export class DiskStore<V> implements Store<V>, KeyedState {
  readonly codec: ValueCodec<V>;
  readonly #disk: Disk;
  readonly #keysOf: (record: InputRecord<never>) => readonly string[];
  readonly #ttl: bigint | undefined;
  #active = new Map<string, Entry<V>>();
  /** Of `#active`: keys that neither the disk nor the changelog has a value of. Deleted again before the commit, they leave no trace. */
  readonly #fresh = new Set<string>();
  /** Taken, not committed; the oldest first. */
  readonly #flying: Generation<V>[] = [];
  #ahead = new Map<string, Entry<V>>();
  #size = 0;
  /** Size as of the oldest generation's commit, to be written with it. */
  readonly #sizes: number[] = [];
  #now = 0n;
  #sweptTo: string;
  /** Reads that `fetch` has not done ahead. */
  misses = 0;

  constructor(definition: StoreDefinition<never>, disk: Disk) {
    const { name, ttlMs, disk: options } = definition;
    if (options === undefined) throw new TypeError(`store ${name} is not on disk`);
    this.codec = new ValueCodec<V>(definition);
    this.#keysOf = options.keys;
    this.#disk = disk;
    this.#ttl = ttlMs === undefined ? undefined : BigInt(ttlMs) * 1000n;
    this.#sweptTo = `${duePrefix}${name}\u0000`;
  }

  /** Entries, with those that have expired and are not removed yet. */
  get size(): number {
    return this.#size;
  }

  get(key: string): V | undefined {
    const entry = this.#find(key);
    return this.#expired(entry) ? undefined : entry.value;
  }

  set(key: string, value: V): void {
    const before = this.#find(key);
    if (before.value === undefined) {
      this.#size++;
      if (!this.#active.has(key)) this.#fresh.add(key);
    }
    this.#active.set(key, { value, setAt: this.#now, due: this.#dueOnDisk(key, before) });
  }

  delete(key: string): void {
    const before = this.#find(key);
    if (before.value === undefined) return;
    this.#size--;
    if (this.#fresh.delete(key)) this.#active.delete(key);
    else this.#active.set(key, { value: undefined, setAt: 0n, due: this.#dueOnDisk(key, before) });
  }

  entries(): never {
    throw new TypeError(`${this.codec.store} is a store on disk: it has no entries()`);
  }

  advance(logTime: bigint): void {
    this.#now = logTime;
  }

  keysOf(record: InputRecord<unknown>): readonly string[] {
    return this.#keysOf(record as InputRecord<never>);
  }

  /** Reads what is not over the disk already, so that folding these keys need not wait; then removes some of what has expired. */
  async fetch(keys: Iterable<string>): Promise<void> {
    this.#ahead = new Map();
    await this.#readAhead(keys);
    if (this.#ttl !== undefined) await this.#sweep(this.#ttl);
  }

  takeChanges(): Change[] {
    const generation = new Map<string, Entry<V> & { bytes: Buffer | null }>();
    const changes: Change[] = [];
    for (const [key, entry] of this.#active) {
      const { value, setAt } = entry;
      const bytes =
        value === undefined ? null : this.codec.encode(key, value, this.#ttl === undefined ? undefined : setAt);
      generation.set(key, { ...entry, bytes });
      changes.push({ key: changeKey(this.codec.store, key), value: bytes });
    }
    this.#flying.push(generation);
    this.#sizes.push(this.#size);
    this.#active = new Map();
    this.#fresh.clear();
    return changes;
  }

  /** What the oldest taken changes are on disk, now that they are committed; and the size that is true with them. */
  committing(): { readonly operations: DiskOperation[]; readonly size: number } {
    const operations: DiskOperation[] = [];
    for (const [key, { bytes, setAt, due }] of this.#flying[0] ?? []) {
      operations.push({ key: this.#entryKey(key), value: bytes });
      if (this.#ttl === undefined) continue;
      if (due !== undefined) operations.push({ key: this.#dueKey(due, key), value: null });
      if (bytes !== null && setAt > 0n) operations.push({ key: this.#dueKey(setAt, key), value: empty });
    }
    return { operations, size: this.#sizes[0] ?? this.#size };
  }

  /** They are on disk: the layer over it can go. What a batch under way may want is kept for it. */
  committed(): void {
    this.#sizes.shift();
    if (this.#ahead.size > mostAhead) this.#ahead = new Map();
    for (const [key, entry] of this.#flying.shift() ?? []) this.#ahead.set(key, entry);
  }

  /** Operations that bring the disk to the state of these changelog entries, the last of each key. */
  async loading(
    entries: ReadonlyMap<string, { readonly bytes: Buffer | null; readonly writtenAt: bigint }>,
  ): Promise<DiskOperation[]> {
    const keys = [...entries.keys()];
    const before = await this.#disk.getMany(keys.map((key) => this.#entryKey(key)));
    const operations: DiskOperation[] = [];
    for (const [i, [key, { bytes, writtenAt }]] of [...entries].entries()) {
      const old = before[i];
      this.#size += (bytes === null ? 0 : 1) - (old === undefined ? 0 : 1);
      const stored = bytes === null || this.#ttl === undefined ? bytes : this.codec.timed(key, bytes, writtenAt);
      if (stored !== null) this.codec.check(key, stored);
      operations.push({ key: this.#entryKey(key), value: stored });
      if (this.#ttl === undefined) continue;
      const due = old === undefined ? undefined : this.codec.check(key, old).setAt;
      if (due !== undefined) operations.push({ key: this.#dueKey(due, key), value: null });
      const setAt = stored === null ? undefined : this.codec.check(key, stored).setAt;
      if (setAt !== undefined && setAt > 0n) operations.push({ key: this.#dueKey(setAt, key), value: empty });
    }
    return operations;
  }

  /** The size that the disk was left with. */
  resume(size: number): void {
    this.#size = size;
  }

  lookup(key: string): StoredEntry | undefined {
    const entry = this.#over(key) ?? this.#read(key, this.#disk.getSync(this.#entryKey(key)));
    if (entry.value === undefined || this.#expired(entry)) return undefined;
    return { key, value: entry.value, pending: this.#active.has(key) || this.#flying.some((each) => each.has(key)) };
  }

  /** Keys that are on disk, in their order: what is not committed yet is looked up, but not listed. */
  async *list(after: string): AsyncGenerator<StoredEntry> {
    const prefix = this.#entryKey('');
    for await (const [key] of this.#disk.range({ after: prefix + after, before: `${prefix}\u{10FFFF}` })) {
      const entry = this.lookup(key.slice(prefix.length));
      if (entry !== undefined) yield entry;
    }
  }

  #find(key: string): Entry<V> {
    const over = this.#over(key);
    if (over !== undefined) return over;
    this.misses++;
    const entry = this.#read(key, this.#disk.getSync(this.#entryKey(key)));
    this.#ahead.set(key, entry);
    return entry;
  }

  #over(key: string): Entry<V> | undefined {
    const active = this.#active.get(key);
    if (active !== undefined) return active;
    for (let i = this.#flying.length - 1; i >= 0; i--) {
      const flying = this.#flying[i]?.get(key);
      if (flying !== undefined) return flying;
    }
    return this.#ahead.get(key);
  }

  #read(key: string, bytes: Buffer | undefined): Entry<V> {
    if (bytes === undefined) return { value: undefined, setAt: 0n };
    const { value, setAt = 0n } = this.codec.decode(key, bytes);
    return { value, setAt };
  }

  #expired({ setAt }: Entry<V>): boolean {
    return this.#ttl !== undefined && setAt > 0n && setAt + this.#ttl <= this.#now;
  }

  /** Under which set time the disk has, or will have by then, this key's due entry. */
  #dueOnDisk(key: string, before: Entry<V>): bigint | undefined {
    if (this.#ttl === undefined) return undefined;
    const active = this.#active.get(key);
    if (active !== undefined) return active.due;
    return before.value === undefined || before.setAt === 0n ? undefined : before.setAt;
  }

  /** Deletes entries that have expired; the disk is rid of them with the next commit. */
  async #sweep(ttl: bigint): Promise<void> {
    if (this.#now < ttl) return;
    const before = this.#dueKey(this.#now - ttl + 1n, '');
    if (before <= this.#sweptTo) return;
    const due: string[] = [];
    for await (const [dueKey] of this.#disk.range({ after: this.#sweptTo, before, limit: sweepLimit })) {
      this.#sweptTo = dueKey;
      due.push(dueKey.slice(duePrefix.length + this.codec.store.length + 1 + timeDigits));
    }
    await this.#readAhead(due);
    for (const key of due) if (this.#expired(this.#find(key))) this.delete(key);
  }

  async #readAhead(keys: Iterable<string>): Promise<void> {
    const missing = [...new Set(keys)].filter((key) => this.#over(key) === undefined);
    if (missing.length === 0) return;
    const found = await this.#disk.getMany(missing.map((key) => this.#entryKey(key)));
    for (const [i, key] of missing.entries()) this.#ahead.set(key, this.#read(key, found[i]));
  }

  #entryKey(key: string): string {
    return `${entryPrefix}${this.codec.store}\u0000${key}`;
  }

  #dueKey(setAt: bigint, key: string): string {
    return `${duePrefix}${this.codec.store}\u0000${setAt.toString().padStart(timeDigits, '0')}${key}`;
  }
}

const timeDigits = 19;
const empty = Buffer.alloc(0);
