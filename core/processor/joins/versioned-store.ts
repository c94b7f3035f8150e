import type { Store, StoreDefinition } from '../define.ts';

/** A value that held from `time` on, until the next one of its key. */
export interface VersionedValue<V> {
  /** Event time, microseconds. */
  readonly time: number;
  /** Decides between versions of one time: the greater holds. */
  readonly sequence: bigint;
  value: V;
}

/** What held at a time. `none`: nothing yet. `forgotten`: before what is kept, so that nobody knows any more. */
export type AsOfResult<V> =
  | { readonly kind: 'version'; readonly version: VersionedValue<V> }
  | { readonly kind: 'none' | 'forgotten' };

/** A version as its store keeps it; time and sequence are in the key. */
export interface StoredVersion<V> {
  readonly value: V;
  /** Something before it was forgotten. Only ever true for the oldest one that is kept. */
  readonly forgot: boolean;
}

/** For a key whose kept versions were all removed: everything before this place was forgotten. */
interface Edge {
  readonly at: string;
  readonly time: number;
  readonly sequence: bigint;
}

interface Kept<V> extends VersionedValue<V> {
  readonly at: string;
  forgot: boolean;
}

/**
 * Versions per key, ordered by (event time, sequence) whatever order they came in: the right side of an as-of join, and the memory of rolling
 * windows.
 *
 * Of each key it keeps what is needed to answer for the last `retention` of event time before its newest version: the versions in it,
 * and the one that held when it began. That something was forgotten stays known when all that is kept is removed. A version costs one store entry, so a commit writes only those that changed.
 */
export class VersionedStore<V> {
  readonly #store: Store<StoredVersion<V>>;
  readonly #retention: number;
  readonly #keys = new Map<string, Kept<V>[]>();
  readonly #edges = new Map<string, Edge>();

  /** @param retention Microseconds of event time. */
  constructor(store: Store<StoredVersion<V>>, retention: number) {
    this.#store = store;
    this.#retention = retention;
  }

  /** Declares the store of versions of a value. */
  static store(name: string, value: object): StoreDefinition {
    const fields = [
      { name: 'value', type: value },
      { name: 'forgot', type: 'boolean' },
    ];
    return { name, schema: { type: 'record', name: 'StoredVersion', namespace: 'millrace.state', fields } };
  }

  get size(): number {
    return this.#store.size;
  }

  /** Keys with versions. */
  keys(): IterableIterator<string> {
    return this.#keys.keys();
  }

  /** Rebuilds the order from the store. */
  restored(): void {
    this.#keys.clear();
    this.#edges.clear();
    for (const [at, { value, forgot }] of this.#store.entries()) {
      const [key, time, sequence, edge] = JSON.parse(at) as [string, number, string, typeof edgeMark?];
      if (edge === edgeMark) {
        this.#edges.set(key, { at, time, sequence: BigInt(sequence) });
        continue;
      }
      const kept = { at, time, sequence: BigInt(sequence), value, forgot };
      const list = this.#keys.get(key);
      if (list === undefined) this.#keys.set(key, [kept]);
      else list.push(kept);
    }
    for (const list of this.#keys.values()) list.sort(byOrder);
  }

  /**
   * Adds a version, or replaces the one of the same time and sequence. False when it is older than what is kept of its key, so that it is
   * not kept either.
   */
  put(key: string, time: number, sequence: bigint, value: V): boolean {
    const edge = this.#edges.get(key);
    if (edge !== undefined && isBefore({ time, sequence }, edge)) return false;
    let list = this.#keys.get(key);
    if (list === undefined) {
      list = [];
      this.#keys.set(key, list);
    }
    const place = after(list, time, sequence);
    const before = list[place - 1];
    if (before !== undefined && before.time === time && before.sequence === sequence) {
      before.value = value;
      this.#save(before);
      return true;
    }
    if (place === 0 && list[0]?.forgot === true) return false;
    const at = JSON.stringify([key, time, sequence.toString()]);
    const kept: Kept<V> = { at, time, sequence, value, forgot: edge !== undefined };
    list.splice(place, 0, kept);
    this.#save(kept);
    if (edge !== undefined) {
      this.#edges.delete(key);
      this.#store.delete(edge.at);
    }
    return place >= this.#forget(list);
  }

  /** Takes a version out, as if it had never been. Nothing happens when it is not kept. */
  remove(key: string, time: number, sequence: bigint): void {
    const list = this.#keys.get(key) ?? [];
    const place = after(list, time, sequence) - 1;
    const found = list[place];
    if (found === undefined || found.time !== time || found.sequence !== sequence) return;
    list.splice(place, 1);
    this.#store.delete(found.at);
    const oldest = list[0];
    if (oldest === undefined) {
      this.#keys.delete(key);
      if (found.forgot) this.#keepEdge(key, found);
    } else if (place === 0 && found.forgot) {
      oldest.forgot = true;
      this.#save(oldest);
    }
  }

  /** The version that held at a time: the greatest (time, sequence) at or before it. */
  at(key: string, time: number): AsOfResult<V> {
    const list = this.#keys.get(key) ?? [];
    const version = list[afterTime(list, time) - 1];
    if (version !== undefined) return { kind: 'version', version };
    return { kind: list[0]?.forgot === true || this.#edges.has(key) ? 'forgotten' : 'none' };
  }

  /** The versions of a half-open range of time that are kept, in order. */
  between(key: string, from: number, to: number): readonly VersionedValue<V>[] {
    const list = this.#keys.get(key) ?? [];
    return list.slice(afterTime(list, from - 1), afterTime(list, to - 1));
  }

  /** The first version after a time, if there is one. */
  next(key: string, time: number): VersionedValue<V> | undefined {
    const list = this.#keys.get(key) ?? [];
    return list[afterTime(list, time)];
  }

  /** Returns how many of the oldest went. */
  #forget(list: Kept<V>[]): number {
    const limit = (list.at(-1)?.time ?? 0) - this.#retention;
    let count = 0;
    while ((list[count + 1]?.time ?? Number.POSITIVE_INFINITY) <= limit) count += 1;
    if (count === 0) return 0;
    for (const { at } of list.splice(0, count)) this.#store.delete(at);
    const oldest = list[0] as Kept<V>;
    oldest.forgot = true;
    this.#save(oldest);
    return count;
  }

  /** Its value is of no meaning: the store has one for each entry. */
  #keepEdge(key: string, { time, sequence, value }: Kept<V>): void {
    const at = JSON.stringify([key, time, sequence.toString(), edgeMark]);
    this.#edges.set(key, { at, time, sequence });
    this.#store.set(at, { value, forgot: true });
  }

  #save({ at, value, forgot }: Kept<V>): void {
    this.#store.set(at, { value, forgot });
  }
}

const edgeMark = 'edge';

type VersionOrder = Pick<VersionedValue<unknown>, 'time' | 'sequence'>;

function byOrder(a: VersionOrder, b: VersionOrder): number {
  if (a.time !== b.time) return a.time - b.time;
  return a.sequence < b.sequence ? -1 : Number(a.sequence > b.sequence);
}

function isBefore(a: VersionOrder, b: VersionOrder): boolean {
  return byOrder(a, b) < 0;
}

/** The place behind all versions up to this one. Most come at the end. */
function after<V>(list: readonly VersionedValue<V>[], time: number, sequence: bigint): number {
  return search(list, (version) => version.time < time || (version.time === time && version.sequence <= sequence));
}

/** The place behind all versions at or before a time. */
function afterTime<V>(list: readonly VersionedValue<V>[], time: number): number {
  return search(list, (version) => version.time <= time);
}

function search<V>(list: readonly VersionedValue<V>[], isUpTo: (version: VersionedValue<V>) => boolean): number {
  const last = list.at(-1);
  if (last === undefined || isUpTo(last)) return list.length;
  let [low, high] = [0, list.length - 1];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isUpTo(list[middle] as VersionedValue<V>)) low = middle + 1;
    else high = middle;
  }
  return low;
}
