/** What a heap orders. Plain fields, so that an entry can be the thing that is due itself: no wrapper, no allocation. */
export interface HeapEntry {
  /** When it is due. Microseconds everywhere in this folder, but the heap only compares. */
  due: number;
  /** Decides between entries that are due at the same time. Unique within a heap, and never changed while the entry is in it. */
  readonly tie: string | number;
  /** Position in the heap, -1 when outside. The heap's own. */
  slot: number;
}

/**
 * A binary heap of deadlines: earliest first, equal ones by their tie, so that the order in which things come due depends on nothing
 * but the deadlines (not on insertion order). An entry knows its slot, so moving or removing it costs O(log n) without a search.
 */
export class Heap<T extends HeapEntry> {
  readonly #entries: T[] = [];

  get size(): number {
    return this.#entries.length;
  }

  /** The entry that is due first. */
  first(): T | undefined {
    return this.#entries[0];
  }

  /** Inserts the entry, or moves it to its new deadline. */
  set(entry: T, due: number): void {
    if (entry.slot < 0) {
      entry.due = due;
      entry.slot = this.#entries.length;
      this.#entries.push(entry);
      this.#up(entry);
      return;
    }
    const before = entry.due;
    entry.due = due;
    if (due < before) this.#up(entry);
    else if (due > before) this.#down(entry);
  }

  /** Removes the entry; nothing happens when it is not in a heap. */
  delete(entry: T): void {
    const slot = entry.slot;
    if (slot < 0) return;
    entry.slot = -1;
    const last = this.#entries.pop();
    if (last === undefined || last === entry) return;
    this.#put(last, slot);
    this.#up(last);
    this.#down(last);
  }

  /** In no particular order. */
  values(): IterableIterator<T> {
    return this.#entries.values();
  }

  #put(entry: T, slot: number): void {
    entry.slot = slot;
    this.#entries[slot] = entry;
  }

  #up(entry: T): void {
    const entries = this.#entries;
    let slot = entry.slot;
    while (slot > 0) {
      const parentSlot = (slot - 1) >> 1;
      const parent = entries[parentSlot] as T;
      if (!before(entry, parent)) break;
      this.#put(parent, slot);
      slot = parentSlot;
    }
    this.#put(entry, slot);
  }

  #down(entry: T): void {
    const entries = this.#entries;
    let slot = entry.slot;
    for (;;) {
      let childSlot = 2 * slot + 1;
      let child = entries[childSlot];
      if (child === undefined) break;
      const right = entries[childSlot + 1];
      if (right !== undefined && before(right, child)) {
        child = right;
        childSlot += 1;
      }
      if (!before(child, entry)) break;
      this.#put(child, slot);
      slot = childSlot;
    }
    this.#put(entry, slot);
  }
}

function before(a: HeapEntry, b: HeapEntry): boolean {
  return a.due < b.due || (a.due === b.due && a.tie < b.tie);
}
