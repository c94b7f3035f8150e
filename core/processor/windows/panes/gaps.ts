import type { PaneReason } from '../aggregation.ts';
import type { Board } from '../board.ts';
import type { Pane } from './pane.ts';

/**
 * Empty windows that are asked for: each follows on the one before it, for as long after the last record as is set. A window that follows a
 * changed one changes with it.
 */
export class Gaps<R, A> {
  readonly #board: Board<R, A>;

  constructor(board: Board<R, A>) {
    this.#board = board;
    const { aggregation, fill } = board.options;
    if (fill > 0 && (aggregation.carry === undefined || aggregation.lastTime === undefined)) {
      throw new TypeError('to fill gaps, an aggregation needs carry and lastTime');
    }
  }

  /** After a closed window has changed: opens the next one, or revises those that follow. */
  follow(pane: Pane<A>, now: number, reason: PaneReason): void {
    const { fill } = this.#board.options;
    if (fill === 0) return;
    const { owner, level } = pane;
    const lane = owner.lane(level);
    const frozen = owner.frozen(now);
    for (let from = pane; from.state.closed; ) {
      const start = level.windows.next(from.start);
      if (Number.isNaN(start)) return;
      const carried = this.#carry(from);
      const found = lane.get(start);
      if (found === undefined) {
        if (carried === null || start >= this.#lastTime(carried) + fill) return;
        const next = this.#board.open(owner, level, start);
        next.state.value = carried;
        this.#board.save(next);
        return;
      }
      const { state } = found;
      if (!this.#board.isEmpty(state.value) || this.#same(state.value, carried)) return;
      state.value = carried;
      if (state.closed && found.end > frozen) this.#board.emit(found, carried === null ? 'REVISED' : 'FILLED', reason);
      this.#board.save(found);
      from = found;
    }
  }

  /** What a window is when all its records are gone: it follows on the one before it, or is null. */
  emptied(pane: Pane<A>): A | null {
    const { fill } = this.#board.options;
    if (fill === 0) return null;
    const before = pane.level.windows.previous(pane.start);
    const found = Number.isNaN(before) ? undefined : pane.owner.lane(pane.level).get(before);
    if (found?.state.closed !== true) return null;
    const carried = this.#carry(found);
    return carried !== null && pane.start < this.#lastTime(carried) + fill ? carried : null;
  }

  #carry(from: Pane<A>): A | null {
    const { value } = from.state;
    return value === null ? null : (this.#board.options.aggregation.carry?.(value) ?? null);
  }

  #lastTime(value: A): number {
    return this.#board.options.aggregation.lastTime?.(value) ?? Number.NEGATIVE_INFINITY;
  }

  #same(a: A | null, b: A | null): boolean {
    if (a === null || b === null) return a === b;
    return this.#board.options.aggregation.sameCarry?.(a, b) ?? false;
  }
}
