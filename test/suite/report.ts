/** What has passed and what has failed, as text. */

export interface Outcome {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  /** To be shown: what has not been shown while it ran. */
  readonly output?: string;
}

export const nothing: Outcome = { passed: 0, failed: 0, skipped: 0 };

/** A step that failed as a whole. */
export function failure(output: string): Outcome {
  return { ...nothing, failed: 1, output };
}

export interface StepResult {
  readonly name: string;
  readonly seconds: number;
  readonly outcome: Outcome;
}

/** Lanes write to the same place at the same time: each line of it begins with the lane's name. */
export function labelled(name: string, width: number, write: (line: string) => void): (line: string) => void {
  return (line) => write(`${name.padEnd(width)} │ ${line}`.trimEnd());
}

/** `✓ unit (12.3 s, 5 passed, 0 failed, 0 skipped)`. Counts only of steps with more than one test. */
export function lineOf({ name, seconds, outcome: { passed, failed, skipped } }: StepResult): string {
  const counts = passed + failed + skipped > 1 ? `, ${passed} passed, ${failed} failed, ${skipped} skipped` : '';
  return `${failed === 0 ? '✓' : '✗'} ${name} (${seconds.toFixed(1)} s${counts})`;
}

export function totalOf(results: readonly StepResult[]): Outcome {
  const sum = (of: 'passed' | 'failed' | 'skipped') => results.reduce((total, { outcome }) => total + outcome[of], 0);
  return { passed: sum('passed'), failed: sum('failed'), skipped: sum('skipped') };
}

/** The last line of a run: `N passed, N failed`, and `, N skipped` if there are any. */
export function lastLine({ passed, failed, skipped }: Outcome): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
}
