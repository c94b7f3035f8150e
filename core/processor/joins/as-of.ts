import type { Store, StoreDefinition } from '../define.ts';
import { Heap, type HeapEntry } from '../heap.ts';
import type { AsOfResult, VersionedStore } from './versioned-store.ts';

/** A left record that waits, as its store keeps it. */
export interface PendingJoin<L> {
  readonly left: L;
  /** Log time at which it is decided, microseconds; exact to 2^53. */
  readonly due: number;
}

/** What an as-of join joins, and where it keeps what waits. */
export interface AsOfOptions<L, R> {
  /** The right side. Its retention has to exceed the wait plus how far the right topic may be ahead. */
  readonly versions: VersionedStore<R>;
  /** Left records that are not decided yet; declared with `AsOfJoin.store`. */
  readonly waiting: Store<PendingJoin<L>>;
  /**
   * How long a left record waits for earlier right ones, microseconds of log time; 0 decides at once. Right records that reach the task before
   * its log time has come so far count; so within the wait the order between the topics does not matter.
   */
  readonly wait: number;
  /** Key and event time (microseconds) at which the left record asks. */
  readonly ask: (left: L) => { readonly key: string; readonly time: number };
  /** Called once for each left record, with what held at its event time as far as the task knows then. What comes later changes nothing. */
  readonly decide: (left: L, held: AsOfResult<R>) => void;
}

interface Entry<L> extends HeapEntry, PendingJoin<L> {
  readonly key: string;
  due: number;
}

/**
 * The as-of join: each left record meets the latest right record at or before its event time, of the same key, whatever order the two
 * topics came in within the wait. Plain state machine: the fold feeds both sides, and passes `deadline` and `advance` on.
 */
export class AsOfJoin<L, R> {
  readonly #options: AsOfOptions<L, R>;
  /** No keyed timers: each entry is a left record, which nothing looks up, moves or replaces. */
  readonly #due = new Heap<Entry<L>>();
  #count = 0;

  constructor(options: AsOfOptions<L, R>) {
    this.#options = options;
  }

  /** Declares the store of left records that wait. */
  static store(name: string, left: object): StoreDefinition {
    const fields = [
      { name: 'left', type: left },
      { name: 'due', type: 'double' },
    ];
    return { name, schema: { type: 'record', name: 'Waiting', namespace: 'millrace.state', fields } };
  }

  /** Left records that wait. */
  get size(): number {
    return this.#due.size;
  }

  restored(): void {
    this.#options.versions.restored();
    for (const [key, { left, due }] of this.#options.waiting.entries()) {
      const tie = Number(key);
      this.#due.set({ key, left, due, tie, slot: -1 }, due);
      this.#count = Math.max(this.#count, tie + 1);
    }
  }

  /** False when it came too late to have a place (see `VersionedStore.put`): the caller says so in an output. */
  right(key: string, time: number, sequence: bigint, value: R): boolean {
    return this.#options.versions.put(key, time, sequence, value);
  }

  /** @param logTime The task's log time, microseconds. */
  left(left: L, logTime: number): void {
    const { wait, waiting } = this.#options;
    if (wait === 0) {
      this.#decide(left);
      return;
    }
    const tie = this.#count++;
    const entry = { key: String(tie), left, due: logTime + wait, tie, slot: -1 };
    waiting.set(entry.key, { left, due: entry.due });
    this.#due.set(entry, entry.due);
  }

  /** Log time at which the first left record is decided, microseconds. */
  deadline(): bigint | undefined {
    const first = this.#due.first();
    return first === undefined ? undefined : BigInt(first.due);
  }

  /** Decides what is due at or before this log time, in the order in which it came. */
  advance(logTime: number): void {
    for (let first = this.#due.first(); first !== undefined && first.due <= logTime; first = this.#due.first()) {
      this.#due.delete(first);
      this.#options.waiting.delete(first.key);
      this.#decide(first.left);
    }
  }

  #decide(left: L): void {
    const { versions, ask, decide } = this.#options;
    const { key, time } = ask(left);
    decide(left, versions.at(key, time));
  }
}
