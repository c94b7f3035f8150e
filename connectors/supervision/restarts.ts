/** A connector's restarts within the last hour, and whether they show a persistent failure. */
import type { Restart } from '../source/record.ts';

const hourMs = 3_600_000;
const windowMs = 15 * 60_000;
const recentMs = 5 * 60_000;
const many = 3;
/** More than the restarts of one hour at the longest wait between two. */
const kept = 200;

export interface RestartSummary {
  /** Restarts within the last hour. */
  readonly lastHour: number;
  /** Newest restart within the hour. */
  readonly last: Restart | undefined;
  /** At least three restarts within 15 minutes, the newest within 5. A running task is then expected to fail again. */
  readonly failing: boolean;
}

/** @param now milliseconds since the epoch */
export function summarize(restarts: readonly Restart[] = [], now: number): RestartSummary {
  const within = (ms: number): number => restarts.filter(({ at }) => now - Date.parse(at) < ms).length;
  const lastHour = within(hourMs);
  return {
    lastHour,
    last: lastHour === 0 ? undefined : restarts.at(-1),
    failing: within(windowMs) >= many && within(recentMs) > 0,
  };
}

/** Adds restarts and drops those older than one hour. */
export function withRestarts(before: readonly Restart[] = [], added: readonly Restart[], now: number): Restart[] {
  return [...before, ...added].filter(({ at }) => now - Date.parse(at) < hourMs).slice(-kept);
}

/** One-line summary; undefined without restarts. */
export function restartLine({ lastHour, last, failing }: RestartSummary): string | undefined {
  if (last === undefined) return undefined;
  const times = lastHour === 1 ? 'once' : `${lastHour} times`;
  return `${failing ? 'failing: ' : ''}restarted ${times} within the last hour, last at ${last.at} (${last.part}): ${last.cause}`;
}
