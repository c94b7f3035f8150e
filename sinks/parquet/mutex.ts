/** An async mutex. Callers run one at a time, in the order of their calls. */
export class Mutex {
  #last: Promise<unknown> = Promise.resolve();

  /** Runs `work` alone. @throws any error of `work`, or the signal's reason if it is aborted while waiting */
  async run<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const turn = this.#last.then(() => {
      signal.throwIfAborted();
      return work();
    });
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}
