import type { Store } from '../../processor/define.ts';
import type { Stores } from './stores.ts';
import type { ValueCodec } from './value.ts';

/**
 * The stores of a task with the changes of one record held apart: all of them are kept, or none. A fold works on copies, so an object that it
 * has changed in place leaves no trace either.
 *
 * The price is one encoding and decoding for each value that a record reads or sets.
 */
export class Staging {
  readonly #stores: Stores;
  readonly #staged = new Map<string, StagedStore<unknown>>();

  constructor(stores: Stores) {
    this.#stores = stores;
  }

  store<V>(name: string): Store<V> {
    let staged = this.#staged.get(name);
    if (staged === undefined) {
      staged = new StagedStore<unknown>(this.#stores.store<unknown>(name), this.#stores.codec(name));
      this.#staged.set(name, staged);
    }
    return staged as unknown as Store<V>;
  }

  /** Whether anything was set or deleted since the last `keep` or `drop`. */
  get changed(): boolean {
    for (const store of this.#staged.values()) if (store.changed) return true;
    return false;
  }

  /** @throws MillraceError ENCODE_FAILED for a value that is not of its store's schema; then nothing is kept yet. */
  keep(): void {
    const changes = [...this.#staged.values()].map((store) => [store, store.encoded()] as const);
    for (const [store, encoded] of changes) store.keep(encoded);
  }

  drop(): void {
    for (const store of this.#staged.values()) store.drop();
  }
}

/** A value that a record has read or changed; undefined is deleted. */
interface Working<V> {
  readonly value: V | undefined;
  readonly changed: boolean;
}

class StagedStore<V> implements Store<V> {
  readonly #base: Store<V>;
  readonly #codec: ValueCodec<V>;
  readonly #working = new Map<string, Working<V>>();

  constructor(base: Store<V>, codec: ValueCodec<V>) {
    this.#base = base;
    this.#codec = codec;
  }

  get size(): number {
    let size = this.#base.size;
    for (const [key, { value, changed }] of this.#working) {
      if (!changed) continue;
      size += (value === undefined ? 0 : 1) - (this.#base.get(key) === undefined ? 0 : 1);
    }
    return size;
  }

  get changed(): boolean {
    for (const { changed } of this.#working.values()) if (changed) return true;
    return false;
  }

  get(key: string): V | undefined {
    const working = this.#working.get(key);
    if (working !== undefined) return working.value;
    const kept = this.#base.get(key);
    if (kept === undefined) return undefined;
    const value = this.#codec.decode(key, this.#codec.encode(key, kept)).value;
    this.#working.set(key, { value, changed: false });
    return value;
  }

  set(key: string, value: V): void {
    this.#working.set(key, { value, changed: true });
  }

  delete(key: string): void {
    if (this.get(key) !== undefined) this.#working.set(key, { value: undefined, changed: true });
  }

  *entries(): IterableIterator<[string, V]> {
    const keys = new Set<string>();
    for (const [key] of this.#base.entries()) keys.add(key);
    for (const [key, { changed }] of this.#working) if (changed) keys.add(key);
    for (const key of [...keys].sort()) {
      const value = this.get(key);
      if (value !== undefined) yield [key, value];
    }
  }

  /** Encoded changes, null for a deleted key. */
  encoded(): ReadonlyMap<string, Buffer | null> {
    const encoded = new Map<string, Buffer | null>();
    for (const [key, { value, changed }] of this.#working) {
      if (changed) encoded.set(key, value === undefined ? null : this.#codec.encode(key, value));
    }
    return encoded;
  }

  /** Takes what `encoded` gave: values of its own, which the fold cannot change afterwards. */
  keep(encoded: ReadonlyMap<string, Buffer | null>): void {
    this.#working.clear();
    for (const [key, bytes] of encoded) {
      if (bytes === null) this.#base.delete(key);
      else this.#base.set(key, this.#codec.decode(key, bytes).value);
    }
  }

  drop(): void {
    this.#working.clear();
  }
}
