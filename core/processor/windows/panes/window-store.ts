import { MillraceError } from '../../../base/errors.ts';
import type { Context, InputRecord, Store } from '../../define.ts';
import { Heap } from '../../heap.ts';
import { changeWatermarkDelay, dueAt, forgetAfter, forgottenAt, micros } from '../../watermark.ts';
import {
  type Aggregation,
  cover,
  type Emission,
  extend,
  type KeyProgress,
  keyStore,
  type PaneReason,
  type PaneState,
  type PaneStatus,
  paneStore,
  readPaneKey,
  type Span,
} from '../aggregation.ts';
import type { Level, Plan } from '../plan.ts';
import { floor } from '../windows.ts';
import { DirtyPanes } from './dirty-panes.ts';
import { Owner, Pane } from './pane.ts';
import { type Retired, retire } from './retire.ts';

/** What windows are made of, and by which settings. */
export interface WindowStoreOptions<R, A> {
  readonly aggregation: Aggregation<R, A>;
  /** The windows of a key; the same object whenever they are the same. */
  readonly plan: (key: string) => Plan;
  /** How far a record may be behind its key's greatest event time and not be late, microseconds. */
  readonly watermarkDelay: number;
  /** How far the end of a window may be behind the watermark and the window still be revised, microseconds. */
  readonly allowedLateness: number;
  /** Cadence of PARTIAL in log time, microseconds; 0 for none. */
  readonly partial: number;
  /** How long after the last record empty windows are FILLED, microseconds of event time; 0 for not at all. */
  readonly fill: number;
  readonly emit: (emission: Emission<A>) => void;
  /**
   * Log time since its newest record after which a key without windows leaves memory and gauges, microseconds. Default `forgetAfter`; infinite for
   * never. Its progress stays in the store: windows were published under the key, and no later record may begin them anew.
   */
  readonly forget?: number;
  /** Called when a key leaves memory. */
  readonly forgotten?: (key: string) => void;
}

/** The state of an aggregate: keys, their windows, timers and revisions. It emits windows as they close and PARTIALs as they are due. */
export class WindowStore<R, A> {
  readonly options: WindowStoreOptions<R, A>;
  readonly #aggregation: Aggregation<R, A>;
  readonly #context: Pick<Context, 'logTime'>;
  readonly #progress: Store<KeyProgress>;
  readonly #panes: Store<PaneState<A>>;
  readonly #owners = new Map<string, Owner<A>>();
  #latest: Owner<A> | undefined;
  /**
   * Keys with windows, by the log time at which something happens to the first of them. No keyed timers: a record has its owner in hand and moves its
   * deadline little, so the look-up of a timer by its key would be all of the cost.
   */
  readonly #due = new Heap<Owner<A>>();
  readonly #dirty = new DirtyPanes<A>();
  #openPanes = 0;
  readonly #idle: number;

  constructor(options: WindowStoreOptions<R, A>, context: Context) {
    this.options = options;
    this.#aggregation = options.aggregation;
    this.#idle = options.forget ?? forgetAfter;
    this.#context = context;
    this.#progress = context.store(keyStore.name);
    this.#panes = context.store(paneStore(options.aggregation.schema).name);
  }

  /** The task's log time, microseconds. */
  get now(): number {
    return micros(this.#context.logTime);
  }

  get keys(): number {
    return this.#owners.size;
  }

  get openPanes(): number {
    return this.#openPanes;
  }

  get keptPanes(): number {
    return this.#panes.size;
  }

  owners(): IterableIterator<Owner<A>> {
    return this.#owners.values();
  }

  /** Where the input of all its windows begins; -1 without any. */
  oldestOffset(): bigint {
    let oldest = -1n;
    for (const owner of this.#owners.values()) {
      for (const panes of owner.panesByLevel) {
        for (const { state } of panes.values()) {
          const { from_offset: from } = state;
          if (from >= 0n && (oldest < 0n || from < oldest)) oldest = from;
        }
      }
    }
    return oldest;
  }

  owner(key: string): Owner<A> | undefined {
    if (this.#latest?.tie === key) return this.#latest;
    const found = this.#owners.get(key) ?? this.#recall(key);
    if (found !== undefined) this.#latest = found;
    return found;
  }

  /** A key that has left memory. It leaves again at the next `advance`, unless a record opens a window. */
  #recall(key: string): Owner<A> | undefined {
    const progress = this.#progress.get(key);
    if (progress === undefined) return undefined;
    const owner = this.start(key, progress);
    this.#schedule(owner);
    return owner;
  }

  start(key: string, progress: KeyProgress): Owner<A> {
    const owner = new Owner<A>(key, progress, this.options.plan(key));
    this.#owners.set(key, owner);
    return owner;
  }

  /** Earliest log time at which `advance` does something; infinite if never. */
  get deadline(): number {
    return Math.min(this.#due.first()?.due ?? Number.POSITIVE_INFINITY, this.#dirty.due);
  }

  saveProgress(owner: Owner<A>): void {
    this.#progress.set(owner.tie, owner.progress);
  }

  save(pane: Pane<A>): void {
    this.#panes.set(pane.key, pane.state);
  }

  isEmpty(value: A | null): boolean {
    return value === null || this.#aggregation.count(value) === 0;
  }

  /**
   * An open window. The caller saves it: nothing may be due for a window that the state does not have, or a restored task would do
   * something else. The larger ones that it lies in open when it closes, or when a PARTIAL shows it.
   */
  open(owner: Owner<A>, level: Level, start: number, state?: PaneState<A>): Pane<A> {
    const pane = new Pane(owner, level, start, this.options.fill > 0, state);
    owner.panesOf(level).add(pane);
    owner.open.set(pane, pane.end);
    this.#openPanes += 1;
    return pane;
  }

  /** A window that has already ended. */
  openClosed(owner: Owner<A>, level: Level, start: number): Pane<A> {
    const pane = new Pane<A>(owner, level, start, this.options.fill > 0, undefined);
    pane.state.closed = true;
    owner.panesOf(level).add(pane);
    this.#keep(pane);
    return pane;
  }

  add(pane: Pane<A>, record: R, at: InputRecord<unknown>): void {
    const { state } = pane;
    if (state.value === null || this.#aggregation.count(state.value) === 0) {
      state.value = this.#aggregation.create(record);
    } else {
      this.#aggregation.add(state.value, record);
    }
    extend(state, at);
  }

  merge(into: PaneState<A>, other: A): void {
    if (this.isEmpty(into.value)) into.value = this.#aggregation.copy(other);
    else this.#aggregation.merge(into.value as A, other);
  }

  /** An open window has changed: a PARTIAL is due at the next instant of the cadence. */
  touch(pane: Pane<A>, now: number): void {
    const { partial } = this.options;
    if (partial === 0 || pane.state.partial_due > 0) return;
    this.#dirty.add(pane, floor(now, partial) + partial);
  }

  emit(pane: Pane<A>, status: PaneStatus, reason: PaneReason, value = pane.state.value, span: Span = pane.state): void {
    const { owner, level, start, end, state } = pane;
    state.revision += 1;
    const { name } = level.windows;
    const source = span.from_offset < 0n ? null : span;
    const { revision } = state;
    this.options.emit({ key: owner.tie, level: name, start, end, value, status, reason, revision, span: source });
  }

  /** What is due at `now`. `closed` is called for each window that has closed. */
  advance(now: number, closed: (pane: Pane<A>) => void): void {
    for (const owner of this.#takeDue(now)) {
      this.settle(owner, now, closed);
      this.#dropIdle(owner, now);
    }
    if (this.#dirty.due <= now) this.#emitPartials(now);
  }

  /** In the order in which they are due. Each is settled once, which schedules it again. */
  #takeDue(now: number): Owner<A>[] {
    const due: Owner<A>[] = [];
    for (let owner = this.#due.first(); owner !== undefined && owner.due <= now; owner = this.#due.first()) {
      this.#due.delete(owner);
      due.push(owner);
    }
    return due;
  }

  /** Closes the key's windows that end at or before its watermark, earliest first; forgets what is frozen; schedules what comes next. */
  settle(owner: Owner<A>, now: number, closed: (pane: Pane<A>) => void): void {
    const first = owner.open.first();
    if (first !== undefined && first.end <= owner.reached(now)) {
      const reached = owner.reached(now);
      for (let next = owner.open.first(); next !== undefined && next.end <= reached; next = owner.open.first()) {
        this.#close(next);
        closed(next);
      }
      this.#forget(owner, now);
    } else if (first === undefined) {
      this.#forget(owner, now);
    }
    this.#schedule(owner);
  }

  #close(pane: Pane<A>): void {
    const { owner, state } = pane;
    owner.open.delete(pane);
    this.#openPanes -= 1;
    const { partial_due: due, value } = state;
    this.#dirty.delete(pane);
    state.closed = true;
    if (value === null && state.revision === 0) {
      // Nobody has heard of it.
      owner.panesOf(pane.level).delete(pane);
      this.#panes.delete(pane.key);
      return;
    }
    const empty = this.isEmpty(value);
    if (empty && value !== null) this.emit(pane, 'FILLED', 'GAP');
    else this.emit(pane, 'CLOSED', 'WATERMARK');
    if (!empty) this.#mergeUp(pane, value as A, due);
    this.#keep(pane);
    this.save(pane);
  }

  #mergeUp(pane: Pane<A>, value: A, due: number): void {
    const { owner, start } = pane;
    for (const parent of pane.level.parents) {
      const { windows } = parent;
      for (let at = windows.at(start); !Number.isNaN(at); at = windows.before(at, start)) {
        const into = owner.panesOf(parent).get(at) ?? this.open(owner, parent, at);
        this.merge(into.state, value);
        cover(into.state, pane.state);
        if (due > 0 && into.state.partial_due === 0) this.#dirty.add(into, due);
        this.save(into);
      }
    }
  }

  #keep(pane: Pane<A>): void {
    pane.owner.kept.set(pane, pane.keep);
    if (pane.keep > pane.owner.lastKept) pane.owner.lastKept = pane.keep;
  }

  #forget(owner: Owner<A>, now: number): void {
    const frozen = owner.frozen(now);
    for (let pane = owner.kept.first(); pane !== undefined && pane.keep <= frozen; pane = owner.kept.first()) {
      owner.kept.delete(pane);
      owner.panesOf(pane.level).delete(pane);
      this.#panes.delete(pane.key);
    }
  }

  /** A key that has no windows, and had no record for long, leaves memory. Its progress stays in the store. */
  #dropIdle(owner: Owner<A>, now: number): void {
    if (owner.open.size > 0 || owner.kept.size > 0 || forgottenAt(owner.progress, this.#idle) > now) return;
    this.#due.delete(owner);
    this.#owners.delete(owner.tie);
    if (this.#latest === owner) this.#latest = undefined;
    this.options.forgotten?.(owner.tie);
  }

  /** A key without open windows wakes up once more, to forget the closed ones all at once, and a last time to leave memory itself. */
  #schedule(owner: Owner<A>): void {
    const next = owner.open.first();
    if (next !== undefined) this.#due.set(owner, dueAt(owner.progress, next.end));
    else if (owner.kept.size > 0) {
      this.#due.set(owner, dueAt(owner.progress, owner.lastKept + owner.progress.horizon));
    } else if (Number.isFinite(this.#idle)) this.#due.set(owner, forgottenAt(owner.progress, this.#idle));
    else this.#due.delete(owner);
  }

  #emitPartials(now: number): void {
    for (const pane of this.#dirty.take((owner, level, start) => this.open(owner, level, start))) {
      const total = this.total(pane, now);
      if (total.value !== null) this.emit(pane, 'PARTIAL', 'CADENCE', total.value, total);
      else if (pane.state.revision > 0) this.emit(pane, 'PARTIAL', 'CADENCE', null, total);
      this.save(pane);
    }
  }

  /** An open window with what is in its open smaller ones. Only its value and its span count. */
  total(pane: Pane<A>, now: number): PaneState<A> {
    const { owner, level, state } = pane;
    const { source } = level;
    if (source === undefined) return state;
    const total: PaneState<A> = { ...state, value: state.value === null ? null : this.#aggregation.copy(state.value) };
    const panes = owner.panesOf(source);
    const { windows } = source;
    // Closed ones are merged already, and those end at or before the watermark.
    const first = windows.at(Math.max(pane.start, owner.reached(now)));
    for (let at = first; at < pane.end && at <= panes.greatest; at = windows.next(at)) {
      const child = panes.get(at);
      if (child === undefined || child.state.closed) continue;
      const { value, ...span } = this.total(child, now);
      if (value === null || this.isEmpty(value)) continue;
      this.merge(total, value);
      cover(total, span);
    }
    return total;
  }

  /** Puts a window together again from its smaller ones that have closed. */
  remerge(pane: Pane<A>): void {
    const { owner, level, state } = pane;
    const { source } = level;
    if (source === undefined) throw new RangeError(`${level.windows.name} is not made of smaller windows`);
    state.value = null;
    const panes = owner.panesOf(source);
    for (let at = source.windows.at(pane.start); at < pane.end && at <= panes.greatest; at = source.windows.next(at)) {
      const child = panes.get(at)?.state;
      if (child?.closed !== true || child.value === null || this.isEmpty(child.value)) continue;
      this.merge(state, child.value);
    }
  }

  restore(): void {
    const { now } = this;
    for (const [key, progress] of this.#progress.entries()) this.#resume(this.start(key, progress), now);
    const retired = new Map<Owner<A>, Retired<A>[]>();
    for (const [key, state] of this.#panes.entries()) {
      const place = readPaneKey(key);
      const owner = this.owner(place.key);
      if (owner === undefined) throw new MillraceError('STATE_CORRUPT', `window ${key} has no key`);
      const level = owner.plan.level(place.level);
      if (level !== undefined) this.#restorePane(owner, level, place.start, state);
      else {
        const all = retired.get(owner) ?? [];
        all.push({ level: place.level, start: place.start, state });
        retired.set(owner, all);
        this.#panes.delete(key);
      }
    }
    for (const owner of this.#owners.values()) {
      if (owner.progress.plan !== owner.plan.name) this.#replan(owner, retired.get(owner) ?? []);
    }
    for (const owner of this.#owners.values()) {
      this.#schedule(owner);
      this.#dropIdle(owner, now);
    }
  }

  /** Other settings hold from now on: what was closed or frozen by the old ones stays so. */
  #resume(owner: Owner<A>, now: number): void {
    const { progress } = owner;
    const frozen = owner.frozen(now);
    const later = changeWatermarkDelay(progress, this.options.watermarkDelay, now);
    if (progress.horizon === this.options.allowedLateness && !later) return;
    progress.frozen = frozen;
    progress.horizon = this.options.allowedLateness;
    this.saveProgress(owner);
  }

  #restorePane(owner: Owner<A>, level: Level, start: number, state: PaneState<A>): void {
    if (state.closed) {
      const pane = new Pane(owner, level, start, this.options.fill > 0, state);
      owner.panesOf(level).add(pane);
      this.#keep(pane);
      return;
    }
    const pane = this.open(owner, level, start, state);
    if (state.partial_due === 0) return;
    if (this.options.partial > 0) this.#dirty.add(pane, state.partial_due);
    else state.partial_due = 0;
  }
  /**
   * The intervals are others than before. Windows of an interval that is no more are never emitted again; the open ones go into the larger windows
   * that are configured, which would miss them. From now on no window is the sum of its smaller ones, until new ones are.
   */
  #replan(owner: Owner<A>, retired: readonly Retired<A>[]): void {
    owner.progress.plan = owner.plan.name;
    this.saveProgress(owner);
    retire(owner, retired, (level, start, { value, ...span }) => {
      if (value === null || this.isEmpty(value)) return;
      const into = owner.panesOf(level).get(start) ?? this.open(owner, level, start);
      this.merge(into.state, value);
      cover(into.state, span);
    });
    for (const panes of owner.panesByLevel) {
      for (const pane of panes.values()) {
        pane.state.opaque = true;
        this.save(pane);
      }
    }
  }
}
