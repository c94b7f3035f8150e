import type { Store } from '../define.ts';
import { Heap, type HeapEntry } from '../heap.ts';
import { micros } from '../watermark.ts';
import { advance, offer, patternDeadline, type Result, startPattern } from './matcher.ts';
import type { Outcome, Pattern, PatternEvent, PatternState } from './pattern.ts';

interface Due extends HeapEntry {
  readonly tie: string;
}

/**
 * A pattern over many keys, with its state in a store and its deadlines in a heap. A fold calls `restored`, `deadline` and `advance` from
 * its own. A key that has nothing under way keeps only the time that it reached.
 */
export class KeyedPattern<E> {
  readonly #pattern: Pattern<E>;
  readonly #store: Store<PatternState<E>>;
  readonly #dues = new Map<string, Due>();
  readonly #heap = new Heap<Due>();

  /** @param pattern a defined one (`definePattern`). */
  constructor(pattern: Pattern<E>, store: Store<PatternState<E>>) {
    this.#pattern = pattern;
    this.#store = store;
  }

  /** Keys with an attempt under way. */
  get size(): number {
    return this.#heap.size;
  }

  restored(): void {
    for (const [key, state] of this.#store.entries()) this.#schedule(key, state);
  }

  offer(key: string, event: PatternEvent<E>): readonly Outcome<E>[] {
    return this.#keep(key, offer(this.#pattern, this.#store.get(key) ?? startPattern<E>(), event));
  }

  /** The key is forgotten, with what was under way. */
  delete(key: string): void {
    this.#store.delete(key);
    const due = this.#dues.get(key);
    if (due !== undefined) this.#heap.delete(due);
    this.#dues.delete(key);
  }

  /** Earliest time, microseconds, at which `advance` would do something. */
  deadline(): bigint | undefined {
    const due = this.#heap.first()?.due;
    return due === undefined ? undefined : BigInt(due);
  }

  /** Lets time pass for every key: what is due at or before `time`, in order of time, equal ones by key. */
  advance(time: bigint, found: (key: string, outcome: Outcome<E>) => void): void {
    for (let due = this.#heap.first(); due !== undefined && BigInt(due.due) <= time; due = this.#heap.first()) {
      const state = this.#store.get(due.tie);
      if (state === undefined) {
        this.#heap.delete(due);
        continue;
      }
      for (const outcome of this.#keep(due.tie, advance(this.#pattern, state, BigInt(due.due))))
        found(due.tie, outcome);
    }
  }

  #keep(key: string, { state, outcomes }: Result<E>): readonly Outcome<E>[] {
    this.#store.set(key, state);
    this.#schedule(key, state);
    return outcomes;
  }

  #schedule(key: string, state: PatternState<E>): void {
    const at = patternDeadline(this.#pattern, state);
    let due = this.#dues.get(key);
    if (at === undefined) {
      if (due !== undefined) this.#heap.delete(due);
      this.#dues.delete(key);
      return;
    }
    if (due === undefined) {
      due = { due: 0, tie: key, slot: -1 };
      this.#dues.set(key, due);
    }
    this.#heap.set(due, micros(at));
  }
}
