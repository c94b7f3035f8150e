import { unlessDead } from '../../../base/errors.ts';
import type { Context, InputRecord, Range } from '../../define.ts';
import { extend, nowhere, type Span } from '../aggregation.ts';
import type { Board } from '../board.ts';
import type { Owner } from '../panes/pane.ts';
import type { Level } from '../plan.ts';
import type { Reading } from '../recent.ts';
import { Versions } from '../versions.ts';
import { endOf } from '../windows.ts';

/** Windows of one key that are to be made again from a range of the input. */
export interface RebuildRequest {
  readonly key: string;
  /** Part of the input with every change that concerns one of the windows. */
  readonly range: Range;
  /** Offsets of changes that the fold refused when they came. */
  readonly refused: readonly bigint[];
  readonly windows: readonly RequestedWindow[];
}

export interface RequestedWindow {
  /** Name of its windows. */
  readonly level: string;
  /** Microseconds. */
  readonly start: number;
  /** Revision of its newest emission; 0 without one. */
  readonly revision: number;
}

/** One requested window while the input is read. */
interface Place<A> {
  readonly level: Level;
  readonly start: number;
  readonly end: number;
  readonly revision: number;
  readonly span: Span;
  value: A | null;
}

/**
 * Makes frozen windows again from the log, with the records that came too late for them. No record changes a frozen window. So its value is that of the
 * newest version of each record at the end of the range, and its next revision follows the newest published one.
 *
 * A window that is not frozen is passed over, since it takes its records as they come. A window of a key without state is passed over, too.
 */
export class Rebuild<R, A> {
  readonly #board: Board<R, A>;
  readonly #context: Pick<Context, 'reread'>;
  readonly #reading: Pick<Reading<R>, 'version'>;

  constructor(board: Board<R, A>, context: Pick<Context, 'reread'>, reading: Pick<Reading<R>, 'version'>) {
    this.#board = board;
    this.#context = context;
    this.#reading = reading;
  }

  /** Emits the windows when the current record of a table has returned. Only in `table`. */
  ask({ key, range, refused, windows }: RebuildRequest): void {
    const owner = this.#board.owner(key);
    if (owner === undefined) return;
    const places = this.#places(owner, windows);
    if (places.all.length === 0) return;
    const skipped = new Set(refused);
    const versions = new Versions<R>();
    const visit = (at: InputRecord<unknown>): void => {
      const version = skipped.has(at.offset) ? undefined : this.#reading.version(at as InputRecord<never>);
      if (version?.key !== key) return;
      const { record, time } = version;
      // No window holds what its calendar says nothing about.
      const joined = record === null ? [] : (unlessDead(() => places.at(time)) ?? []);
      for (const { span } of joined) extend(span, at);
      if (joined.length > 0 || versions.has(version.id)) versions.take(version, at);
    };
    this.#context.reread(range, visit, () => {
      for (const [record, time] of versions.records()) {
        for (const place of unlessDead(() => places.at(time)) ?? []) this.#add(place, record);
      }
      for (const place of places.all) this.#emit(owner, place, range);
    });
  }

  /** Those of the requested windows that are frozen, smallest first, then by time. */
  #places(owner: Owner<A>, windows: readonly RequestedWindow[]): Places<A> {
    const frozen = owner.frozen(this.#board.now);
    const places = windows.flatMap(({ level: name, start, revision }): Place<A>[] => {
      const level = owner.plan.level(name);
      const end = level === undefined ? undefined : endOf(level.windows, start);
      if (level === undefined || end === undefined || end > frozen) return [];
      return [{ level, start, end, revision, span: { ...nowhere }, value: null }];
    });
    return new Places(places.sort((a, b) => a.level.index - b.level.index || a.start - b.start));
  }

  #add(place: Place<A>, record: R): void {
    const { aggregation } = this.#board.options;
    if (place.value === null) place.value = aggregation.create(record);
    else aggregation.add(place.value, record);
  }

  #emit(owner: Owner<A>, { level, start, end, revision: before, span, value }: Place<A>, { from, to }: Range): void {
    const { aggregation, emit } = this.#board.options;
    if (value === null && before === 0) return;
    // The sum of its records does not fit an output.
    if (unlessDead(() => aggregation.check?.(value, null, level.share) ?? true) === undefined) return;
    const revision = before + 1;
    const pane = owner.lane(level).get(start);
    if (pane !== undefined) {
      pane.state.revision = revision;
      this.#board.save(pane);
    }
    emit({
      key: owner.tie,
      level: level.windows.name,
      start,
      end,
      value,
      status: 'REVISED',
      reason: 'REBUILT',
      revision,
      // Everything up to the end of the range counts in it, also what took records out of it.
      span: { ...span, from_offset: span.from_offset < 0n ? from : span.from_offset, to_offset: to - 1n },
    });
  }
}

/** Requested windows, by the instants that they hold. */
class Places<A> {
  readonly all: readonly Place<A>[];
  readonly #levels = new Map<Level, Map<number, Place<A>>>();

  constructor(all: readonly Place<A>[]) {
    this.all = all;
    for (const place of all) {
      const starts = this.#levels.get(place.level) ?? new Map<number, Place<A>>();
      this.#levels.set(place.level, starts.set(place.start, place));
    }
  }

  at(time: number): readonly Place<A>[] {
    const found: Place<A>[] = [];
    for (const [{ windows }, starts] of this.#levels) {
      for (let start = windows.at(time); !Number.isNaN(start); start = windows.before(start, time)) {
        const place = starts.get(start);
        if (place !== undefined) found.push(place);
      }
    }
    return found;
  }
}
