import type { Store } from '../define.ts';
import { Heap, type HeapEntry } from '../heap.ts';
import { forgetAfter, micros } from '../watermark.ts';
import { advance, offer, patternDeadline, type Result, startPattern } from './matcher.ts';
import type { Pattern, PatternEvent, PatternOutcome, PatternState } from './pattern.ts';

interface KeyTimer extends HeapEntry {
  readonly tie: string;
  /** Where it is. */
  heap: Heap<KeyTimer>;
}

/**
 * A pattern over many keys, with its state in a store and its deadlines in a heap. A fold calls `restored`, `deadline` and `advance` from
 * its own. A key that has nothing under way keeps only the time that it reached, and is forgotten a while after it.
 */
export class KeyedPattern<E> {
  readonly #pattern: Pattern<E>;
  readonly #store: Store<PatternState<E>>;
  readonly #forget: number;
  readonly #dues = new Map<string, KeyTimer>();
  /** Keys with an attempt under way, by the time at which it changes. */
  readonly #active = new Heap<KeyTimer>();
  /** The others, by the time at which they are forgotten. */
  readonly #idle = new Heap<KeyTimer>();

  /**
   * @param pattern a defined one (`definePattern`).
   * @param forget how long after the time that it reached a key with nothing under way is forgotten, microseconds; infinite for never.
   */
  constructor(pattern: Pattern<E>, store: Store<PatternState<E>>, forget = forgetAfter) {
    this.#pattern = pattern;
    this.#store = store;
    this.#forget = forget;
  }

  /** Keys with an attempt under way. */
  get size(): number {
    return this.#active.size;
  }

  restored(): void {
    for (const [key, state] of this.#store.entries()) this.#schedule(key, state);
  }

  offer(key: string, event: PatternEvent<E>): readonly PatternOutcome<E>[] {
    return this.#keep(key, offer(this.#pattern, this.#store.get(key) ?? startPattern<E>(), event));
  }

  /** The key is forgotten, with what was under way. */
  delete(key: string): void {
    this.#store.delete(key);
    const due = this.#dues.get(key);
    due?.heap.delete(due);
    this.#dues.delete(key);
  }

  /** Earliest time, microseconds, at which `advance` would do something. */
  deadline(): bigint | undefined {
    const due = Math.min(
      this.#active.first()?.due ?? Number.POSITIVE_INFINITY,
      this.#idle.first()?.due ?? Number.POSITIVE_INFINITY,
    );
    return due === Number.POSITIVE_INFINITY ? undefined : BigInt(due);
  }

  /** Lets time pass for every key: what is due at or before `time`, in order of time, equal ones by key. */
  advance(time: bigint, found: (key: string, outcome: PatternOutcome<E>) => void): void {
    for (let due = this.#active.first(); due !== undefined && BigInt(due.due) <= time; due = this.#active.first()) {
      const state = this.#store.get(due.tie);
      if (state === undefined) {
        this.delete(due.tie);
        continue;
      }
      for (const outcome of this.#keep(due.tie, advance(this.#pattern, state, BigInt(due.due))))
        found(due.tie, outcome);
    }
    for (let due = this.#idle.first(); due !== undefined && BigInt(due.due) <= time; due = this.#idle.first()) {
      this.delete(due.tie);
    }
  }

  #keep(key: string, { state, outcomes }: Result<E>): readonly PatternOutcome<E>[] {
    this.#store.set(key, state);
    this.#schedule(key, state);
    return outcomes;
  }

  #schedule(key: string, state: PatternState<E>): void {
    const at = patternDeadline(this.#pattern, state);
    const heap = at === undefined ? this.#idle : this.#active;
    const time = at === undefined ? Number(state.time) + this.#forget : micros(at);
    let due = this.#dues.get(key);
    if (time === Number.POSITIVE_INFINITY) {
      due?.heap.delete(due);
      this.#dues.delete(key);
      return;
    }
    if (due === undefined) {
      due = { due: 0, tie: key, slot: -1, heap };
      this.#dues.set(key, due);
    }
    if (due.heap !== heap) due.heap.delete(due);
    due.heap = heap;
    heap.set(due, time);
  }
}
