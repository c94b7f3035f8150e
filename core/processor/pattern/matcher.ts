import {
  type Absence,
  type Attempt,
  isTake,
  type Matched,
  type Pattern,
  type PatternEvent,
  type PatternOutcome,
  type PatternState,
  type PatternStep,
  type Take,
  timesOf,
} from './pattern.ts';

/** What an event made of an attempt: the attempt as it is now, `undefined` when it is given up. */
type Next<E> = Attempt<E> | undefined;

/** The next state of a key, and what came of it, in the order in which it was decided. */
export interface Result<E> {
  readonly state: PatternState<E>;
  readonly outcomes: readonly PatternOutcome<E>[];
}

/** No time has passed, nothing is under way. */
export function startPattern<E>(): PatternState<E> {
  return { time: MIN_TIME, sequence: 0n, attempts: [] };
}

/** Before every time that a log knows. */
const MIN_TIME = -(2n ** 53n);

/**
 * Takes an event. Time first advances to it: what is due at or before its time is decided without it. Then each attempt is offered it, oldest
 * first, and it may begin a new one.
 */
export function offer<E>(pattern: Pattern<E>, before: PatternState<E>, event: PatternEvent<E>): Result<E> {
  if (event.time < before.time) {
    return { state: before, outcomes: [{ kind: 'late', time: before.time, event }] };
  }
  const { state, outcomes } = advance(pattern, before, event.time);
  const found = [...outcomes];
  const { sequence } = state;
  const kept: Attempt<E>[] = [];
  let cut = MIN_TIME;
  const began: Attempt<E> = { step: 0, since: event.time, taken: [] };
  for (const attempt of [...state.attempts, began]) {
    if ((attempt.taken[0]?.sequence ?? sequence) < cut) continue;
    const next = step(pattern, attempt, event, sequence);
    if (next === undefined || next.taken.length === 0) continue;
    if (next.step < pattern.steps.length) {
      kept.push(next);
      continue;
    }
    found.push(outcome('match', pattern, next, event.time));
    cut = later(cut, cutOf(pattern, next));
  }
  const attempts = kept.filter((attempt) => begin(attempt) >= cut);
  return { state: { time: event.time, sequence: sequence + 1n, attempts }, outcomes: found };
}

/** Lets time pass up to and including `time`: absences are fulfilled, attempts run out. Going back does nothing. */
export function advance<E>(pattern: Pattern<E>, before: PatternState<E>, time: bigint): Result<E> {
  if (time <= before.time) return { state: before, outcomes: [] };
  let attempts = before.attempts;
  const outcomes: PatternOutcome<E>[] = [];
  for (;;) {
    const at = earliest(pattern, attempts);
    const attempt = at === undefined ? undefined : attempts[at];
    if (at === undefined || attempt === undefined) break;
    const due = dueOf(pattern, attempt);
    if (due > time) break;
    if (due === expiryOf(pattern, attempt)) {
      attempts = attempts.toSpliced(at, 1);
      if (pattern.timeouts === true) outcomes.push(outcome('timeout', pattern, attempt, due - 1n));
      continue;
    }
    const next = { ...attempt, step: attempt.step + 1, since: due };
    if (next.step < pattern.steps.length) {
      attempts = attempts.with(at, next);
      continue;
    }
    outcomes.push(outcome('match', pattern, next, due));
    const cut = cutOf(pattern, next);
    attempts = attempts.toSpliced(at, 1).filter((each) => begin(each) >= cut);
  }
  return { state: { time, sequence: before.sequence, attempts }, outcomes };
}

/** The earliest time at which `advance` would do something. */
export function patternDeadline<E>(pattern: Pattern<E>, { attempts }: PatternState<E>): bigint | undefined {
  let first: bigint | undefined;
  for (const attempt of attempts) {
    const due = dueOf(pattern, attempt);
    if (first === undefined || due < first) first = due;
  }
  return first;
}

function step<E>(pattern: Pattern<E>, attempt: Attempt<E>, event: PatternEvent<E>, sequence: bigint): Next<E> {
  const { steps } = pattern;
  const current = steps[attempt.step];
  if (current === undefined) return undefined;
  const matched = matchedOf(pattern, attempt);
  const took = (at: number): Attempt<E> => take(steps, attempt, at, event, sequence);
  const passed = pattern.contiguity === 'strict' ? undefined : attempt;

  if (!isTake(current)) {
    if (current.absent(event, matched)) return undefined;
    if (current.for !== undefined) return passed;
    return fits(steps[attempt.step + 1], event, matched) ? took(attempt.step + 1) : passed;
  }
  const { min, max } = timesOf(current);
  const count = countOf(attempt, attempt.step);
  if (count < max && current.where(event, matched)) return took(attempt.step);
  if (count < min) return count === 0 && attempt.step === 0 ? undefined : passed;
  const guard = steps[attempt.step + 1];
  if (guard !== undefined && !isTake(guard)) {
    if (guard.absent(event, matched)) return undefined;
    return fits(steps[attempt.step + 2], event, matched) ? took(attempt.step + 2) : passed;
  }
  return fits(guard, event, matched) ? took(attempt.step + 1) : passed;
}

function fits<E>(candidate: PatternStep<E> | undefined, event: PatternEvent<E>, matched: Matched<E>): boolean {
  return candidate !== undefined && isTake(candidate) && candidate.where(event, matched);
}

/** The attempt with the event taken by step `at`, which is left when it is full. */
function take<E>(
  steps: readonly PatternStep<E>[],
  attempt: Attempt<E>,
  at: number,
  event: PatternEvent<E>,
  sequence: bigint,
): Attempt<E> {
  const taken = [...attempt.taken, { step: at, sequence, event }];
  const next = { step: at, since: event.time, taken };
  const { max } = timesOf(steps[at] as Take<E>);
  return countOf(next, at) < max ? next : { ...next, step: at + 1 };
}

function countOf<E>({ taken }: Attempt<E>, at: number): number {
  let count = 0;
  for (let index = taken.length - 1; index >= 0 && taken[index]?.step === at; index--) count++;
  return count;
}

function outcome<E>(
  kind: 'match' | 'timeout',
  pattern: Pattern<E>,
  attempt: Attempt<E>,
  time: bigint,
): PatternOutcome<E> {
  return { kind, time, events: attempt.taken.map(({ event }) => event), matched: matchedOf(pattern, attempt) };
}

function matchedOf<E>(pattern: Pattern<E>, { taken }: Attempt<E>): Matched<E> {
  return (name) => taken.filter((each) => pattern.steps[each.step]?.name === name).map(({ event }) => event);
}

/** Number of the attempt's first event. */
function begin<E>({ taken }: Attempt<E>): bigint {
  return taken[0]?.sequence ?? MIN_TIME;
}

/** Attempts that began before this number are given up after the match. */
function cutOf<E>({ afterMatch = 'keep all', steps }: Pattern<E>, { taken }: Attempt<E>): bigint {
  if (afterMatch === 'keep all') return MIN_TIME;
  if (afterMatch === 'skip past last') return (taken.at(-1)?.sequence ?? MIN_TIME) + 1n;
  return taken.find((each) => steps[each.step]?.name === afterMatch.skipTo)?.sequence ?? MIN_TIME;
}

/** The attempt that is due first; of several the oldest. */
function earliest<E>(pattern: Pattern<E>, attempts: readonly Attempt<E>[]): number | undefined {
  let best: number | undefined;
  let first = 0n;
  for (const [at, attempt] of attempts.entries()) {
    const due = dueOf(pattern, attempt);
    if (best === undefined || due < first) [best, first] = [at, due];
  }
  return best;
}

/** When time alone changes the attempt: its absence is fulfilled in time, or it runs out. */
function dueOf<E>(pattern: Pattern<E>, attempt: Attempt<E>): bigint {
  const expiry = expiryOf(pattern, attempt);
  const absence = absenceEnd(pattern, attempt);
  return absence !== undefined && absence < expiry ? absence : expiry;
}

/** The first instant after `within`. */
function expiryOf<E>({ within }: Pattern<E>, { taken, since }: Attempt<E>): bigint {
  return (taken[0]?.event.time ?? since) + within + 1n;
}

function absenceEnd<E>({ steps }: Pattern<E>, { step: at, since }: Attempt<E>): bigint | undefined {
  const current = steps[at] as Take<E> | Absence<E> | undefined;
  return current === undefined || isTake(current) || current.for === undefined ? undefined : since + current.for;
}

function later(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
