import { setTimeout as delay } from 'node:timers/promises';
import { dispositionOf } from '../../core/base/errors.ts';

/** Longest wait for parts that do not answer yet, milliseconds. */
const patienceMs = 30_000;
const retryMs = 2_000;

export interface PatienceOptions {
  readonly signal: AbortSignal;
  /** Called for each failure that is retried. */
  readonly onRetry: (error: unknown) => void;
}

/**
 * Repeats `start` while parts do not answer: a container may start faster than the parts it needs.
 *
 * @throws the error of `start`: at once if a retry cannot cure it, otherwise after 30 seconds
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
