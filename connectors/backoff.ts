export interface Backoff {
  /** Wait before the first repetition, milliseconds. */
  readonly firstMs: number;
  /** Upper bound of every wait, milliseconds. */
  readonly maxMs: number;
}

/**
 * Milliseconds to wait before repetition `attempt` (from 1): doubles up to the bound, and half of it is left to chance so that
 * many waiters do not come back together.
 */
export function waitMs(backoff: Backoff, attempt: number, random: () => number): number {
  const full = Math.min(backoff.maxMs, backoff.firstMs * 2 ** Math.min(attempt - 1, 30));
  return full / 2 + (full / 2) * random();
}
