import type { ObjectInfo, ObjectStore, PutOptions, StoredObject } from './store.ts';

/** What happens to the next writes, one fault each. */
export type StoreFault =
  /** Nothing is written. */
  | { readonly kind: 'before'; readonly error: Error }
  /** It is written, and the answer is lost. */
  | { readonly kind: 'after'; readonly error: Error };

/** A bucket in memory: the same contract, with faults on demand. Does not retry. */
export class MemoryStore implements ObjectStore {
  readonly objects = new Map<string, StoredObject>();
  /** What its clock says. */
  nowMs = 0;
  readonly #modified = new Map<string, number>();
  readonly #faults: (StoreFault | undefined)[] = [];

  /** The next calls of `putIfAbsent` meet these, one each; undefined lets one pass. */
  fault(...faults: (StoreFault | undefined)[]): void {
    this.#faults.push(...faults);
  }

  async putIfAbsent(key: string, bytes: Uint8Array, options: PutOptions = {}): Promise<'created' | 'exists'> {
    await Promise.resolve();
    options.signal?.throwIfAborted();
    const fault = this.#faults.shift();
    if (fault?.kind === 'before') throw fault.error;
    const exists = this.objects.has(key);
    if (!exists) {
      this.objects.set(key, { bytes: Buffer.from(bytes), metadata: { ...options.metadata } });
      this.#modified.set(key, this.nowMs);
    }
    if (fault?.kind === 'after') throw fault.error;
    return exists ? 'exists' : 'created';
  }

  async get(key: string): Promise<StoredObject | undefined> {
    return this.objects.get(key);
  }

  async head(key: string): Promise<ObjectInfo | undefined> {
    return this.#info(key);
  }

  async *list(prefix: string): AsyncGenerator<ObjectInfo> {
    for (const key of [...this.objects.keys()].sort()) {
      const found = key.startsWith(prefix) ? this.#info(key) : undefined;
      if (found !== undefined) yield found;
    }
  }

  async folders(prefix: string): Promise<readonly string[]> {
    const deeper = [...this.objects.keys()].filter((key) => key.startsWith(prefix) && key.includes('/', prefix.length));
    return [...new Set(deeper.map((key) => key.slice(prefix.length, key.indexOf('/', prefix.length))))].sort();
  }

  async remove(keys: readonly string[]): Promise<void> {
    for (const key of keys) this.objects.delete(key);
  }

  async ensureBucket(): Promise<void> {}

  #info(key: string): ObjectInfo | undefined {
    const found = this.objects.get(key);
    return found === undefined
      ? undefined
      : { key, bytes: found.bytes.length, modifiedMs: this.#modified.get(key) ?? this.nowMs };
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}
