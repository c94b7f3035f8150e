import { Heap, type HeapEntry } from './heap.ts';

/** One key's timer. */
interface Timer extends HeapEntry {
  /** Where the heap has it: at or before `at`. */
  due: number;
  readonly tie: string;
  /** When it is due, microseconds. */
  at: number;
}

/**
 * One timer a key, in memory: earliest first, equal ones by key. Times are microseconds as numbers.
 *
 * A timer that is put off stays in its place in the heap until it comes first there: a key that is set with each record costs no more than a
 * look-up. What it tells does not depend on that.
 *
 * Not its job: state that survives. Its owner sets timers again in `restored`.
 */
export class TimerQueue {
  readonly #heap = new Heap<Timer>();
  readonly #timers = new Map<string, Timer>();

  get size(): number {
    return this.#timers.size;
  }

  get(key: string): number | undefined {
    return this.#timers.get(key)?.at;
  }

  /** Sets the key's timer, in place of one that it has. False if the key had this very one. */
  set(key: string, at: number): boolean {
    const timer = this.#timers.get(key);
    if (timer === undefined) {
      const made = { due: at, tie: key, at, slot: -1 };
      this.#timers.set(key, made);
      this.#heap.set(made, at);
      return true;
    }
    if (timer.at === at) return false;
    timer.at = at;
    if (at < timer.due) this.#heap.set(timer, at);
    return true;
  }

  /** False if the key has no timer. */
  delete(key: string): boolean {
    const timer = this.#timers.get(key);
    if (timer === undefined) return false;
    this.#timers.delete(key);
    this.#heap.delete(timer);
    return true;
  }

  clear(): void {
    for (const key of [...this.#timers.keys()]) this.delete(key);
  }

  /** When the first timer is due; infinite without any. */
  first(): number {
    return this.#due(Number.POSITIVE_INFINITY)?.at ?? Number.POSITIVE_INFINITY;
  }

  /** Whether a timer is due at or before this time. */
  isDue(now: number): boolean {
    return this.#due(now) !== undefined;
  }

  /** Takes the first timer out, if it is due at or before this time. */
  take(now: number): { readonly tie: string; readonly at: number } | undefined {
    const timer = this.#due(now);
    if (timer !== undefined) this.delete(timer.tie);
    return timer;
  }

  /** The first of those due at or before `now`. Timers that were put off get their places. */
  #due(now: number): Timer | undefined {
    for (let first = this.#heap.first(); first !== undefined && first.due <= now; first = this.#heap.first()) {
      if (first.at === first.due) return first;
      this.#heap.set(first, first.at);
    }
    return undefined;
  }
}
