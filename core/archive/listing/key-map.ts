import { keyOf, nameOf } from './names.ts';

const written = '.parquet';

/**
 * A map by keys of objects, for very many of them: a key of the sink takes about 40 bytes here instead of its text. Values that are put in
 * together are kept once.
 */
export class KeyMap<T> {
  /** By head of the key, then by offset: where in `#values`. */
  readonly #written = new Map<string, Map<number, number>>();
  /** Keys of compactions, and of another form. */
  readonly #others = new Map<string, number>();
  readonly #values: T[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Sets the value of each key. */
  set(keys: Iterable<string>, value: T): void {
    const at =
      this.#values.at(-1) === value && this.#values.length > 0 ? this.#values.length - 1 : this.#values.push(value) - 1;
    for (const key of keys) {
      const name = nameOf(key);
      if (name === undefined || name.tail !== written) this.#put(this.#others, key, at);
      else {
        let own = this.#written.get(name.head);
        if (own === undefined) {
          own = new Map();
          this.#written.set(name.head, own);
        }
        this.#put(own, name.offset, at);
      }
    }
  }

  get(key: string): T | undefined {
    const at = this.#placeOf(key);
    return at === undefined ? undefined : this.#values[at];
  }

  has(key: string): boolean {
    return this.#placeOf(key) !== undefined;
  }

  *keys(): Generator<string> {
    for (const [head, own] of this.#written)
      for (const offset of own.keys()) yield keyOf({ head, offset, tail: written });
    yield* this.#others.keys();
  }

  #put<K>(map: Map<K, number>, key: K, at: number): void {
    if (!map.has(key)) this.#size++;
    map.set(key, at);
  }

  #placeOf(key: string): number | undefined {
    if (this.#size === 0) return undefined;
    const name = nameOf(key);
    return name === undefined || name.tail !== written
      ? this.#others.get(key)
      : this.#written.get(name.head)?.get(name.offset);
  }
}
