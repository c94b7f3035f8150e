import type { Clock } from '../../core/base/clock.ts';
import { isError } from '../../core/base/errors.ts';

export interface BreakerOptions {
  readonly clock: Clock;
  /** Consecutive failures after which it opens. Default 3. */
  readonly failures?: number;
  /** First wait after a failure, milliseconds. It doubles with each failure. Default 250. */
  readonly firstWaitMs?: number;
  /** Longest wait, milliseconds. Default 10,000. */
  readonly longestWaitMs?: number;
  /** Called when it opens, with the failure that opened it, and when it closes. */
  readonly onChange?: (open: boolean, error?: unknown) => void;
}

/**
 * A circuit breaker between all tasks of a process and the hot store. Closed, it lets every call through. After several consecutive
 * failures it opens: one caller at a time tries, after waits that double, and the others wait for its outcome. The first success closes it
 * and releases all callers.
 *
 * The wait is the back pressure: a waiting task takes no records, its queue fills, and its fetches pause, while the group membership
 * continues. It uses the runtime's clock, because a change of the system clock would distort the waits. cockatiel's breaker uses the system
 * clock, so it is not used.
 */
export class Breaker {
  readonly #clock: Clock;
  readonly #limit: number;
  readonly #firstWaitMs: number;
  readonly #longestWaitMs: number;
  readonly #onChange: NonNullable<BreakerOptions['onChange']>;
  #failures = 0;
  /** Counts outcomes. Concurrent calls that fail for one cause count as one failure. */
  #outcomes = 0;
  #open = false;
  #probing = false;
  /** When the next try is due. */
  #dueMs = 0;
  #waitMs: number;
  /** Aborted at every outcome, to wake the waiting callers. */
  #outcome = new AbortController();
  #last: unknown;

  constructor(options: BreakerOptions) {
    const { clock, failures = 3, firstWaitMs = 250, longestWaitMs = 10_000, onChange = () => undefined } = options;
    this.#clock = clock;
    this.#limit = failures;
    this.#firstWaitMs = firstWaitMs;
    this.#longestWaitMs = longestWaitMs;
    this.#waitMs = firstWaitMs;
    this.#onChange = onChange;
  }

  get open(): boolean {
    return this.#open;
  }

  /**
   * Runs the work, and repeats it while it fails with HOT_STORE_UNAVAILABLE.
   *
   * @throws any other error of the work. Once the signal is aborted, the failure that it would have waited for. While open, an aborted
   *   caller does not try at all.
   */
  async run<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    for (;;) {
      await this.#turn(signal);
      const before = this.#outcomes;
      try {
        const result = await work();
        this.#succeeded();
        return result;
      } catch (error) {
        // The store has answered, so an error about this work does not open the breaker.
        if (!isError(error, 'HOT_STORE_UNAVAILABLE')) {
          this.#succeeded();
          throw error;
        }
        if (before === this.#outcomes) this.#failed(error);
        if (signal.aborted) throw error;
      }
    }
  }

  /** Resolves when the caller may try. */
  async #turn(signal: AbortSignal): Promise<void> {
    while (this.#failures > 0) {
      if (signal.aborted && this.#open) throw this.#last;
      const waitMs = this.#dueMs - this.#clock.now();
      if (waitMs <= 0 && !this.#probing) {
        this.#probing = true;
        return;
      }
      if (signal.aborted) return;
      const sleepMs = this.#probing ? this.#longestWaitMs : Math.max(waitMs, 1);
      await this.#clock.sleep(sleepMs, AbortSignal.any([signal, this.#outcome.signal]));
    }
  }

  #succeeded(): void {
    this.#failures = 0;
    this.#probing = false;
    this.#waitMs = this.#firstWaitMs;
    if (this.#open) {
      this.#open = false;
      this.#onChange(false);
    }
    this.#wake();
  }

  #failed(error: unknown): void {
    this.#failures++;
    this.#probing = false;
    this.#last = error;
    this.#dueMs = this.#clock.now() + this.#waitMs;
    this.#waitMs = Math.min(this.#waitMs * 2, this.#longestWaitMs);
    if (!this.#open && this.#failures >= this.#limit) {
      this.#open = true;
      this.#onChange(true, error);
    }
    this.#wake();
  }

  #wake(): void {
    this.#outcomes++;
    const outcome = this.#outcome;
    this.#outcome = new AbortController();
    outcome.abort('outcome');
  }
}
