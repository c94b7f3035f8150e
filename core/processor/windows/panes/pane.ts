import { Heap, type HeapEntry } from '../../heap.ts';
import { watermarkAt } from '../../watermark.ts';
import { type KeyProgress, nowhere, type PaneState, paneKey } from '../aggregation.ts';
import type { Level, Plan } from '../plan.ts';

/** One window of one key. While open it is due when it ends, afterwards when it may be forgotten; event times. */
export class Pane<A> implements HeapEntry {
  readonly owner: Owner<A>;
  readonly level: Level;
  readonly start: number;
  readonly end: number;
  /** Event time after which nothing asks for it any more, but for the revision horizon. */
  readonly keep: number;
  /** In the store. */
  readonly key: string;
  state: PaneState<A>;
  /** Windows that end together close smallest first: a larger one is made of them. */
  readonly tie: number;
  due = 0;
  slot = -1;

  constructor(owner: Owner<A>, level: Level, start: number, fills: boolean, state: PaneState<A> | undefined) {
    this.owner = owner;
    this.level = level;
    this.start = start;
    this.end = level.windows.end(start);
    this.keep = keepOf(level, start, this.end, fills);
    this.key = paneKey(level.windows.name, start, owner.tie);
    this.state = state ?? {
      revision: 0,
      closed: false,
      opaque: false,
      partial_due: 0,
      ...nowhere,
      value: null,
    };
    this.tie = level.index;
  }
}

/**
 * Until when a window is needed: until it is frozen itself, and so are those that it is merged into (they may have to be merged again) and the
 * one whose gap it fills.
 */
export function keepOf(level: Level, start: number, end: number, fills: boolean): number {
  let keep = end;
  for (const { windows } of level.parents) {
    const parent = windows.at(start);
    if (!Number.isNaN(parent)) keep = Math.max(keep, windows.end(parent));
  }
  if (fills) {
    const next = level.windows.next(start);
    if (!Number.isNaN(next)) keep = Math.max(keep, level.windows.end(next));
  }
  return keep;
}

/** The windows of one level, by start. Records mostly go on in the window of the one before: that one is at hand. */
export class Lane<A> {
  readonly #panes = new Map<number, Pane<A>>();
  #latest: Pane<A> | undefined;
  /** Greatest start so far. */
  greatest = Number.NEGATIVE_INFINITY;

  get(start: number): Pane<A> | undefined {
    if (this.#latest?.start === start) return this.#latest;
    const found = this.#panes.get(start);
    if (found !== undefined) this.#latest = found;
    return found;
  }

  add(pane: Pane<A>): void {
    this.#panes.set(pane.start, pane);
    if (pane.start > this.greatest) this.greatest = pane.start;
    this.#latest = pane;
  }

  values(): IterableIterator<Pane<A>> {
    return this.#panes.values();
  }

  delete(pane: Pane<A>): void {
    this.#panes.delete(pane.start);
    if (this.#latest === pane) this.#latest = undefined;
  }
}

/** One key: how far its event time has come, and its windows. It is due at the log time at which the first of them closes. */
export class Owner<A> implements HeapEntry {
  /** The key; decides between keys that are due together. */
  readonly tie: string;
  readonly progress: KeyProgress;
  readonly plan: Plan;
  /** In the order of the plan's levels. */
  readonly lanes: readonly Lane<A>[];
  readonly open = new Heap<Pane<A>>();
  readonly kept = new Heap<Pane<A>>();
  /** Greatest `keep` of those kept so far. */
  lastKept = Number.NEGATIVE_INFINITY;
  due = 0;
  slot = -1;

  constructor(key: string, progress: KeyProgress, plan: Plan) {
    this.tie = key;
    this.progress = progress;
    this.plan = plan;
    this.lanes = plan.levels.map(() => new Lane());
  }

  lane(level: Level): Lane<A> {
    return this.lanes[level.index] as Lane<A>;
  }

  /** The watermark: event time up to which windows are closed. */
  reached(now: number): number {
    return watermarkAt(this.progress, now);
  }

  /** Event time up to which windows are frozen. */
  frozen(now: number): number {
    return Math.max(this.reached(now) - this.progress.horizon, this.progress.frozen);
  }
}
