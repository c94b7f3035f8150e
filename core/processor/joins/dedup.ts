import type { Store, StoreDefinition } from '../define.ts';

/** When an id was first seen: log time, microseconds, exact to 2^53. */
export interface FirstSeen {
  readonly at: number;
}

/**
 * Knows ids that were seen within a time to live, in log time since they were *first* seen: a duplicate does not prolong it. For ids that a
 * source sends twice; changes that Kafka Connect delivers twice are recognised by the runtime already.
 *
 * The runtime takes what has expired out of the store when it pleases; what counts is decided here, so that it does not matter when.
 */
export class Dedup {
  readonly #seen: Store<FirstSeen>;
  readonly #ttl: number;

  /** @param ttlMs Milliseconds, as the store was declared with. */
  constructor(seen: Store<FirstSeen>, ttlMs: number) {
    this.#seen = seen;
    this.#ttl = ttlMs * 1000;
  }

  /** Declares the store of ids, which expire in it. */
  static store(name: string, ttlMs: number): StoreDefinition {
    const fields = [{ name: 'at', type: 'double' }];
    return {
      name,
      schema: { type: 'record', name: 'Seen', namespace: 'millrace.state', fields },
      ttlMs,
    };
  }

  get size(): number {
    return this.#seen.size;
  }

  /**
   * Whether the id is new at this log time; if so it is remembered.
   *
   * @param logTime The task's log time, microseconds: it never goes back.
   */
  admit(id: string, logTime: number): boolean {
    const seen = this.#seen.get(id);
    if (seen !== undefined && logTime - seen.at < this.#ttl) return false;
    this.#seen.set(id, { at: logTime });
    return true;
  }
}
