import type { Store, StoreDefinition } from '../../processor/define.ts';
import { type Change, changeKey, type KeyedState, type StoredEntry } from './keyed.ts';
import { ValueCodec } from './value.ts';

/** A store whose entries are all in memory, decoded. */
export class MemoryStore<V> implements Store<V>, KeyedState {
  readonly codec: ValueCodec<V>;
  readonly #entries = new Map<string, V>();
  /** In order; undefined when they have changed since they were last asked for. */
  #keys: readonly string[] | undefined;
  readonly #dirty = new Set<string>();
  /** Of those, keys that the changelog has no value of: deleted again before the commit, they leave no trace. */
  readonly #fresh = new Set<string>();
  readonly #ttl: bigint | undefined;
  /** With a time to live: when each key was set, in the order of these times once `#ordered`. Keys set before any log time never expire. */
  #setAt = new Map<string, bigint>();
  #ordered = true;
  #now = 0n;
  readonly #listable: boolean;

  constructor(definition: StoreDefinition<never>) {
    this.codec = new ValueCodec<V>(definition);
    this.#ttl = definition.ttlMs === undefined ? undefined : BigInt(definition.ttlMs) * 1000n;
    this.#listable = definition.disk === undefined;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(key: string): V | undefined {
    return this.#entries.get(key);
  }

  set(key: string, value: V): void {
    const before = this.#entries.size;
    this.#entries.set(key, value);
    if (this.#entries.size > before) {
      this.#keys = undefined;
      if (!this.#dirty.has(key)) this.#fresh.add(key);
    }
    this.#dirty.add(key);
    if (this.#ttl !== undefined) this.#time(key, this.#now);
  }

  delete(key: string): void {
    if (!this.#entries.delete(key)) return;
    this.#keys = undefined;
    this.#setAt.delete(key);
    if (this.#fresh.delete(key)) this.#dirty.delete(key);
    else this.#dirty.add(key);
  }

  *entries(): IterableIterator<[string, V]> {
    if (!this.#listable) throw new TypeError(`${this.codec.store} is a store on disk: it has no entries()`);
    this.#keys ??= [...this.#entries.keys()].sort();
    // The keys as they are now: what is deleted on the way is left out, what is added is not visited.
    for (const key of this.#keys) {
      const value = this.#entries.get(key);
      if (value !== undefined) yield [key, value];
    }
  }

  advance(logTime: bigint): void {
    this.#now = logTime;
    const ttl = this.#ttl;
    if (ttl === undefined) return;
    if (!this.#ordered) this.#order();
    for (const [key, setAt] of this.#setAt) {
      if (setAt + ttl > logTime) break;
      this.delete(key);
    }
  }

  takeChanges(): Change[] {
    const changes: Change[] = [];
    for (const key of this.#dirty) {
      const value = this.#entries.get(key);
      const bytes = value === undefined ? null : this.codec.encode(key, value, this.#timeOf(key));
      changes.push({ key: changeKey(this.codec.store, key), value: bytes });
    }
    this.#dirty.clear();
    this.#fresh.clear();
    return changes;
  }

  /** @param writtenAt log time of the changelog record: the set time of a value that has none. */
  load(key: string, bytes: Buffer | null, writtenAt: bigint): void {
    this.#keys = undefined;
    if (bytes === null) {
      this.#entries.delete(key);
      this.#setAt.delete(key);
      return;
    }
    const { value, setAt = writtenAt } = this.codec.decode(key, bytes);
    this.#entries.set(key, value);
    if (this.#ttl === undefined) return;
    this.#time(key, setAt);
    this.#ordered = false;
  }

  /** A changelog value as a copy of the changelog has it. */
  copied(key: string, bytes: Buffer | null, writtenAt: bigint): Buffer | null {
    return bytes === null || this.#ttl === undefined ? bytes : this.codec.timed(key, bytes, writtenAt);
  }

  lookup(key: string): StoredEntry | undefined {
    const value = this.#entries.get(key);
    return value === undefined ? undefined : { key, value, pending: this.#dirty.has(key) };
  }

  *list(after: string): IterableIterator<StoredEntry> {
    const keys = [...this.#entries.keys()].filter((key) => key > after).sort();
    for (const key of keys) {
      const entry = this.lookup(key);
      if (entry !== undefined) yield entry;
    }
  }

  *encoded(): IterableIterator<Change> {
    for (const [key, value] of this.#entries) {
      yield { key: changeKey(this.codec.store, key), value: this.codec.encode(key, value, this.#timeOf(key)) };
    }
  }

  #time(key: string, at: bigint): void {
    // Set anew, the key moves to the end: the map stays in the order of times.
    this.#setAt.delete(key);
    if (at > 0n) this.#setAt.set(key, at);
  }

  /** Undefined without a time to live. */
  #timeOf(key: string): bigint | undefined {
    return this.#ttl === undefined ? undefined : (this.#setAt.get(key) ?? 0n);
  }

  #order(): void {
    this.#setAt = new Map([...this.#setAt].sort(([, a], [, b]) => (a < b ? -1 : a > b ? 1 : 0)));
    this.#ordered = true;
  }
}
