import type { InputRecord } from '../../define.ts';
import { extend } from '../aggregation.ts';
import type { Board } from '../board.ts';
import type { Gaps } from '../panes/gaps.ts';
import { keepOf, Owner, type Pane } from '../panes/pane.ts';
import type { Level } from '../plan.ts';
import type { Recent } from '../recent.ts';
import type { Found } from '../versions.ts';

/** What a record did to a window that it did not simply join. */
export interface WindowOutcome<R> {
  readonly key: string;
  /** As it is after the change; in a window that it has left, as it was before. */
  readonly record: R;
  readonly at: InputRecord<unknown>;
  /** LATE: its window had closed. OUTSIDE: it belongs to no window of this level. */
  readonly reason: 'LATE' | 'UPDATE' | 'DELETE' | 'OUTSIDE';
  /** REVISED: a closed window was emitted again. APPLIED: an open window took it. NOT_APPLIED: the window stays as it was. */
  readonly effect: 'NOT_APPLIED' | 'APPLIED' | 'REVISED';
  readonly level: string;
  /** Start of the window, microseconds; null for OUTSIDE. */
  readonly start: number | null;
  /** Watermark minus event time, microseconds; null when it was not behind. */
  readonly lateness: number | null;
}

/** A record that changed. Null: it was not there before, or is not any more. */
export interface Change<R> {
  readonly before: R | null;
  readonly after: R | null;
}

/** One window that a change is about. */
interface Step<A> {
  readonly level: Level;
  readonly start: number;
  readonly end: number;
  /** The window holds the record before and after the change. */
  readonly holds: { readonly before: boolean; readonly after: boolean };
  /** Its own value has to change; otherwise it takes the change from a smaller window when that closes. */
  readonly takes: { readonly before: boolean; readonly after: boolean };
  /** As far as can be told, neither it nor those beside it ever had the record. */
  readonly strange: boolean;
  /** It is forgotten, or the record is strange to it. */
  readonly untouched: boolean;
  /** How the record before the change goes. `value` is what is left. */
  readonly removal: { readonly how: 'none' | 'emptied' | 'subtracted' | 'merged' | 'read'; readonly value: A | null };
}

/**
 * Changes windows after the fact: late records, corrections and cancels, at every level at once. A record goes by exact subtraction where the rest
 * can be told; otherwise the smallest window that holds it is rebuilt from the log, and the larger ones are merged again.
 */
export class Revision<R, A> {
  readonly #board: Board<R, A>;
  readonly #gaps: Gaps<R, A>;
  readonly #recent: Recent<R> | undefined;
  readonly #outcome: (outcome: WindowOutcome<R>) => void;
  readonly #settle: (owner: Owner<A>) => void;

  constructor(parts: {
    readonly board: Board<R, A>;
    readonly gaps: Gaps<R, A>;
    /** Needed where something cannot be subtracted. */
    readonly recent: Recent<R> | undefined;
    readonly outcome: (outcome: WindowOutcome<R>) => void;
    /** Closes what is due after a change. */
    readonly settle: (owner: Owner<A>) => void;
  }) {
    this.#board = parts.board;
    this.#gaps = parts.gaps;
    this.#recent = parts.recent;
    this.#outcome = parts.outcome;
    this.#settle = parts.settle;
  }

  /** A change of a key that has no windows: it never had the record. */
  unknown(key: string, change: Change<R>, at: InputRecord<unknown>, reason: WindowOutcome<R>['reason']): void {
    const progress = { max_event: 0, max_log: 0, floor: 0, lateness: 0, horizon: 0, frozen: 0, plan: '' };
    const owner = new Owner<A>(key, progress, this.#board.options.plan(key));
    for (const step of this.#steps(owner, change, Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY)) {
      this.#report(owner, step, change, at, reason, { effect: 'NOT_APPLIED', reached: Number.NEGATIVE_INFINITY });
    }
  }

  /**
   * False when no window ever had the record: then none has it now.
   *
   * @throws MillraceError BAD_RECORD, before anything has changed, when a window would become too great for its outputs.
   */
  apply(owner: Owner<A>, change: Change<R>, at: InputRecord<unknown>, reason: WindowOutcome<R>['reason']): boolean {
    const { now } = this.#board;
    const steps = this.#steps(owner, change, owner.reached(now), owner.frozen(now));
    for (const step of steps) this.#check(owner, step, change);
    const again = steps.flatMap((step) => {
      const pane = step.removal.how === 'read' ? owner.lane(step.level).get(step.start) : undefined;
      return pane === undefined ? [] : [pane];
    });
    const finish = (found?: Found<R>) => this.#finish(owner, steps, change, at, reason, found);
    if (again.length === 0) {
      finish();
      return this.#isKnown(owner, steps, change);
    }
    if (this.#recent === undefined)
      throw new TypeError('an aggregation that cannot subtract everything needs `reading`');
    let from = at.offset;
    for (const { state } of again) if (state.from_offset < from) from = state.from_offset;
    const holds = (time: number) => again.some(({ start, end }) => start <= time && time < end);
    this.#recent.ask(
      { topic: at.topic, from, to: at.offset + 1n, key: owner.tie, holds, oldest: () => this.#board.oldestOffset() },
      finish,
    );
    return true;
  }

  /** Whether a window had the record, or may have had it and is frozen. */
  #isKnown(owner: Owner<A>, steps: readonly Step<A>[], { before }: Change<R>): boolean {
    if (before === null || steps.length === 0) return true;
    return steps.some(({ level, start, holds, strange }) => {
      if (!strange) return true;
      return holds.before && !this.#board.isEmpty(owner.lane(level).get(start)?.state.value ?? null);
    });
  }

  /** Smallest windows first, so that a window is changed after all it is made of. */
  #steps(owner: Owner<A>, change: Change<R>, reached: number, frozen: number): Step<A>[] {
    const { aggregation } = this.#board.options;
    const before = change.before === null ? Number.NaN : aggregation.time(change.before);
    const after = change.after === null ? Number.NaN : aggregation.time(change.after);
    const steps: Step<A>[] = [];
    const verdicts = this.#verdicts(owner, before, reached, frozen);
    for (const level of owner.plan.levels) {
      const direct = {
        before: isDirect(level, before, reached),
        after: isDirect(level, after, reached),
      };
      for (const start of startsOf(level, before, after)) {
        const end = level.windows.end(start);
        const holds = { before: start <= before && before < end, after: start <= after && after < end };
        const pane = owner.lane(level).get(start);
        const gone = keepUntil(owner, level, start, this.#board.options.fill > 0) <= frozen;
        const strange = verdicts.get(leafOf(level)) === false;
        const untouched = gone || strange;
        const takes = {
          before:
            !untouched && holds.before && direct.before && pane !== undefined && !this.#board.isEmpty(pane.state.value),
          after: !untouched && holds.after && direct.after,
        };
        const removal =
          takes.before && pane !== undefined
            ? this.#removal(pane, change, frozen)
            : ({ how: 'none', value: null } as const);
        steps.push({ level, start, end, holds, takes, strange, untouched, removal });
      }
    }
    return steps;
  }

  /** Whether the record was ever there, by the leaf that a level is made of: the smallest window that is left knows. */
  #verdicts(owner: Owner<A>, before: number, reached: number, frozen: number): Map<Level, boolean> {
    const verdicts = new Map<Level, boolean>();
    for (const level of owner.plan.levels) {
      const leaf = leafOf(level);
      if (verdicts.has(leaf) || !isDirect(level, before, reached)) continue;
      for (const start of startsOf(level, before)) {
        if (keepUntil(owner, level, start, this.#board.options.fill > 0) <= frozen) continue;
        const value = owner.lane(level).get(start)?.state.value ?? null;
        verdicts.set(leaf, !this.#board.isEmpty(value));
      }
    }
    return verdicts;
  }

  #removal(pane: Pane<A>, change: Change<R>, frozen: number): Step<A>['removal'] {
    const { aggregation } = this.#board.options;
    const value = pane.state.value as A;
    if (aggregation.count(value) === 1) return { how: 'emptied', value: null };
    const left = aggregation.copy(value);
    if (change.before !== null && aggregation.subtract?.(left, change.before) === true) {
      return { how: 'subtracted', value: left };
    }
    // What a frozen window was made of may be forgotten.
    const whole = pane.level.source !== undefined && !pane.state.opaque && pane.end > frozen;
    return { how: whole ? 'merged' : 'read', value };
  }

  #check(owner: Owner<A>, step: Step<A>, change: Change<R>): void {
    const { check } = this.#board.options.aggregation;
    if (check === undefined || (!step.takes.before && !step.takes.after)) return;
    const value = step.takes.before
      ? step.removal.value
      : (owner.lane(step.level).get(step.start)?.state.value ?? null);
    check(this.#board.isEmpty(value) ? null : value, step.takes.after ? change.after : null, step.level.share);
  }

  #finish(
    owner: Owner<A>,
    steps: readonly Step<A>[],
    change: Change<R>,
    at: InputRecord<unknown>,
    reason: WindowOutcome<R>['reason'],
    found: Found<R> | undefined,
  ): void {
    const { now } = this.#board;
    const reached = owner.reached(now);
    const frozen = owner.frozen(now);
    const changed = steps.map((step) => this.#change(owner, step, change, at, found, { reached, now }));
    for (const [index, step] of steps.entries()) {
      const closed = step.end <= reached;
      const untouched = step.untouched || (closed && step.end <= frozen);
      const effect = untouched ? 'NOT_APPLIED' : closed ? 'REVISED' : 'APPLIED';
      this.#report(owner, step, change, at, reason, { effect, reached });
      const pane = changed[index];
      if (pane === undefined) continue;
      if (effect === 'REVISED') {
        const why = reason === 'UPDATE' ? 'CORRECTION' : reason === 'DELETE' ? 'CANCEL' : 'LATE_TRADE';
        const filled = pane.state.value !== null && this.#board.isEmpty(pane.state.value);
        this.#board.emit(pane, filled ? 'FILLED' : 'REVISED', why);
        this.#board.save(pane);
        this.#gaps.follow(pane, now, why);
      } else {
        this.#board.save(pane);
      }
    }
    this.#settle(owner);
  }

  /** The window, if its value has changed. */
  #change(
    owner: Owner<A>,
    step: Step<A>,
    change: Change<R>,
    at: InputRecord<unknown>,
    found: Found<R> | undefined,
    time: { readonly reached: number; readonly now: number },
  ): Pane<A> | undefined {
    const { level, start, end, takes, removal } = step;
    if (!takes.before && !takes.after) return undefined;
    const closed = end <= time.reached;
    const pane =
      owner.lane(level).get(start) ??
      (closed ? this.#board.openClosed(owner, level, start) : this.#board.open(owner, level, start));
    const { state } = pane;
    if (removal.how === 'read' && found !== undefined) {
      this.#rebuild(pane, found, time.reached);
    } else {
      if (removal.how === 'subtracted') state.value = removal.value;
      else if (removal.how === 'emptied') state.value = this.#gaps.emptied(pane);
      if (removal.how === 'merged') {
        // The smaller windows have the record as it is now, if it is here.
        this.#board.mergeAgain(pane);
        if (state.value === null) state.value = this.#gaps.emptied(pane);
      } else if (takes.after && change.after !== null) this.#board.add(pane, change.after, at);
    }
    extend(state, at);
    if (!closed) this.#board.touch(pane, time.now);
    return pane;
  }

  /** A window anew, of the records that the log has for it; without those that a smaller window will bring when it closes. */
  #rebuild(pane: Pane<A>, found: Found<R>, reached: number): void {
    const { start, end, level, state } = pane;
    const until = level.source === undefined ? end : Math.min(end, level.source.windows.at(reached));
    const value = found.total(start, until, state.from_offset, this.#board.options.aggregation);
    state.value = value ?? this.#gaps.emptied(pane);
  }

  #report(
    owner: Owner<A>,
    step: Step<A>,
    change: Change<R>,
    at: InputRecord<unknown>,
    reason: WindowOutcome<R>['reason'],
    found: { readonly effect: WindowOutcome<R>['effect']; readonly reached: number },
  ): void {
    // A record that is late for one level simply joins the open windows of the others.
    if (reason === 'LATE' && step.end > found.reached) return;
    const record = step.holds.after ? change.after : change.before;
    if (record === null) return;
    const behind = found.reached - this.#board.options.aggregation.time(record);
    this.#outcome({
      key: owner.tie,
      record,
      at,
      reason,
      effect: found.effect,
      level: step.level.windows.name,
      start: step.start,
      lateness: behind > 0 ? behind : null,
    });
  }
}

/** Whether a window of this level has to take the record itself: what smaller windows have it have closed, or there are none. */
function isDirect({ source }: Level, time: number, reached: number): boolean {
  if (source === undefined) return true;
  return source.windows.end(source.windows.at(time)) <= reached;
}

function leafOf(level: Level): Level {
  return level.source === undefined ? level : leafOf(level.source);
}

/** Starts of the windows that hold either instant, ascending. NaN is in none. */
function startsOf({ windows }: Level, ...times: readonly number[]): number[] {
  const starts = new Set<number>();
  for (const time of times) {
    if (Number.isNaN(time)) continue;
    for (let at = windows.at(time); !Number.isNaN(at); at = windows.before(at, time)) starts.add(at);
  }
  return [...starts].sort((a, b) => a - b);
}

function keepUntil<A>(owner: Owner<A>, level: Level, start: number, fills: boolean): number {
  return owner.lane(level).get(start)?.keep ?? keepOf(level, start, level.windows.end(start), fills);
}
