import { setTimeout as delay } from 'node:timers/promises';

/**
 * Wall time, for what may depend on it: commit intervals, retries, waiting. Never for a result. The runtime gets it as an argument, so
 * that a test can own it.
 */
export interface Clock {
  /** Milliseconds since the epoch, at the process's own pace: it does not jump when the system's clock is set. */
  now(): number;
  /** Resolves after `ms`, or as soon as the signal is aborted. Never rejects. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** The system's time. */
export const wallClock: Clock = Object.freeze({
  now: () => Math.floor(performance.timeOrigin + performance.now()),
  sleep: (ms: number, signal?: AbortSignal) => delay(ms, undefined, { signal }).catch(() => undefined),
});
