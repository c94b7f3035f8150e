import type { Processor, Store, Timers } from '../../processor/define.ts';
import { TimerQueue } from '../../processor/timer-queue.ts';
import { micros } from '../../processor/watermark.ts';

/** The timers of one task: in their order in memory, and in a store if they are `stored`. The fold sets them, the engine takes them out. */
export class TaskTimers implements Timers {
  readonly #processor: Pick<Processor<never>, 'name' | 'timers'>;
  /** Undefined unless they are `stored`. */
  readonly #store: Store<bigint> | undefined;
  readonly #queue = new TimerQueue();
  #changed = false;

  constructor(processor: Pick<Processor<never>, 'name' | 'timers'>, store: Store<bigint> | undefined) {
    this.#processor = processor;
    this.#store = store;
  }

  get size(): number {
    return this.#queue.size;
  }

  get(key: string): bigint | undefined {
    const at = this.#queue.get(key);
    return at === undefined ? undefined : BigInt(at);
  }

  /** @throws TypeError unless the processor declares timers. */
  set(key: string, at: bigint): void {
    const { name, timers } = this.#processor;
    if (timers === undefined) throw new TypeError(`${name} does not declare timers`);
    if (!this.#queue.set(key, micros(at))) return;
    this.#store?.set(key, at);
    this.#changed = true;
  }

  delete(key: string): void {
    if (!this.#queue.delete(key)) return;
    this.#store?.delete(key);
    this.#changed = true;
  }

  /** Before a fold is made: what the store has, and nothing else. */
  restore(): void {
    this.#queue.clear();
    for (const [key, at] of this.#store?.entries() ?? []) this.#queue.set(key, Number(at));
    this.#changed = false;
  }

  /** Whether a timer was set or deleted since the last `keep` or `restore`. */
  get changed(): boolean {
    return this.#changed;
  }

  keep(): void {
    this.#changed = false;
  }

  /** @param logTime microseconds */
  isDue(logTime: bigint): boolean {
    return this.#queue.size > 0 && this.#queue.isDue(Number(logTime));
  }

  /** Fires all that are due at or before this log time, each after it is taken out; those that `onTimer` sets so, too. */
  fire(logTime: bigint, onTimer: (key: string, at: bigint) => void): void {
    const now = Number(logTime);
    for (let timer = this.#queue.take(now); timer !== undefined; timer = this.#queue.take(now)) {
      this.#store?.delete(timer.tie);
      onTimer(timer.tie, BigInt(timer.at));
    }
  }
}
