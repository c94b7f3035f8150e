import { MillraceError } from '../../base/errors.ts';
import type { Context, InputRecord, StoreDefinition } from '../define.ts';
import { micros, observe, startProgress } from '../watermark.ts';
import { type Aggregation, type KeyProgress, keyStore, paneStore } from './aggregation.ts';
import { Board, type BoardOptions } from './board.ts';
import { Gaps } from './panes/gaps.ts';
import type { Owner, Pane } from './panes/pane.ts';
import { type Reading, Recent } from './recent.ts';
import { Rebuild, type RebuildRequest } from './revisions/rebuild.ts';
import { type Change, Revision, type WindowOutcome } from './revisions/revision.ts';

/** What windows are made of, how late a record may be, and where they go. */
export interface WindowedOptions<R, A> extends BoardOptions<R, A> {
  /** How far an event time may exceed the log time of its own record, microseconds. */
  readonly maxFutureSkew: number;
  /** Called for each window that a record did not simply join: late, corrected, cancelled, or outside every window of a level. */
  readonly outcome?: (outcome: WindowOutcome<R>) => void;
  /** Needed when records can be corrected and the aggregation cannot always subtract. */
  readonly reading?: Reading<R>;
}

/** The stores that an aggregate needs: part of the processor's declaration. */
export function windowStores<R, A>(aggregation: Aggregation<R, A>): StoreDefinition[] {
  return [keyStore, paneStore(aggregation.schema)];
}

/**
 * Aggregates records by key and event-time window.
 *
 * A window opens with its first record and closes, once, when its key's watermark reaches its end. After that a late record, a correction or a
 * cancel revises it, until its end is the revision horizon behind the watermark: then it is frozen and forgotten. Larger windows are
 * merged from smaller ones where those divide them, exactly.
 *
 * Use it from a fold: hand it the fold's `restored`, `deadline`, `advance` and `gauges`, and call `add` and `correct` in `record`.
 */
export class Windowed<R, A> {
  readonly #options: WindowedOptions<R, A>;
  readonly #aggregation: Aggregation<R, A>;
  readonly #board: Board<R, A>;
  readonly #gaps: Gaps<R, A>;
  readonly #revision: Revision<R, A>;
  readonly #rebuild: Rebuild<R, A> | undefined;
  readonly #closed: (pane: Pane<A>) => void;
  #deadline = Number.POSITIVE_INFINITY;
  #deadlineMicros: bigint | undefined;

  constructor(options: WindowedOptions<R, A>, context: Context) {
    this.#options = options;
    this.#aggregation = options.aggregation;
    this.#board = new Board(options, context);
    this.#gaps = new Gaps(this.#board);
    this.#closed = (pane) => this.#gaps.follow(pane, this.#board.now, 'GAP');
    const { reading } = options;
    this.#rebuild = reading === undefined ? undefined : new Rebuild(this.#board, context, reading);
    this.#revision = new Revision({
      board: this.#board,
      gaps: this.#gaps,
      recent: reading === undefined ? undefined : new Recent(context, reading),
      outcome: (outcome) => options.outcome?.(outcome),
      settle: (owner) => this.#board.settle(owner, this.#board.now, this.#closed),
    });
  }

  restored(): void {
    this.#board.restore();
  }

  deadline(): bigint | undefined {
    const next = this.#board.deadline;
    if (next !== this.#deadline) {
      this.#deadline = next;
      this.#deadlineMicros = next === Number.POSITIVE_INFINITY ? undefined : BigInt(next);
    }
    return this.#deadlineMicros;
  }

  advance(): void {
    this.#board.advance(this.#board.now, this.#closed);
  }

  /** Keys, windows, and the least and greatest watermark of all keys in microseconds. */
  gauges(): Readonly<Record<string, number>> {
    const { now } = this.#board;
    let slowest = Number.POSITIVE_INFINITY;
    let fastest = Number.NEGATIVE_INFINITY;
    for (const owner of this.#board.owners()) {
      const reached = owner.reached(now);
      if (reached < slowest) slowest = reached;
      if (reached > fastest) fastest = reached;
    }
    const { keys, openPanes, keptPanes } = this.#board;
    const counts = { keys, open_windows: openPanes, kept_windows: keptPanes };
    return keys === 0 ? counts : { ...counts, watermark_min_us: slowest, watermark_max_us: fastest };
  }

  /**
   * A new record. It joins its windows, revises those that have closed, and then moves its key's watermark: no record is late because of itself.
   *
   * @throws MillraceError FUTURE_EVENT_TIME or BAD_RECORD, before anything has changed.
   */
  add(key: string, record: R, at: InputRecord<unknown>): void {
    const time = this.#aggregation.time(record);
    const recordLog = micros(at.logTime);
    this.#refuseFuture(time, recordLog);
    const { now } = this.#board;
    const known = this.#board.owner(key);
    const plan = known?.plan ?? this.#options.plan(key);
    const reached = known === undefined ? Number.NEGATIVE_INFINITY : known.reached(now);
    const { leaves } = plan;
    let late = false;
    for (let index = 0; index < leaves.length; index++) {
      const level = leaves[index] as (typeof leaves)[number];
      const { windows } = level;
      for (let start = windows.at(time); !Number.isNaN(start); start = windows.before(start, time)) {
        if (windows.end(start) <= reached) late = true;
        const value = known?.lane(level).get(start)?.state.value ?? null;
        this.#aggregation.check?.(this.#board.isEmpty(value) ? null : value, record, level.share);
      }
    }
    for (const { windows } of plan.gappy) windows.at(time);

    // From here on nothing throws: the record is taken.
    const owner = known ?? this.#board.start(key, this.#startProgress(time, recordLog, plan.name));
    if (late) this.#revision.apply(owner, { before: null, after: record }, at, 'LATE');
    else this.#join(owner, record, time, at, now);
    if (plan.gappy.length > 0) this.#outside(owner, record, time, at);
    if (known === undefined || observe(owner.progress, time, recordLog, now)) this.#board.saveProgress(owner);
    this.#board.settle(owner, now, this.#closed);
  }

  /**
   * A record that was changed (`after`) or is gone (`after` null). `before` is null when it was not there: it was refused, say. Moves no
   * watermark. A record that none of its windows had is not applied to them.
   *
   * @returns false when it was not applied for that reason while there are windows that it could be in: what they hold of the record is nothing,
   *   which the next correction of it and `reading` have to say.
   * @throws MillraceError as `add` does.
   */
  correct(key: string, change: Change<R>, at: InputRecord<unknown>): boolean {
    const { before, after } = change;
    const recordLog = micros(at.logTime);
    const record = after ?? before;
    if (record === null) return true;
    const time = this.#aggregation.time(record);
    if (after !== null) this.#refuseFuture(time, recordLog);
    const known = this.#board.owner(key);
    const plan = known?.plan ?? this.#options.plan(key);
    for (const { windows } of plan.gappy) windows.at(time);
    const reason = after === null ? 'DELETE' : 'UPDATE';
    if (known === undefined && before !== null) {
      this.#revision.unknown(key, change, at, reason);
      return true;
    }
    if (known !== undefined) {
      const applied = this.#revision.apply(known, change, at, reason);
      this.#outside(known, record, time, at);
      return applied;
    }
    for (const { share } of plan.leaves) this.#aggregation.check?.(null, after, share);
    const owner = this.#board.start(key, this.#startProgress(time, recordLog, plan.name));
    this.#board.saveProgress(owner);
    this.#revision.apply(owner, change, at, reason);
    this.#outside(owner, record, time, at);
    return true;
  }

  /** Makes frozen windows again from the log. Only in the fold's `table`. */
  rebuild(request: RebuildRequest): void {
    if (this.#rebuild === undefined) throw new TypeError('to rebuild windows, an aggregate needs `reading`');
    this.#rebuild.ask(request);
  }

  #refuseFuture(time: number, recordLog: number): void {
    if (time - recordLog <= this.#options.maxFutureSkew) return;
    throw new MillraceError(
      'FUTURE_EVENT_TIME',
      `the event time is ${time - recordLog} µs after its commit; ${this.#options.maxFutureSkew} µs are allowed`,
      { remedy: 'Correct the event time in Postgres, or raise maxFutureSkewMs.' },
    );
  }

  #startProgress(time: number, recordLog: number, plan: string): KeyProgress {
    const { lateness, horizon } = this.#options;
    return { ...startProgress(time, recordLog, lateness), horizon, frozen: Number.MIN_SAFE_INTEGER, plan };
  }

  #join(owner: Owner<A>, record: R, time: number, at: InputRecord<unknown>, now: number): void {
    const { leaves } = owner.plan;
    for (let index = 0; index < leaves.length; index++) {
      const level = leaves[index] as (typeof leaves)[number];
      const { windows } = level;
      for (let start = windows.at(time); !Number.isNaN(start); start = windows.before(start, time)) {
        const pane = owner.lane(level).get(start) ?? this.#board.open(owner, level, start);
        this.#board.add(pane, record, at);
        this.#board.touch(pane, now);
        this.#board.save(pane);
      }
    }
  }

  #outside(owner: Owner<A>, record: R, time: number, at: InputRecord<unknown>): void {
    for (const { windows } of owner.plan.gappy) {
      if (!Number.isNaN(windows.at(time))) continue;
      this.#options.outcome?.({
        key: owner.tie,
        record,
        at,
        reason: 'OUTSIDE',
        effect: 'NOT_APPLIED',
        level: windows.name,
        start: null,
        lateness: null,
      });
    }
  }
}
