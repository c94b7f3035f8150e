import type { Owner, Pane } from './panes/pane.ts';
import type { Level } from './plan.ts';

/** Open windows with a record that no PARTIAL has shown. They are all due at the same time: the cadence is a grid in log time. */
export class Changed<A> {
  readonly #panes = new Set<Pane<A>>();
  /** When the next PARTIALs are due, microseconds of log time; infinite if none are. */
  due = Number.POSITIVE_INFINITY;

  add(pane: Pane<A>, due: number): void {
    pane.state.partial_due = due;
    this.#panes.add(pane);
    this.due = Math.min(this.due, due);
  }

  delete(pane: Pane<A>): void {
    pane.state.partial_due = 0;
    if (this.#panes.delete(pane) && this.#panes.size === 0) this.due = Number.POSITIVE_INFINITY;
  }

  /** All of them and the open windows that they lie in, smallest first, then by key. From here on none has changed. */
  take(open: Open<A>): readonly Pane<A>[] {
    const panes = new Set(this.#panes);
    for (const pane of this.#panes) {
      pane.state.partial_due = 0;
      addParents(pane, panes, open);
    }
    this.#panes.clear();
    this.due = Number.POSITIVE_INFINITY;
    return [...panes].sort(byPlace);
  }
}

type Open<A> = (owner: Owner<A>, level: Level, start: number) => Pane<A>;

function addParents<A>(pane: Pane<A>, into: Set<Pane<A>>, open: Open<A>): void {
  const { owner, level, start } = pane;
  for (const parent of level.parents) {
    const { windows } = parent;
    for (let at = windows.at(start); !Number.isNaN(at); at = windows.before(at, start)) {
      const found = owner.lane(parent).get(at) ?? open(owner, parent, at);
      if (found.state.closed || into.has(found)) continue;
      into.add(found);
      addParents(found, into, open);
    }
  }
}

function byPlace<A>(a: Pane<A>, b: Pane<A>): number {
  if (a.tie !== b.tie) return a.tie - b.tie;
  return a.key < b.key ? -1 : 1;
}
