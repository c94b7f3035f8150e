import type { Fetched } from './log.ts';

/** A task's fetched portions, oldest first. Who fills it looks at `records` and stops in time; it refuses nothing itself. */
export class Queue {
  readonly #items: Fetched[] = [];
  #records = 0;
  #waiting: (() => void) | undefined;

  get records(): number {
    return this.#records;
  }

  get length(): number {
    return this.#items.length;
  }

  push(fetched: Fetched): void {
    this.#items.push(fetched);
    this.#records += fetched.records.length;
    this.wake();
  }

  shift(): Fetched | undefined {
    const fetched = this.#items.shift();
    this.#records -= fetched?.records.length ?? 0;
    return fetched;
  }

  wake(): void {
    this.#waiting?.();
  }

  /** Resolves at the next `push` or `wake`, or after `timeoutMs`. One waiter at a time. */
  wait(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#waiting?.(), timeoutMs);
      this.#waiting = () => {
        clearTimeout(timer);
        this.#waiting = undefined;
        resolve();
      };
    });
  }
}
