import { setTimeout as delay } from 'node:timers/promises';
import { dispositionOf } from '../../core/base/errors.ts';

/** How long parts that do not answer yet are waited for, milliseconds. */
const patienceMs = 30_000;
const retryMs = 2_000;

export interface PatienceOptions {
  readonly signal: AbortSignal;
  /** Told of each failure after which it is tried again. */
  readonly onRetry: (error: unknown) => void;
}

/**
 * Parts that are not there yet are waited for: a container may be faster than the parts it needs.
 *
 * @throws what `start` throws: at once if a retry cannot cure it, else after 30 seconds
 */
export async function patiently<T>({ signal, onRetry }: PatienceOptions, start: () => Promise<T>): Promise<T> {
  const giveUpAt = performance.now() + patienceMs;
  for (;;) {
    try {
      return await start();
    } catch (error) {
      if (dispositionOf(error) !== 'retry' || signal.aborted || performance.now() > giveUpAt) throw error;
      onRetry(error);
      await delay(retryMs, undefined, { signal }).catch(() => undefined);
    }
  }
}
