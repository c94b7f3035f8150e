/**
 * How patient tests on a stack are. Nothing waits for so long that is right: these limits end what hangs, also on a machine that is busy with
 * something else. How long something takes is no assertion.
 */
import { setTimeout as sleep } from 'node:timers/promises';

/** How long a test waits for one condition, milliseconds. */
export const patienceMs = 300_000;

/** How long one test or hook may take, milliseconds. */
export const limitMs = 4 * patienceMs;

/** Asks until the answer is true; errors count as no. @throws Error after that time, with the last error */
export async function eventually(question: () => Promise<boolean>, timeoutMs = patienceMs): Promise<void> {
  await until(question, (answer) => answer, { timeoutMs });
}

export interface UntilOptions {
  /** Between an answer and the next question. Default 100. */
  readonly pauseMs?: number;
  /** Default `patienceMs`. */
  readonly timeoutMs?: number;
}

/**
 * Asks until the answer is as it should be, and returns it; errors count as no.
 *
 * @throws Error after that time, with the last answer or error
 */
export async function until<T>(
  ask: () => Promise<T>,
  holds: (answer: T) => boolean,
  { pauseMs = 100, timeoutMs = patienceMs }: UntilOptions = {},
): Promise<T> {
  const giveUpAt = performance.now() + timeoutMs;
  let last: unknown;
  while (performance.now() < giveUpAt) {
    try {
      const answer = await ask();
      if (holds(answer)) return answer;
      last = told(answer);
    } catch (error) {
      last = error;
    }
    await sleep(pauseMs);
  }
  throw new Error(`not within ${timeoutMs} ms: ${String(last)}`);
}

function told(answer: unknown): string {
  return JSON.stringify(answer, (_, value) => (typeof value === 'bigint' ? String(value) : value));
}
