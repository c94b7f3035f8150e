/**
 * Patterns over the events of one key: what has to happen, in which order and in what time.
 *
 * A pattern is data around conditions: a sequence of steps, each of which takes events or says what must not come. Matching
 * (`matcher.ts`) is pure: the same events and times give the same outcomes, whatever the chunks they come in.
 *
 * Times are microseconds and may be event time or log time, as the caller gives them, but never fall. Not its job: putting events in
 * order. One that is behind the time reached is an outcome, `late`.
 */

/** An event as a pattern keeps it. `value` holds what conditions and readers of a match need, and nothing more: it is stored. */
export interface PatternEvent<E> {
  /** Names the event to people: a trade id, a window. */
  readonly id: string;
  /** Microseconds. */
  readonly time: bigint;
  readonly value: E;
}

/** The events that were taken by a step so far, oldest first. Empty for a step that has none yet. */
export type Matched<E> = (step: string) => readonly PatternEvent<E>[];

export type Condition<E> = (event: PatternEvent<E>, matched: Matched<E>) => boolean;

/** A step that takes events. */
export interface Take<E> {
  readonly name: string;
  readonly where: Condition<E>;
  /**
   * How many events it takes. Default 1. With a `min` and a greater `max` (none: as many as come) it is greedy: an event that fits both this step and
   * the next is taken by this one, as long as there is room.
   */
  readonly times?: number | { readonly min: number; readonly max?: number };
}

/**
 * A step of absence. With `for`: no such event in [t, t + for), where t is the time of the last event taken (or the end of the absence before); the
 * step is over at t + for, even if nothing else ever comes. Without: no such event before the next step takes its first one.
 */
export interface Absence<E> {
  readonly name: string;
  readonly absent: Condition<E>;
  /** Microseconds. */
  readonly for?: bigint;
}

export type PatternStep<E> = Take<E> | Absence<E>;

/** A pattern: steps in their order, how long they may take, and what becomes of other attempts after a match. */
export interface Pattern<E> {
  readonly name: string;
  /** The first one takes events. */
  readonly steps: readonly PatternStep<E>[];
  /** Longest time from the first event to the end of the match, inclusive, microseconds. It bounds what is kept. */
  readonly within: bigint;
  /** `relaxed` (default): events that fit nowhere are passed over. `strict`: such an event ends the attempt. */
  readonly contiguity?: 'relaxed' | 'strict';
  /**
   * Each event that fits the first step begins an attempt. What becomes of the others when one has matched:
   * `keep all` (default); `skip past last`: those that began at or before the last event of the match are given up; `{ skipTo }`: those that began
   * before the first event of that step.
   */
  readonly afterMatch?: 'keep all' | 'skip past last' | { readonly skipTo: string };
  /** Attempts that ran out of `within` are an outcome, too. Default: they are forgotten. */
  readonly timeouts?: boolean;
}

/** An event with the step that took it and its number among all events of the key. */
export interface TakenEvent<E> {
  readonly step: number;
  readonly sequence: bigint;
  readonly event: PatternEvent<E>;
}

/** An attempt that is under way. */
export interface Attempt<E> {
  /** The step that is being filled. */
  readonly step: number;
  /** When that step began: time of the last event taken, or the end of the absence before. */
  readonly since: bigint;
  readonly taken: readonly TakenEvent<E>[];
}

/** All that a key's matching remembers: plain and serialisable (`patternStateSchema`). Attempts are oldest first. */
export interface PatternState<E> {
  readonly time: bigint;
  /** Number of the next event. */
  readonly sequence: bigint;
  readonly attempts: readonly Attempt<E>[];
}

/** What an event, or the passing of time, gave. */
export type PatternOutcome<E> =
  | {
      /** `match`: all steps are done. `timeout`: `within` ran out before. */
      readonly kind: 'match' | 'timeout';
      /** When it was decided: the last event's time, the end of an absence, or the last instant of `within`. */
      readonly time: bigint;
      /** The events that caused it, oldest first. */
      readonly events: readonly PatternEvent<E>[];
      readonly matched: Matched<E>;
    }
  | {
      /** The event is behind the time that was reached: it was not looked at. */
      readonly kind: 'late';
      readonly time: bigint;
      readonly event: PatternEvent<E>;
    };

export function isTake<E>(step: PatternStep<E>): step is Take<E> {
  return 'where' in step;
}

/** Least and greatest number of events that a step takes. */
export function timesOf<E>({ times = 1 }: Take<E>): { readonly min: number; readonly max: number } {
  return typeof times === 'number'
    ? { min: times, max: times }
    : { min: times.min, max: times.max ?? Number.POSITIVE_INFINITY };
}

/** Checks a pattern once, and freezes it. @throws TypeError for one that could never match, never end, or mean two things. */
export function definePattern<E>(pattern: Pattern<E>): Pattern<E> {
  const refuse = (why: string): TypeError => new TypeError(`pattern ${pattern.name}: ${why}`);
  const { steps } = pattern;
  const [first] = steps;
  const last = steps.at(-1);
  if (first === undefined || last === undefined) throw refuse('it has no steps');
  if (!isTake(first)) throw refuse('the first step has to take an event: nothing begins with an absence');
  if (new Set(steps.map(({ name }) => name)).size !== steps.length) throw refuse('two steps have the same name');
  if (pattern.within <= 0n) throw refuse('within has to be greater than 0');
  for (const [at, step] of steps.entries()) {
    const next = steps[at + 1];
    if (isTake(step)) {
      const { min, max } = timesOf(step);
      if (!Number.isSafeInteger(min) || min < 1 || max < min)
        throw refuse(`step ${step.name} has to take 1 event or more`);
      if (min !== max && (next === undefined || (!isTake(next) && next.for !== undefined))) {
        throw refuse(`nothing says when step ${step.name} has taken its last event`);
      }
    } else if (step.for === undefined) {
      if (next === undefined || !isTake(next))
        throw refuse(`step ${step.name} is over when the next step takes an event, and there is none`);
    } else if (step.for <= 0n || step.for > pattern.within) {
      throw refuse(`step ${step.name} has to be for more than 0 and no longer than within`);
    }
  }
  const { afterMatch } = pattern;
  if (typeof afterMatch === 'object') {
    const target = steps.find(({ name }) => name === afterMatch.skipTo);
    if (target === undefined || !isTake(target))
      throw refuse(`no step that takes events is called ${afterMatch.skipTo}`);
  }
  return Object.freeze(pattern);
}

/** Avro schema of a `PatternState` whose events' values have this schema. */
export function patternStateSchema(namespace: string, value: object): object {
  const record = (name: string, fields: readonly (readonly [name: string, type: unknown])[]): object => ({
    type: 'record',
    name,
    namespace,
    fields: fields.map(([field, type]) => ({ name: field, type })),
  });
  const event = record('PatternEvent', [
    ['id', 'string'],
    ['time', 'long'],
    ['value', value],
  ]);
  const taken = record('PatternTaken', [
    ['step', 'int'],
    ['sequence', 'long'],
    ['event', event],
  ]);
  const attempt = record('PatternAttempt', [
    ['step', 'int'],
    ['since', 'long'],
    ['taken', { type: 'array', items: taken }],
  ]);
  return record('PatternState', [
    ['time', 'long'],
    ['sequence', 'long'],
    ['attempts', { type: 'array', items: attempt }],
  ]);
}
