import type { PaneReason } from '../aggregation.ts';
import type { Pane } from './pane.ts';
import type { WindowStore } from './window-store.ts';

/**
 * Empty windows that are asked for: each follows on the one before it, for as long after the last record as is set. A window that follows a
 * changed one changes with it.
 */
export class Gaps<R, A> {
  readonly #store: WindowStore<R, A>;

  constructor(store: WindowStore<R, A>) {
    this.#store = store;
    const { aggregation, fill } = store.options;
    if (fill > 0 && (aggregation.carry === undefined || aggregation.lastTime === undefined)) {
      throw new TypeError('to fill gaps, an aggregation needs carry and lastTime');
    }
  }

  /** After a closed window has changed: opens the next one, or revises those that follow. */
  follow(pane: Pane<A>, now: number, reason: PaneReason): void {
    const { fill } = this.#store.options;
    if (fill === 0) return;
    const { owner, level } = pane;
    const panes = owner.panesOf(level);
    const frozen = owner.frozen(now);
    for (let from = pane; from.state.closed; ) {
      const start = level.windows.next(from.start);
      if (Number.isNaN(start)) return;
      const carried = this.#carry(from);
      const found = panes.get(start);
      if (found === undefined) {
        if (carried === null || start >= this.#lastTime(carried) + fill) return;
        const next = this.#store.open(owner, level, start);
        next.state.value = carried;
        this.#store.save(next);
        return;
      }
      const { state } = found;
      if (!this.#store.isEmpty(state.value) || this.#same(state.value, carried)) return;
      state.value = carried;
      if (state.closed && found.end > frozen) this.#store.emit(found, carried === null ? 'REVISED' : 'FILLED', reason);
      this.#store.save(found);
      from = found;
    }
  }

  /** What a window is when all its records are gone: it follows on the one before it, or is null. */
  emptied(pane: Pane<A>): A | null {
    const { fill } = this.#store.options;
    if (fill === 0) return null;
    const before = pane.level.windows.previous(pane.start);
    const found = Number.isNaN(before) ? undefined : pane.owner.panesOf(pane.level).get(before);
    if (found?.state.closed !== true) return null;
    const carried = this.#carry(found);
    return carried !== null && pane.start < this.#lastTime(carried) + fill ? carried : null;
  }

  #carry(from: Pane<A>): A | null {
    const { value } = from.state;
    return value === null ? null : (this.#store.options.aggregation.carry?.(value) ?? null);
  }

  #lastTime(value: A): number {
    return this.#store.options.aggregation.lastTime?.(value) ?? Number.NEGATIVE_INFINITY;
  }

  #same(a: A | null, b: A | null): boolean {
    if (a === null || b === null) return a === b;
    return this.#store.options.aggregation.sameCarry?.(a, b) ?? false;
  }
}
