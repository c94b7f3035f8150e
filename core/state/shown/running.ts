import type { Stores } from '../stores/stores.ts';
import { renderValue } from './render.ts';

export interface RunningState {
  readonly processor: string;
  readonly partition: number;
  readonly stores: Stores;
}

export interface ShownEntry {
  readonly partition: number;
  readonly key: string;
  readonly value: unknown;
  /** Not committed yet: it may be taken back. */
  readonly pending: boolean;
}

export interface ShownStore {
  readonly partition: number;
  readonly store: string;
  readonly entries: number;
}

/**
 * The state of the tasks that run in this process, for reading: what a fold sees now. What is not committed yet is marked, because a failed
 * commit takes it back. Of a partition that another process has, nothing is here; `millrace state` reads what is committed of all of them.
 */
export class RunningStates {
  readonly #states = new Set<RunningState>();

  /** Until the returned function is called. */
  add(state: RunningState): () => void {
    this.#states.add(state);
    return () => this.#states.delete(state);
  }

  get processors(): readonly string[] {
    return [...new Set([...this.#states].map(({ processor }) => processor))].sort();
  }

  stores(processor: string): readonly ShownStore[] {
    return this.#of(processor).flatMap(({ partition, stores }) =>
      stores.names.map((store) => ({ partition, store, entries: stores.sizeOf(store) })),
    );
  }

  /** Of each partition that has the key. */
  lookup(processor: string, store: string, key: string): readonly ShownEntry[] {
    return this.#with(processor, store).flatMap(({ partition, stores }) => {
      const entry = stores.lookup(store, key);
      if (entry === undefined) return [];
      const { value, pending } = entry;
      return [{ partition, key, value: renderValue(stores.codec(store).schema, value), pending }];
    });
  }

  /** At most `limit` entries with keys greater than `after`, partition by partition, each in the order of the keys. */
  async list(
    processor: string,
    store: string,
    { after, limit }: { after: string; limit: number },
  ): Promise<ShownEntry[]> {
    const shown: ShownEntry[] = [];
    for (const { partition, stores } of this.#with(processor, store)) {
      for await (const { key, value, pending } of stores.list(store, after)) {
        if (shown.length >= limit) return shown;
        shown.push({ partition, key, value: renderValue(stores.codec(store).schema, value), pending });
      }
    }
    return shown;
  }

  #of(processor: string): readonly RunningState[] {
    return [...this.#states].filter((state) => state.processor === processor).sort((a, b) => a.partition - b.partition);
  }

  #with(processor: string, store: string): readonly RunningState[] {
    return this.#of(processor).filter(({ stores }) => stores.names.includes(store));
  }
}
