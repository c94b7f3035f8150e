import type { Store } from '../define.ts';
import { TimerQueue } from '../timer-queue.ts';
import { forgetAfter, micros } from '../watermark.ts';
import { advance, offer, patternDeadline, type Result, startPattern } from './matcher.ts';
import type { Pattern, PatternEvent, PatternOutcome, PatternState } from './pattern.ts';

/**
 * A pattern over many keys, with its state in a store and its timers in memory. A fold calls `restored`, `deadline` and `advance` from
 * its own. A key that has nothing under way keeps only the time that it reached, and is forgotten a while after it.
 */
export class KeyedPattern<E> {
  readonly #pattern: Pattern<E>;
  readonly #store: Store<PatternState<E>>;
  readonly #forget: number;
  /** Keys with an attempt under way, by the time at which it changes. */
  readonly #active = new TimerQueue();
  /** The others, by the time at which they are forgotten. */
  readonly #idle = new TimerQueue();

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
    this.#active.delete(key);
    this.#idle.delete(key);
  }

  /** Earliest time, microseconds, at which `advance` would do something. */
  deadline(): bigint | undefined {
    const due = Math.min(this.#active.first(), this.#idle.first());
    return due === Number.POSITIVE_INFINITY ? undefined : BigInt(due);
  }

  /** Lets time pass for every key: what is due at or before `time`, in order of time, equal ones by key. */
  advance(time: bigint, found: (key: string, outcome: PatternOutcome<E>) => void): void {
    const now = Number(time);
    for (let due = this.#active.take(now); due !== undefined; due = this.#active.take(now)) {
      const state = this.#store.get(due.tie);
      if (state === undefined) continue;
      for (const outcome of this.#keep(due.tie, advance(this.#pattern, state, BigInt(due.at)))) found(due.tie, outcome);
    }
    for (let due = this.#idle.take(now); due !== undefined; due = this.#idle.take(now)) this.#store.delete(due.tie);
  }

  #keep(key: string, { state, outcomes }: Result<E>): readonly PatternOutcome<E>[] {
    this.#store.set(key, state);
    this.#schedule(key, state);
    return outcomes;
  }

  #schedule(key: string, state: PatternState<E>): void {
    const at = patternDeadline(this.#pattern, state);
    if (at === undefined) {
      this.#active.delete(key);
      const time = Number(state.time) + this.#forget;
      if (time < Number.POSITIVE_INFINITY) this.#idle.set(key, time);
    } else {
      this.#idle.delete(key);
      this.#active.set(key, micros(at));
    }
  }
}
