import { avroType } from '../avro/types.ts';
import { MillraceError } from '../errors.ts';
import type { Store, StoreDefinition } from '../processor/define.ts';

/** One entry of the changelog: a null value is a tombstone. */
export interface Change {
  readonly key: Buffer;
  readonly value: Buffer | null;
}

/** First byte of each state value. A later format must be able to tell this one apart. */
const format = 1;
const separator = '\u0000';

interface ValueType {
  toBuffer(value: unknown): Buffer;
  fromBuffer(buffer: Buffer): unknown;
}

class MemoryStore<V> implements Store<V> {
  readonly #entries = new Map<string, V>();
  readonly dirty = new Set<string>();
  /** Of those, keys that the changelog has no value of: deleted again before the commit, they leave no trace. */
  readonly fresh = new Set<string>();

  get size(): number {
    return this.#entries.size;
  }

  get(key: string): V | undefined {
    return this.#entries.get(key);
  }

  set(key: string, value: V): void {
    const before = this.#entries.size;
    this.#entries.set(key, value);
    if (this.#entries.size > before && !this.dirty.has(key)) this.fresh.add(key);
    this.dirty.add(key);
  }

  delete(key: string): void {
    if (!this.#entries.delete(key)) return;
    if (this.fresh.delete(key)) this.dirty.delete(key);
    else this.dirty.add(key);
  }

  entries(): IterableIterator<[string, V]> {
    return this.#entries.entries();
  }

  load(key: string, value: V | undefined): void {
    if (value === undefined) this.#entries.delete(key);
    else this.#entries.set(key, value);
  }
}

/**
 * All keyed state of one task. Changes are collected per key and encoded once per commit, so a window that took a thousand trades
 * since the last commit is one changelog record. Thrown away as a whole after a failed commit.
 */
export class Stores {
  readonly #stores = new Map<string, { store: MemoryStore<unknown>; type: ValueType }>();

  constructor(definitions: readonly StoreDefinition[]) {
    for (const { name, schema } of definitions)
      this.#stores.set(name, { store: new MemoryStore(), type: avroType(schema) as ValueType });
  }

  get size(): number {
    let size = 0;
    for (const { store } of this.#stores.values()) size += store.size;
    return size;
  }

  store<V>(name: string): Store<V> {
    const found = this.#stores.get(name);
    if (found === undefined) throw new TypeError(`no store ${JSON.stringify(name)} is declared`);
    return found.store as Store<V>;
  }

  /** Takes the changes since the last call, encoded now: the fold may go on while they are being written. */
  takeChanges(): Change[] {
    const changes: Change[] = [];
    for (const [name, { store, type }] of this.#stores) {
      for (const key of store.dirty) {
        const value = store.get(key);
        changes.push({
          key: Buffer.from(`${name}${separator}${key}`, 'utf8'),
          value: value === undefined ? null : Buffer.concat([Buffer.of(format), type.toBuffer(value)]),
        });
      }
      store.dirty.clear();
      store.fresh.clear();
    }
    return changes;
  }

  /** @throws MillraceError STATE_CORRUPT for an entry that this version cannot read. */
  load(key: Buffer, value: Buffer | null): void {
    const text = key.toString('utf8');
    const at = text.indexOf(separator);
    const found = this.#stores.get(text.slice(0, at));
    if (at < 0 || found === undefined) throw corrupt(text, 'no such store in this version of the processor');
    if (value === null) {
      found.store.load(text.slice(at + 1), undefined);
      return;
    }
    if (value[0] !== format) throw corrupt(text, `state format ${value[0]}, this version reads ${format}`);
    try {
      found.store.load(text.slice(at + 1), found.type.fromBuffer(value.subarray(1)));
    } catch (error) {
      throw corrupt(text, (error as Error).message, error);
    }
  }
}

function corrupt(key: string, why: string, cause?: unknown): MillraceError {
  return new MillraceError('STATE_CORRUPT', `changelog entry ${JSON.stringify(key)}: ${why}`, {
    cause,
    remedy: 'run the version that wrote it, or drop the changelog and rebuild the state by replaying the input',
  });
}
