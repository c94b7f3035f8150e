export interface Backoff {
  /** Wait before the first retry, milliseconds. */
  readonly firstMs: number;
  /** Upper bound of every wait, milliseconds. */
  readonly maxMs: number;
}

/**
 * Wait before retry `attempt` (from 1), milliseconds. It doubles up to the bound. Half of it is random, so that many clients do not retry
 * together.
 */
export function waitMs(backoff: Backoff, attempt: number, random: () => number): number {
  const full = Math.min(backoff.maxMs, backoff.firstMs * 2 ** Math.min(attempt - 1, 30));
  return full / 2 + (full / 2) * random();
}
